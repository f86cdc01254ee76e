"""Shadow, canary, approval and full: who comes to serve, who does not, and what every command is told."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.events import (
    ApprovalCommand,
    CancelCommand,
    Decision,
    ExperimentCommand,
    HealthCommand,
    PromoteCommand,
    RollbackCommand,
)
from penstock.spec import Rollout
from retraining.states import State, fold, verify_chain
from tests.unit.retraining.test_rollback import checked, look, promoted
from tests.unit.retraining.test_triggers import Bench, only


def shadowed(rollout: Rollout | None = None) -> Bench:
    """A bench whose v1 is in the shadow of the online model."""
    bench = Bench(rollout)
    bench.advance(1000)
    bench.drift("d1", since=100)
    bench.advance(1200)
    bench.passed()
    return bench


def waiting() -> Bench:
    bench = shadowed(Rollout(approval=True))
    bench.advance(1400)
    assert bench.steps()[-1] == "awaiting_approval"
    return bench


def of_slots(bench: Bench) -> list[tuple[str, str]]:
    return [(record.slot, record.version) for record in bench.models]


def test_a_canary_answers_its_share_before_it_is_promoted() -> None:
    bench = shadowed(Rollout(canary_share=0.2, canary_rows=300))
    bench.advance(1400)
    canary = bench.decisions[-1]
    assert (canary.step, canary.version) == ("canary", "v1")
    assert canary.model is not None
    assert (canary.model.slot, canary.model.share, canary.model.run_id) == ("canary", 0.2, canary.run_id)
    bench.advance(1600)
    assert bench.steps()[-1] == "canary"
    bench.advance(1700)
    assert bench.steps()[-1] == "promoted"
    assert of_slots(bench) == [
        ("challenger", "v1"), ("canary", "v1"), ("champion", "v1"), ("challenger", ""), ("canary", ""),
    ]  # fmt: skip
    assert bench.models[2].share == 0.0


def test_a_canary_of_the_online_model_has_a_slot_too() -> None:
    bench = promoted_with(Rollout(canary_share=0.1, canary_rows=100))
    bench.drift("d2", since=bench.now - 100)
    bench.advance(bench.now + 1000)
    bench.outcome(winner="online")
    bench.advance(bench.now + 200)
    assert (bench.models[-1].slot, bench.models[-1].version, bench.models[-1].kind) == ("canary", "online", "online")
    bench.advance(bench.now + 100)
    assert of_slots(bench)[-2:] == [("champion", "online"), ("canary", "")]


def promoted_with(rollout: Rollout) -> Bench:
    bench = shadowed(rollout)
    bench.advance(2200)
    assert bench.retrainer.state.champion.version == "v1"
    return bench


@pytest.mark.parametrize("rollout", [Rollout(), Rollout(canary_share=0.5, canary_rows=5000), Rollout(approval=True)])
def test_who_is_surely_worse_is_rejected_at_once(rollout: Rollout) -> None:
    bench = Bench(rollout, effect_rows=600)
    bench.advance(1000)
    bench.drift("d1", since=100)
    bench.advance(1200)
    bench.passed()
    while rollout.canary_share and bench.steps()[-1] != "canary":
        look(bench, 0.4, 0.4, version="v1")
    steps = [decision.step for _ in range(5) for decision in look(bench, 0.3, 0.6, version="v1")]
    assert steps == ["rejected"]
    assert "v1" not in {record.version for record in bench.models if record.slot == "champion"}
    assert "worse than online: loss 0." in bench.decisions[-1].reason
    assert bench.models[-1].version == ""
    assert bench.retrainer.state.run is None


def test_who_is_no_worse_is_promoted_after_its_rows() -> None:
    bench = shadowed()
    assert [decision.step for _ in range(2) for decision in look(bench, 0.41, 0.4, version="v1")] == ["promoted"]


def test_who_is_no_longer_ahead_after_its_rows_is_not_promoted() -> None:
    bench = Bench(effect_rows=600)
    bench.advance(1000)
    bench.drift("d1", since=100)
    bench.advance(1200)
    bench.passed()
    assert [decision.step for _ in range(6) for decision in look(bench, 0.4, 0.41, version="v1")] == ["rejected"]
    assert "no longer better than online: loss 0.41 against 0.4 over" in bench.decisions[-1].reason
    assert bench.retrainer.state.run is None


def ahead_by(gains: list[float]) -> list[str]:
    """The steps while v1, in the shadow of the online model, loses so much less at each look in turn."""
    bench = Bench(effect_rows=600)
    bench.advance(1000)
    bench.drift("d1", since=100)
    bench.advance(1200)
    bench.passed()
    return [decision.step for gain in gains for decision in look(bench, 0.4, 0.4 - gain, version="v1")]


def test_a_lead_over_a_champion_that_learns_has_its_time_to_prove_itself() -> None:
    assert ahead_by([0.02] * 19) == []
    assert ahead_by([0.02] * 20) == ["rejected"]
    assert ahead_by([0.045] * 9) == []
    assert ahead_by([0.045] * 15) == ["promoted"]


def test_a_sure_lead_over_a_champion_that_learns_does_not_wait() -> None:
    assert ahead_by([0.3] * 6) == ["promoted"]


def test_who_is_caught_up_with_while_it_waits_is_rejected() -> None:
    assert ahead_by([0.04] * 10 + [-0.02] * 9) == []
    assert ahead_by([0.04] * 10 + [-0.02] * 10) == ["rejected"], "overtaken: still ahead over all rows"
    assert ahead_by([0.02] * 7 + [-0.05] * 3) == ["rejected"], "behind over all rows"


def approve(bench: Bench, identity: str, version: str, *, approved: bool = True) -> list[Decision]:
    return bench.give(
        "commands", ApprovalCommand(id=identity, by="eve", at_ms=1, version=version, approved=approved, reason="ok")
    )


def test_a_person_approves_and_the_version_serves() -> None:
    bench = waiting()
    bench.advance(2000)
    assert bench.steps()[-1] == "awaiting_approval"
    assert "penstock models approve v1" in bench.alerts[-1].detail
    first, second = approve(bench, "a1", "v1")
    assert (first.step, first.by, first.reason) == ("approved", "eve", "asked for by eve: ok")
    assert (second.step, second.version) == ("promoted", "v1")
    assert approve(bench, "a1", "v1") == []
    refused = only(approve(bench, "a2", "v1"))
    assert (refused.step, refused.by) == ("refused", "eve")
    assert "v1 serves already" in refused.reason


def test_a_person_rejects_and_the_run_ends() -> None:
    bench = waiting()
    decision = only(approve(bench, "a1", "v1", approved=False))
    assert (decision.step, decision.version, decision.by) == ("rejected", "v1", "eve")
    assert bench.models[-1].version == ""
    assert "does not wait for a word (any more)" in only(approve(bench, "a2", "v1")).reason


def test_nobody_s_word_ends_the_waiting_in_time() -> None:
    bench = shadowed(Rollout(approval=True, approval_ms=500))
    bench.advance(1900)
    assert bench.steps()[-2:] == ["awaiting_approval", "rejected"]
    assert bench.decisions[-1].reason.startswith("nobody approved it within")


def test_an_approval_that_nobody_waits_for_is_refused_with_the_reason() -> None:
    bench = shadowed(Rollout(approval=True))
    assert "it is shadow" in only(approve(bench, "a1", "v1")).reason
    assert "there is no version v9; there are online, v1" in only(approve(bench, "a2", "v9")).reason
    bench = promoted()
    bench.give("commands", RollbackCommand(id="r", by="ann", at_ms=1))
    checked(bench)
    assert "v1 is archived: it served before" in only(approve(bench, "a3", "v1")).reason


def promote(bench: Bench, identity: str, version: str, by: str = "ann") -> list[Decision]:
    return bench.give("commands", PromoteCommand(id=identity, by=by, at_ms=1, version=version))


def sent_back() -> Bench:
    """v1 was promoted and proved worse: the online model serves again."""
    bench = promoted()
    while not look(bench, 0.6, 0.3, version="online"):
        pass
    return bench


def test_a_person_promotes_a_registered_version_after_its_check() -> None:
    bench = sent_back()
    recorded = only(promote(bench, "p1", "v1"))
    assert (recorded.step, recorded.version, recorded.by) == ("recorded", "v1", "ann")
    assert bench.retrainer.state.champion.version == "online"
    decision = only(checked(bench))
    assert (decision.step, decision.version, decision.generation, decision.by) == ("promoted", "v1", 3, "ann")
    assert decision.model is not None
    assert (decision.model.uri, decision.model.predecessor and decision.model.predecessor.version) == ("u", "online")
    assert promote(bench, "p1", "v1") == []
    assert "v1 serves already" in only(promote(bench, "p2", "v1")).reason
    assert "there is no version v9" in only(promote(bench, "p3", "v9")).reason
    assert bench.retrainer.state.failed == frozenset()


def test_a_version_that_no_longer_loads_is_refused_and_nothing_changes() -> None:
    bench = sent_back()
    promote(bench, "p1", "v1")
    refused = only(checked(bench, "artifact ab/cd: not there"))
    assert (refused.step, refused.by) == ("refused", "ann")
    assert "v1 cannot serve: artifact ab/cd: not there" in refused.reason
    assert bench.retrainer.state.champion.version == "online"
    assert bench.retrainer.state.checking is None


def test_two_people_promote_at_once_and_the_first_wins() -> None:
    bench = sent_back()
    first = only(promote(bench, "p1", "v1"))
    second = only(promote(bench, "p2", "v1", by="bob"))
    assert (second.step, second.by) == ("refused", "bob")
    assert "ann was first" in second.reason
    bench.give("commands", _check(first))
    third = only(promote(bench, "p3", "v1", by="bob"))
    assert third.step == "refused"
    assert [decision.step for decision in bench.decisions].count("promoted") == 2  # the run's, and ann's


def _check(recorded: Decision, error: str = "") -> Any:
    from penstock.events import OutcomeCommand

    return OutcomeCommand(id="x", run_id=recorded.run_id, step="check", at_ms=1, error=error)


def test_a_champion_that_changes_during_the_check_refuses_the_command() -> None:
    bench = promoted()
    recorded = only(promote(bench, "p1", "online"))
    while not look(bench, 0.6, 0.3, version="online"):
        pass
    refused = only(bench.give("commands", _check(recorded)))
    assert (refused.step, refused.reason) == (
        "refused",
        "asked for by ann: meanwhile online (generation 2) has come to serve; ask again",
    )
    assert bench.give("commands", _check(recorded)) == []


def test_a_person_promotes_the_version_of_the_run_and_the_run_ends() -> None:
    bench = shadowed()
    promote(bench, "p1", "v1")
    promoted_, cancelled = checked(bench)
    assert (promoted_.step, cancelled.step) == ("promoted", "cancelled")
    assert of_slots(bench)[-2:] == [("champion", "v1"), ("challenger", "")]
    assert bench.retrainer.state.run is None


def experiment(bench: Bench, identity: str, version: str, share: float) -> list[Decision]:
    return bench.give("commands", ExperimentCommand(id=identity, by="ann", at_ms=1, version=version, share=share))


def trying(rollout: Rollout | None = None) -> Bench:
    """The online model serves, and v1 is tried on half of the entities."""
    bench = Bench(rollout)
    bench.advance(1000)
    bench.drift("d1", since=100)
    bench.advance(1200)
    bench.passed()
    bench.advance(1600)
    while not look(bench, 0.6, 0.3, version="online"):
        pass
    experiment(bench, "e1", "v1", 0.5)
    started = only(checked(bench))
    assert (started.step, started.version, started.by) == ("canary", "v1", "ann")
    assert (bench.models[-1].slot, bench.models[-1].share) == ("canary", 0.5)
    bench.advance(bench.now + 100)  # the looks before the experiment scored v1 no more
    return bench


def test_an_experiment_ends_with_the_better_version() -> None:
    bench = trying()
    steps = []
    while not steps:
        steps = look(bench, 0.5, 0.3, version="v1")
    won = only(steps)
    assert (won.step, won.version, won.run_id) == ("promoted", "v1", "experiment:e1")
    assert "better than online: loss 0.3 against 0.5" in won.reason
    assert of_slots(bench)[-2:] == [("champion", "v1"), ("canary", "")]


def test_an_experiment_ends_without_the_worse_version() -> None:
    bench = trying()
    decisions: list[Decision] = []
    while not decisions:
        decisions = look(bench, 0.3, 0.5, version="v1")
    lost = only(decisions)
    assert (lost.step, lost.version) == ("rejected", "v1")
    assert bench.retrainer.state.champion.version == "online"
    assert of_slots(bench)[-1] == ("canary", "")


def test_an_experiment_that_shows_nothing_ends() -> None:
    bench = trying(Rollout(experiment_rows=1500))
    decisions = [decision for _ in range(16) for decision in look(bench, 0.4, 0.4, version="v1")]
    ended = [decision for decision in decisions if decision.step != "settled"]
    assert only(ended).step == "rejected"
    assert "no winner after 1500 labelled rows; online stays" in ended[0].reason


def test_a_person_changes_and_ends_an_experiment() -> None:
    bench = trying()
    changed = only(experiment(bench, "e2", "v1", 0.25))
    assert (changed.step, changed.model and changed.model.share) == ("canary", 0.25)
    assert changed.model is not None
    assert changed.model.run_id == "experiment:e1", "the same entities, but fewer"
    ended = only(experiment(bench, "e3", "v1", 0.0))
    assert (ended.step, ended.by) == ("cancelled", "ann")
    assert of_slots(bench)[-1] == ("canary", "")
    assert "no experiment with v1 is going on" in only(experiment(bench, "e4", "v1", 0.0)).reason


def test_an_experiment_that_cannot_be_is_refused() -> None:
    bench = trying()
    assert "an experiment with v1 is going on" in only(experiment(bench, "e2", "v2", 0.5)).reason
    experiment(bench, "e3", "v1", 0.0)
    assert "online serves already" in only(experiment(bench, "e4", "online", 0.5)).reason
    assert "there is no version v7" in only(experiment(bench, "e5", "v7", 0.5)).reason
    assert "a share of 1 leaves the champion none" in only(experiment(bench, "e6", "v1", 1.0)).reason


def test_another_champion_ends_the_experiment() -> None:
    bench = trying()
    promote(bench, "p", "v1")
    assert [decision.step for decision in checked(bench)] == ["promoted", "cancelled"]
    assert of_slots(bench)[-2:] == [("champion", "v1"), ("canary", "")]


def test_a_canary_waits_for_the_end_of_an_experiment() -> None:
    bench = trying(Rollout(canary_share=0.1, canary_rows=100))
    bench.advance(bench.now + 500)
    bench.drift("d2", since=bench.now - 100)
    bench.advance(bench.now + 1000)
    bench.passed()
    bench.advance(bench.now + 400)
    assert bench.retrainer.state.run is not None
    assert bench.retrainer.state.run.phase == "shadow"
    decisions = experiment(bench, "e2", "v1", 0.0)
    assert [(decision.step, decision.version) for decision in decisions] == [("cancelled", "v1"), ("canary", "v2")]


def test_a_canary_that_begins_during_the_check_refuses_the_experiment() -> None:
    bench = promoted_with(Rollout(canary_share=0.1, canary_rows=300))
    bench.drift("d2", since=bench.now - 100)
    bench.advance(bench.now + 1000)
    bench.passed()
    recorded = only(experiment(bench, "e1", "online", 0.5))
    bench.advance(bench.now + 200)
    assert bench.steps()[-1] == "canary"
    refused = only(bench.give("commands", _check(recorded)))
    assert (refused.step, refused.reason.partition(": ")[2].rpartition(" of run ")[0]) == (
        "refused",
        "meanwhile v2 is the canary",
    )
    assert bench.retrainer.state.experiment is None


def sick(bench: Bench, version: str, generation: int, check: str = "failures") -> list[Decision]:
    command = HealthCommand(
        id=f"health-{version}-{generation}-{check}", by="scorer", at_ms=1, version=version, generation=generation,
        check=check, value=4, limit=3, detail="ValueError: no",
    )  # type: ignore[arg-type]  # fmt: skip
    return bench.give("commands", command)


def test_a_sick_champion_is_rolled_back_once_whoever_tells() -> None:
    bench = promoted()
    back = only(sick(bench, "v1", 1))
    assert (back.step, back.version, back.generation, back.by) == ("rolled_back", "online", 2, "scorer")
    assert "v1 is not healthy, says scorer: scoring failed in 4 calls in a row (limit 3): ValueError: no" in back.reason
    assert sick(bench, "v1", 1) == []
    late = only(sick(bench, "v1", 1, "latency"))
    assert (late.step, late.reason.rpartition("; ")[2]) == ("recorded", "online serves, by generation 2")


def test_the_last_good_version_is_none_that_failed() -> None:
    bench = promoted()
    bench.advance(bench.now + 500)
    bench.drift("d2", since=bench.now - 100)
    bench.advance(bench.now + 1000)
    bench.passed()
    bench.advance(bench.now + 400)
    assert bench.retrainer.state.champion.version == "v2"
    assert only(sick(bench, "v2", 2)).version == "v1"
    assert only(sick(bench, "v1", 3)).version == "online"
    assert only(sick(bench, "online", 4)).reason.endswith("there is no other version to go back to")
    assert bench.retrainer.state.champion.generation == 4


def test_a_sick_candidate_is_rejected() -> None:
    bench = shadowed()
    assert (only(sick(bench, "v1", 0, "load")).step, bench.retrainer.state.run) == ("rejected", None)
    bench = trying()
    assert only(sick(bench, "v1", 2)).step == "rejected"
    assert bench.retrainer.state.experiment is None


def test_rollback_that_is_switched_off_is_said() -> None:
    bench = promoted(rollback=False)
    decision = only(sick(bench, "v1", 1))
    assert (decision.step, decision.reason.rpartition("; ")[2]) == (
        "recorded", "rollback is switched off in the pipeline",
    )  # fmt: skip


def test_a_cancelled_run_leaves_its_slots() -> None:
    bench = shadowed(Rollout(canary_share=0.2))
    bench.advance(1400)
    cancelled = only(bench.give("commands", CancelCommand(id="c", by="ann", at_ms=1)))
    assert (cancelled.step, cancelled.by) == ("cancelled", "ann")
    assert of_slots(bench)[-2:] == [("challenger", ""), ("canary", "")]


@pytest.mark.parametrize("make", [waiting, sent_back, trying])
def test_the_state_is_the_fold_of_the_decisions(make: Any) -> None:
    bench = make()
    state = State()
    for decision in bench.decisions:
        state = fold(state, decision)
    assert state == bench.retrainer.state
    assert verify_chain(bench.decisions) == len(bench.decisions)
