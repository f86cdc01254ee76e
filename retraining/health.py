"""What scorers and servers say of a version that does not answer as it should."""

from __future__ import annotations

import msgspec

from penstock.events import Decision, HealthCommand, ModelRecord
from penstock.models.slot import ONLINE
from penstock.spec import Pipeline
from retraining.answers import answer, trigger_of
from retraining.progress import Progress
from retraining.slots import crowned
from retraining.states import ORIGIN, SCORED, State


def on_health(pipeline: Pipeline, state: State, progress: Progress, command: HealthCommand) -> Decision | None:
    """``rolled_back`` to the last good version where it is about the champion, ``rejected`` where about a candidate.

    ``recorded`` where nothing follows; None where it was decided on before: every process that sees it says the same.
    """
    if trigger_of(command) in state.seen:
        return None
    what, run, trial = _said(command), state.run, state.experiment
    version, champion = command.version, state.champion
    if run is not None and run.phase in SCORED and run.version == version != champion.version:
        return answer(state, progress, command, "rejected", what, run_id=run.id, version=version)
    if trial is not None and trial.record.version == version:
        return answer(state, progress, command, "rejected", what, run_id=trial.id, version=version)

    def recorded(why: str) -> Decision:
        return answer(state, progress, command, "recorded", f"{what}; {why}", version=version)

    if version != champion.version or command.generation != champion.generation:
        return recorded(f"{champion.version} serves, by generation {champion.generation}")
    if not pipeline.retraining.rollback:
        return recorded("rollback is switched off in the pipeline")
    target = last_good(state)
    if target is None:
        return recorded("there is no other version to go back to")
    record = crowned(state, target)
    back = answer(state, progress, command, "rolled_back", what, run_id=f"health:{command.id}", version=record.version)
    return msgspec.structs.replace(back, generation=record.generation, model=record)


def last_good(state: State) -> ModelRecord | None:
    """The newest former champion that did not fail itself; without one, the online model, unless that is what fails."""
    serving = state.champion.version
    good = [held for held in state.former if held.version != serving and held.version not in state.failed]
    if good:
        return good[-1]
    return None if serving == ONLINE else ORIGIN


def _said(command: HealthCommand) -> str:
    said = {
        "failures": f"scoring failed in {command.value:.0f} calls in a row (limit {command.limit:.0f})",
        "errors": f"scoring failed in {command.value:.1%} of the newest calls (limit {command.limit:.0%})",
        "latency": f"scoring took {command.value:.1f} s (limit {command.limit:g} s)",
        "load": "it could not be loaded",
    }[command.check]
    detail = f": {command.detail}" if command.detail else ""
    return f"{command.version} is not healthy, says {command.by}: {said}{detail}"
