"""What two versions lost on the same rows, since whenever one asks."""

from __future__ import annotations

from penstock.events import LossPair, Metrics
from retraining.rivalry import LOOKS, Rivalries, Rivalry


def told(rivalries: Rivalries, labelled: int, first: float, second: float, generation: int = 0) -> None:
    pair = LossPair(first="a", second="b", n=100, first_loss=first, second_loss=second, difference_squared=1.0)
    metrics = Metrics(
        stage="learner",
        partition=0,
        seen=labelled,
        record_id="r",
        event_time_ms=labelled,
        generation=generation,
        offset=labelled,
        pairs=[pair],
    )
    rivalries.observe(metrics, labelled)


def sums(rivalry: Rivalry) -> tuple[int, float, float]:
    return rivalry.rows, rivalry.served, rivalry.other


def test_all_rows_those_since_a_moment_and_the_newer_half() -> None:
    rivalries = Rivalries()
    for look in range(1, 6):
        told(rivalries, look * 100, float(look), 10.0)
    assert sums(rivalries.between("a", "b", 0)) == (500, 15.0, 50.0)
    assert sums(rivalries.between("b", "a", 0)) == (500, 50.0, 15.0)
    assert sums(rivalries.since(300, "a", "b", 0)) == (200, 9.0, 20.0)
    assert sums(rivalries.since(250, "b", "a", 0)) == (200, 20.0, 9.0), "a look that began before is not of then"
    assert sums(rivalries.newer_half("a", "b", 0)) == (300, 12.0, 30.0)


def test_a_generation_starts_from_nothing_and_others_have_no_rows() -> None:
    rivalries = Rivalries()
    told(rivalries, 100, 1.0, 2.0)
    told(rivalries, 200, 3.0, 4.0, generation=1)
    told(rivalries, 300, 3.0, 4.0, generation=0)
    for rivalry in (rivalries.between("a", "b", 1), rivalries.since(0, "a", "b", 1), rivalries.newer_half("a", "b", 1)):
        assert sums(rivalry) == (100, 3.0, 4.0)
    assert rivalries.between("a", "b", 0) == rivalries.since(0, "a", "c", 1) == Rivalry()


def test_what_is_held_one_by_one_is_bounded() -> None:
    rivalries = Rivalries()
    for look in range(1, LOOKS + 51):
        told(rivalries, look * 100, 1.0, 2.0)
    assert rivalries.between("a", "b", 0).looks == LOOKS + 50
    assert rivalries.since(0, "a", "b", 0).looks == LOOKS
