"""A promoted model that proves worse goes, at once and by itself; a person may send any back."""

from __future__ import annotations

import pytest

from penstock.events import Decision, LossPair, Metrics, OutcomeCommand, RollbackCommand
from tests.unit.retraining.test_triggers import LOOK, Bench, only


def look(bench: Bench, served: float, other: float, *, version: str, spread: float = 0.5) -> list[Decision]:
    """One more look at labelled rows that the champion and ``version`` have scored: mean losses, and the standard
    deviation of their difference."""
    bench.now += LOOK
    champion = bench.retrainer.state.champion
    losses = sorted([(champion.version, served), (version, other)])
    squared = LOOK * (spread**2 + (served - other) ** 2)
    pair = LossPair(
        first=losses[0][0],
        second=losses[1][0],
        n=LOOK,
        first_loss=LOOK * losses[0][1],
        second_loss=LOOK * losses[1][1],
        difference_squared=squared,
    )
    decisions: list[Decision] = []
    for stage in ("monitor", "learner"):
        metrics = Metrics(
            stage=stage,
            partition=0,
            seen=bench.now,
            record_id=str(bench.now - 1),
            event_time_ms=bench.now - 1,
            generation=champion.generation,
            offset=bench.now - 1,
            pairs=[pair] if stage == "learner" else [],
        )
        decisions += bench.give("metrics", metrics)
    return decisions


def checked(bench: Bench, error: str = "") -> list[Decision]:
    """What follows on the check of the artifact that the newest command is about."""
    waiting = bench.decisions[-1]
    assert waiting.step == "recorded"
    return bench.give("commands", OutcomeCommand(id="c", run_id=waiting.run_id, step="check", at_ms=1, error=error))


def promoted(**policy: object) -> Bench:
    """A bench whose first batch model, v1, was just promoted over the online model."""
    bench = Bench(**policy)
    bench.advance(1000)
    bench.drift("d1", since=100)
    bench.advance(1200)
    bench.passed()
    bench.advance(1600)
    assert bench.retrainer.state.champion.version == "v1"
    return bench


def test_a_champion_that_proves_worse_goes_back_within_a_thousand_rows() -> None:
    bench = promoted()
    for _ in range(10):
        decisions = look(bench, 0.55, 0.375, version="online")
        if decisions:
            break
    decision = only(decisions)
    assert (decision.step, decision.version, decision.generation) == ("rolled_back", "online", 2)
    assert "v1 is worse than online, which it replaced: loss 0.55 against 0.375" in decision.reason
    record = bench.models[-1]
    assert (record.slot, record.version, record.generation) == ("champion", "online", 2)
    assert record.predecessor is not None
    assert record.predecessor.version == "v1", "the loser is scored in shadow"
    assert bench.alerts[-1].severity == "warning"


@pytest.mark.parametrize(("served", "other"), [(0.4, 0.4), (0.375, 0.55)])
def test_a_champion_that_is_no_worse_stays(served: float, other: float) -> None:
    bench = promoted()
    steps = [decision.step for _ in range(24) for decision in look(bench, served, other, version="online")]
    assert steps == ["settled"]
    assert bench.retrainer.state.champion.version == "v1"


def test_what_was_rolled_back_does_not_come_back_by_itself() -> None:
    bench = promoted()
    while not look(bench, 0.6, 0.3, version="online"):
        pass
    steps = [decision.step for _ in range(24) for decision in look(bench, 0.6, 0.3, version="v1")]
    assert "rolled_back" not in steps
    assert bench.retrainer.state.champion.version == "online"


def test_a_switch_that_is_off_and_a_difference_that_may_be_chance_roll_nothing_back() -> None:
    bench = promoted(rollback=False)
    assert [look(bench, 0.9, 0.1, version="online") for _ in range(9)] == [[]] * 9
    bench = promoted()
    assert [look(bench, 0.42, 0.4, version="online", spread=1.0) for _ in range(9)] == [[]] * 9


def ask(bench: Bench, identity: str, version: str = "") -> list[Decision]:
    decisions = bench.give(
        "commands", RollbackCommand(id=identity, by="ann", at_ms=1, version=version, reason="complaints")
    )
    return checked(bench) if decisions and decisions[-1].step == "recorded" else decisions


