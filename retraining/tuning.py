"""The search for settings: Optuna's tree-structured Parzen estimator, seeded, within a budget of trials and time.

Each family has a study of its own, and each round asks every study that goes on for one setting; the trials of a round
are judged together, wherever the backend runs them, and told in a fixed order. So equal rows and an equal number of
trials find equal settings on any number of workers. Where time ends the search they may differ: what was found is
recorded, and a model is rebuilt from the record.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from retraining.families import Family, Settings

if TYPE_CHECKING:
    from optuna.study import Study

#: Rows per trial: among more settings than that, the best is the luckiest.
ROWS_PER_TRIAL = 100
#: A family whose last so many trials brought less than `WORTHWHILE` is searched no further ...
PATIENCE = 3
WORTHWHILE = 0.001
#: ... nor one whose best trial, after its known settings, loses this much more than the best of all.
HOPELESS = 0.1
#: Settings that are drawn by chance before the estimator has seen enough (known ones count).
STARTUP_TRIALS = 4

Found = TypeVar("Found")


class Budget(NamedTuple):
    """At most ``trials`` settings in all (at least one per family), and no round that would end after ``tuning_s``.

    Time is measured by ``monotonic_s``; the first round is run whatever it says.
    """

    trials: int
    tuning_s: float
    monotonic_s: Callable[[], float]


class Trial(NamedTuple):
    """A setting of a family (by its place in the list of families) that is to be judged."""

    family: int
    settings: Settings


class Judged(NamedTuple, Generic[Found]):
    """What came of a trial: the smaller the ``loss``, the better (infinite: it is no number)."""

    loss: float
    found: Found


class Tuned(NamedTuple, Generic[Found]):
    """The best trial of a family, and of how many."""

    settings: Settings
    judged: Judged[Found]
    trials: int


def affordable(trials: int, rows: int, families: int) -> int:
    """How many trials ``rows`` rows are worth: at most ``trials``, one per `ROWS_PER_TRIAL`, and one per family."""
    return max(families, min(trials, rows // ROWS_PER_TRIAL))


def tune(
    families: Sequence[Family],
    judge: Callable[[Sequence[Trial]], list[Judged[Found]]],
    budget: Budget,
    seed: int,
) -> list[Tuned[Found]]:
    """The best settings found per family. ``judge`` tries settings, in any place, and answers in their order."""
    searches = [_Search[Found](family, seed + index) for index, family in enumerate(families)]
    started_s = round_started_s = budget.monotonic_s()
    left = budget.trials
    asked = list(range(len(families)))
    while asked:
        trials = [Trial(index, searches[index].ask()) for index in asked]
        for trial, judged in zip(trials, judge(trials), strict=True):
            searches[trial.family].tell(trial.settings, judged)
        left -= len(trials)
        now_s = budget.monotonic_s()
        # The next round takes about as long as this one did.
        if now_s + (now_s - round_started_s) - started_s > budget.tuning_s:
            break
        round_started_s = now_s
        best = min(search.best_loss for search in searches)
        asked = [index for index, search in enumerate(searches) if search.worth_it(best)][: max(left, 0)]
    return [search.tuned() for search in searches]


class _Search(Generic[Found]):
    def __init__(self, family: Family, seed: int) -> None:
        self._family = family
        self._study = _study(family, seed)
        self._told: list[tuple[Settings, Judged[Found]]] = []
        self._idle = 0

    @property
    def best_loss(self) -> float:
        return min((judged.loss for _, judged in self._told), default=math.inf)

    def ask(self) -> Settings:
        self._asked = self._study.ask()
        return self._family.suggest(self._asked)

    def tell(self, settings: Settings, judged: Judged[Found]) -> None:
        before = self.best_loss
        worth = judged.loss < math.inf and (before == math.inf or judged.loss < before - WORTHWHILE * abs(before))
        self._idle = 0 if worth else self._idle + 1
        self._told.append((settings, judged))
        self._study.tell(self._asked, judged.loss)

    def worth_it(self, best_of_all: float) -> bool:
        if len(self._told) < len(self._family.starts):
            return True
        return self._idle < PATIENCE and self.best_loss <= best_of_all * (1.0 + HOPELESS)

    def tuned(self) -> Tuned[Found]:
        settings, judged = min(self._told, key=lambda told: told[1].loss)
        return Tuned(settings, judged, len(self._told))


def _study(family: Family, seed: int) -> Study:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP_TRIALS)
    study = optuna.create_study(sampler=sampler)
    for start in family.starts:
        study.enqueue_trial(start)
    return study
