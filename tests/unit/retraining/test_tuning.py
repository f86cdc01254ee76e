"""The search keeps to its budget, gives up what brings nothing, and finds the same each time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from retraining.families import Family, Range
from retraining.tuning import PATIENCE, Budget, Judged, Trial, affordable, tune


def family(name: str, *starts: float) -> Family:
    return Family(name, "ordinal", tuple({"x": start} for start in starts), {"x": Range(0.01, 10.0)}, {})


class Judge:
    """Judges a setting by the square of its distance in orders of magnitude from 1, plus what its family adds."""

    def __init__(self, *added: float) -> None:
        self.added = added
        self.rounds: list[list[Trial]] = []

    def __call__(self, trials: Sequence[Trial]) -> list[Judged[str]]:
        self.rounds.append(list(trials))
        return [Judged(self.loss(trial), f"found {trial.settings['x']}") for trial in trials]

    def loss(self, trial: Trial) -> float:
        x = trial.settings["x"]
        assert isinstance(x, float)
        return math.log10(x) ** 2 + self.added[trial.family]

    @property
    def tried(self) -> list[int]:
        return [sum(trial.family == index for each in self.rounds for trial in each) for index in range(2)]


def budget(trials: int, tuning_s: float = 1e9, monotonic_s: Callable[[], float] = lambda: 0.0) -> Budget:
    return Budget(trials, tuning_s, monotonic_s)


def test_the_best_of_what_was_tried_is_found_and_known_settings_come_first() -> None:
    judge = Judge(1.0, 1.0)
    first, second = tune([family("a", 0.02, 1.5), family("b", 1.2)], judge, budget(24), seed=7)
    assert [trial.settings["x"] for trial in judge.rounds[0]] == [0.02, 1.2]
    assert judge.rounds[1][0].settings == {"x": 1.5}
    for found in (first, second):
        assert found.judged.loss < 1.1
        assert found.judged.found == f"found {found.settings['x']}"
    assert first.trials + second.trials == sum(judge.tried) <= 24


def test_a_search_is_the_same_each_time() -> None:
    one, other = Judge(0.0, 0.1), Judge(0.0, 0.1)
    families = [family("a", 0.02), family("b", 5.0)]
    assert tune(families, one, budget(20), 7) == tune(families, other, budget(20), 7)
    assert one.rounds == other.rounds
    third = Judge(0.0, 0.1)
    tune(families, third, budget(20), 8)
    assert third.rounds != one.rounds


@given(trials=st.integers(1, 30))
@settings(max_examples=10, deadline=None)
def test_no_more_trials_than_allowed_but_one_per_family(trials: int) -> None:
    judge = Judge(1.0, 1.0)
    tune([family("a", 0.02), family("b", 5.0)], judge, budget(trials), seed=7)
    assert sum(judge.tried) <= max(2, trials)


def test_a_family_that_is_far_behind_gets_its_known_settings_only() -> None:
    judge = Judge(1.0, 9.0)
    tune([family("a", 0.02), family("b", 5.0, 0.2, 3.0)], judge, budget(24), seed=7)
    assert judge.tried[1] == 3
    assert judge.tried[0] > 3


def test_a_search_ends_when_the_last_trials_brought_nothing() -> None:
    judge = Judge(1.0, 1.0)
    tune([family("a", 1.0), family("b", 1.0)], judge, budget(1000), seed=7)
    assert judge.tried == [1 + PATIENCE, 1 + PATIENCE]


def test_no_round_is_begun_that_would_end_too_late() -> None:
    now_s = 0.0

    class Slow(Judge):
        def __call__(self, trials: Sequence[Trial]) -> list[Judged[str]]:
            nonlocal now_s
            now_s += 3.0
            return super().__call__(trials)

    judge = Slow(1.0, 1.0)
    tune([family("a", 0.02), family("b", 9.0)], judge, budget(1000, 10.0, lambda: now_s), seed=7)
    assert len(judge.rounds) == 3
    now_s = 0.0
    judge = Slow(1.0, 1.0)
    tune([family("a", 0.02), family("b", 9.0)], judge, budget(1000, 1.0, lambda: now_s), seed=7)
    assert len(judge.rounds) == 1


def test_losses_that_are_no_numbers_never_win() -> None:
    class Broken(Judge):
        def loss(self, trial: Trial) -> float:
            return math.inf if len(self.rounds) < 2 or trial.family else super().loss(trial)

    first, second = tune([family("a", 0.02, 3.0), family("b", 5.0)], Broken(1.0, 1.0), budget(12), seed=7)
    assert first.settings != {"x": 0.02}
    assert second.judged.loss == math.inf
    assert second.settings == {"x": 5.0}


def test_few_rows_are_worth_few_trials() -> None:
    assert [affordable(24, rows, 3) for rows in (140, 1050, 14_000)] == [3, 10, 24]
    assert affordable(1, 14_000, 3) == 3