def test_a_person_sends_the_champion_back_once() -> None:
    bench = promoted()
    decision = only(ask(bench, "c1"))
    assert (decision.step, decision.version, decision.generation) == ("rolled_back", "online", 2)
    assert (decision.reason, decision.by) == ("asked for by ann: complaints", "ann")
    assert ask(bench, "c1") == []
    back = only(ask(bench, "c2"))
    assert (back.version, back.generation, back.model and back.model.uri) == ("v1", 3, "u")


def test_two_people_ask_at_once_and_the_second_hears_why_not() -> None:
    bench = promoted()
    assert only(ask(bench, "c1", "online")).step == "rolled_back"
    refused = only(ask(bench, "c2", "online"))
    assert (refused.step, refused.reason) == ("refused", "asked for by ann: complaints: online serves already")
    assert bench.retrainer.state.champion.generation == 2


def test_a_version_that_never_served_is_refused_by_name() -> None:
    bench = promoted()
    refused = only(ask(bench, "c1", "v9"))
    assert refused.step == "refused"
    assert "v9 never served; those that did: online" in refused.reason
    bench = Bench()
    bench.advance(100)
    assert "no other version has served yet" in only(ask(bench, "c1")).reason


def test_a_run_that_is_going_on_survives_a_rollback() -> None:
    bench = promoted()
    bench.advance(bench.now + 500)
    bench.drift("d2", since=bench.now - 100)
    assert bench.retrainer.state.run is not None
    ask(bench, "c1")
    assert bench.retrainer.state.run is not None
    bench.advance(bench.now + 1200)
    bench.passed()
    bench.advance(bench.now + 400)
    assert (bench.retrainer.state.champion.version, bench.retrainer.state.champion.generation) == ("v2", 3)


def drifted(**policy: object) -> Bench:
    """The batch champion v1, while a run collects rows after a drift."""
    bench = promoted(**policy)
    for _ in range(22):
        look(bench, 0.3, 0.4, version="online")
    bench.drift("d2", since=bench.now - 100)
    assert bench.retrainer.state.run is not None
    return bench


def test_the_online_model_serves_while_a_run_prepares_what_follows_a_champion_that_no_longer_holds() -> None:
    bench = drifted()
    steps = [decision.step for _ in range(3) for decision in look(bench, 0.9, 0.4, version="online")]
    assert steps == ["rolled_back"], "what the champion was worth before the drift does not count"
    decision = bench.decisions[-1]
    assert (decision.version, decision.generation) == ("online", 2)
    assert "v1 is worse than online since labelled row 3800: loss 0.9 against 0.4" in decision.reason
    assert decision.reason.endswith("; the run goes on")
    bench.advance(bench.now + 900)
    assert bench.steps()[-1] == "collected"
    bench.passed()
    bench.advance(bench.now + 400)
    assert (bench.retrainer.state.champion.version, bench.retrainer.state.champion.generation) == ("v2", 3)
    assert bench.retrainer.state.run is None


@pytest.mark.parametrize(("rollback", "online"), [(True, 0.9), (True, 0.895), (False, 0.4)])
def test_a_champion_that_is_no_worse_than_the_online_model_waits_for_the_run(rollback: bool, online: float) -> None:
    bench = drifted(rollback=rollback)
    for _ in range(8):
        look(bench, 0.9, online, version="online")
    assert bench.retrainer.state.champion.version == "v1"


def test_without_a_run_nobody_takes_over_by_this_test() -> None:
    bench = promoted()
    for _ in range(22):
        look(bench, 0.3, 0.4, version="online")
    for _ in range(5):
        look(bench, 0.9, 0.4, version="online")
    assert bench.retrainer.state.champion.version == "v1"


def test_a_drift_about_a_champion_that_was_sent_back_still_counts() -> None:
    bench = promoted()
    while not look(bench, 0.6, 0.3, version="online"):
        pass
    assert "cooling down" in bench.drift("d2", since=bench.now - 300, generation=1)[0].reason
    bench.decisions.clear()
    bench.advance(bench.now + 400)
    assert (bench.decisions[0].step, bench.decisions[0].trigger) == ("triggered", "drift:d2")
