"""Who fails is told once, with the figure that says so; who answers well is never told."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from structlog.testing import capture_logs

from penstock.events import Features, HealthCommand, ModelRecord, Score
from penstock.models.slot import Loaded, Serving
from penstock.models.watch import Watch, unloadable
from penstock.spec import Rollout
from penstock.telemetry import Telemetry


class Model:
    """Fails where it is told to, and takes so long as it is told to."""

    def __init__(self) -> None:
        self.fails, self.takes_s, self.now_s = False, 0.0, 0.0

    def score_many(self, rows: Sequence[Features]) -> list[Score]:
        """0.5 for each row."""
        self.now_s += self.takes_s
        if self.fails:
            raise ValueError("no")
        return [0.5 for _ in rows]


class Bench:
    def __init__(self) -> None:
        self.model = Model()
        self.watch = Watch(Rollout(), "scorer", lambda: self.model.now_s, Telemetry())

    def call(self, *, fails: bool = False, takes_s: float = 0.0, generation: int = 1, version: str = "v1") -> object:
        """One call, and what is told after it."""
        self.model.fails, self.model.takes_s = fails, takes_s
        loaded = Loaded(version, "batch", self.model)
        scores = self.watch.asking(Serving(generation, loaded))(loaded, [{}, {}])
        assert scores == (None if fails else [0.5, 0.5])
        return self.watch.news(7)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_more_than_three_failures_in_a_row_are_told_once(bench: Bench) -> None:
    told = [bench.call(fails=True) for _ in range(6)]
    assert told == [[], [], [], [health("failures", 4.0, 3.0, "ValueError: no")], [], []]


def health(check: str, value: float, limit: float, detail: str = "") -> HealthCommand:
    return HealthCommand(
        id=f"health-v1-1-{check}", by="scorer", at_ms=7, version="v1", generation=1, check=check, value=value,
        limit=limit, detail=detail,
    )  # type: ignore[arg-type]  # fmt: skip


def test_an_answer_in_between_starts_the_count_again_but_not_the_share(bench: Bench) -> None:
    told = [bench.call(fails=call % 5 == 0) for call in range(40)]
    assert [news for news in told if news] == [[health("errors", 5 / 21, 0.1, "ValueError: no")]]


def test_a_failure_now_and_then_is_told_nobody(bench: Bench) -> None:
    assert [bench.call(fails=call % 12 == 11) for call in range(300)] == [[]] * 300


def test_one_slow_call_is_the_machine_s_and_two_are_the_model_s(bench: Bench) -> None:
    assert [bench.call(takes_s=6.0), bench.call(), bench.call(takes_s=6.0)] == [[], [], []]
    assert bench.call(takes_s=7.0) == [health("latency", 7.0, 5.0)]


def test_a_new_generation_starts_afresh_and_the_prior_is_never_sick(bench: Bench) -> None:
    assert [bench.call(fails=True) for _ in range(3)] == [[]] * 3
    assert [bench.call(fails=True, generation=2) for _ in range(3)] == [[]] * 3
    assert len(bench.call(fails=True, generation=2)) == 1  # type: ignore[arg-type]
    assert [bench.call(fails=True, version="prior", generation=2) for _ in range(9)] == [[]] * 9


def test_the_exception_is_logged_once_per_version(bench: Bench) -> None:
    with capture_logs() as logs:
        for version in ("v1", "v1", "v2"):
            bench.call(fails=True, version=version)
    assert [(line["event"], line["version"], line["log_level"]) for line in logs] == [
        ("scoring failed", "v1", "error"),
        ("scoring failed", "v2", "error"),
    ]


def test_what_could_not_be_written_is_told_again(bench: Bench) -> None:
    news = [bench.call(fails=True) for _ in range(4)][-1]
    bench.watch.unsaid(news)  # type: ignore[arg-type]
    assert bench.watch.news(7) == news
    assert bench.watch.news(7) == []


def test_a_refused_record_is_a_failed_check() -> None:
    record = ModelRecord(slot="champion", version="v1", kind="batch", generation=1)
    assert unloadable(record, "gone", "scorer", 7) == health("load", 1.0, 0.0, "gone")
