"""A person's word on a version that waits for it."""

from __future__ import annotations

import msgspec

from penstock.events import ApprovalCommand, Decision, Step
from penstock.spec import Pipeline
from retraining.answers import answer, asked, refused, trigger_of, unknown
from retraining.progress import Progress
from retraining.slots import known
from retraining.states import State
from retraining.triggers import draft


def on_approval(state: State, progress: Progress, command: ApprovalCommand) -> Decision | None:
    """``approved`` or ``rejected`` where the version waits, else ``refused``; None where it was decided on before."""
    if trigger_of(command) in state.seen:
        return None
    what, run = asked(command), state.run
    if run is None or run.phase != "awaiting_approval" or run.version != command.version:
        return refused(state, progress, command, f"{what}: {_standing(state, command.version)}")
    step: Step = "approved" if command.approved else "rejected"
    return answer(state, progress, command, step, what, run_id=run.id, version=run.version)


def _standing(state: State, version: str) -> str:
    """Why ``version`` waits for no word."""
    run, versions = state.run, known(state)
    if version == state.champion.version:
        return f"{version} serves already"
    if run is not None and run.version == version:
        return f"{version} does not wait for a word (yet): it is {run.phase}"
    if any(record.version == version for record in state.former):
        return f"{version} is archived: it served before; `penstock models promote {version}` serves it again"
    if version in versions:
        return f"{version} does not wait for a word (any more)"
    return unknown(version, list(versions))


def on_unheard(pipeline: Pipeline, state: State, progress: Progress) -> Decision | None:
    """``rejected`` where nobody said a word in time: what was shown of the version is about an older stream."""
    run, limit_ms = state.run, pipeline.rollout.approval_ms
    if run is None or run.phase != "awaiting_approval" or limit_ms is None or progress.event_time_ms is None:
        return None
    waited_ms = progress.event_time_ms - run.waiting_since_ms
    if waited_ms < limit_ms:
        return None
    reason = f"nobody approved it within {limit_ms / 3_600_000:g} h"
    rejected = draft(state, progress, "rejected", run_id=run.id, trigger=run.trigger, reason=reason)
    return msgspec.structs.replace(rejected, version=run.version)
