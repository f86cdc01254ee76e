"""A person's promotion, rollback or experiment: recorded, its artifact checked, then done or refused.

The check is an effect (`retraining.checking`): it reads the artifact, which no decision may do. The version that is
decided on may change in between; then the command is refused, and whoever gave it decides anew.
"""

from __future__ import annotations

import msgspec

from penstock.events import Decision, ModelRecord, OutcomeCommand, PromoteCommand, RollbackCommand, Step
from retraining.answers import Requested, answer, asked, refused, trigger_of, unknown
from retraining.progress import Progress
from retraining.slots import crowned, known
from retraining.states import ASKED_BACK, ORIGIN, State
from retraining.triggers import draft


def on_promote(state: State, progress: Progress, command: PromoteCommand) -> Decision | None:
    """``recorded`` until the version's artifact was checked, or ``refused``; None where it was decided on before."""
    if trigger_of(command) in state.seen:
        return None
    what, versions = asked(command), known(state)
    if command.version == state.champion.version:
        return refused(state, progress, command, f"{what}: {command.version} serves already")
    if command.version not in versions:
        return refused(state, progress, command, f"{what}: {unknown(command.version, list(versions))}")
    return checked_first(state, progress, command, "promote", versions[command.version])


def on_rollback(state: State, progress: Progress, command: RollbackCommand) -> Decision | None:
    """The same for a person who wants a former champion back; without a version, the one before the present."""
    if trigger_of(command) in state.seen:
        return None
    what, serving = asked(command), state.champion.version
    if command.version == serving:
        return refused(state, progress, command, f"{what}: {serving} serves already")
    former = {record.version: record for record in (ORIGIN, *state.former)}
    former.pop(serving, None)
    if command.version and command.version not in former:
        names = ", ".join(former) or "none"
        return refused(state, progress, command, f"{what}: {command.version} never served; those that did: {names}")
    if not former:
        return refused(state, progress, command, f"{what}: no other version has served yet")
    target = former[command.version] if command.version else list(former.values())[-1]
    return checked_first(state, progress, command, "rollback", target)


def checked_first(state: State, progress: Progress, command: Requested, kind: str, target: ModelRecord) -> Decision:
    """``recorded``: the command waits for the check of ``target``; ``refused`` while another one waits."""
    if state.checking is not None:
        held = state.checking
        return refused(
            state, progress, command, f"{held.by or 'somebody'} was first: {held.version} is being checked; try again"
        )
    identity = f"{kind}:{command.id}"
    noted = answer(state, progress, command, "recorded", asked(command), run_id=identity, version=target.version)
    return msgspec.structs.replace(noted, model=target)


def on_checked(state: State, progress: Progress, outcome: OutcomeCommand) -> list[Decision]:
    """What was asked for, now that its artifact was checked: done, or refused with the reason."""
    waiting = state.checking
    if waiting is None or waiting.model is None or waiting.run_id != outcome.run_id:
        return []
    target = waiting.model

    def decided(step: Step, reason: str = "") -> Decision:
        run_id = "" if step == "refused" else waiting.run_id
        decision = draft(
            state, progress, step, run_id=run_id, trigger=waiting.trigger, reason=f"{waiting.reason}{reason}"
        )
        return msgspec.structs.replace(decision, by=waiting.by, version=waiting.version)

    if outcome.error:
        return [decided("refused", f": {target.version} cannot serve: {outcome.error}")]
    if waiting.generation != state.champion.generation:
        now = f"{state.champion.version} (generation {state.champion.generation})"
        return [decided("refused", f": meanwhile {now} has come to serve; ask again")]
    if target.slot == "canary" and state.run is not None and state.run.canary is not None:
        return [decided("refused", f": meanwhile {state.run.version} is the canary of run {state.run.id}")]
    if target.slot == "canary":
        return [msgspec.structs.replace(decided("canary"), model=target)]
    record = crowned(state, target)
    step: Step = "rolled_back" if waiting.run_id.startswith(ASKED_BACK) else "promoted"
    return [msgspec.structs.replace(decided(step), generation=record.generation, model=record)]
