"""Back to a model that served before: at once where it proves better than what replaced it, or when a person asks."""

from __future__ import annotations

import math

import msgspec

from penstock.events import Decision, ModelRecord, RollbackCommand
from penstock.models.slot import ONLINE
from penstock.spec import Pipeline
from retraining.progress import Progress, Rivalry
from retraining.sequential import lower_bound
from retraining.states import ORIGIN, State
from retraining.triggers import draft

#: Fewer rows say nothing: the bound is an asymptotic one.
LEAST_ROWS = 200


def on_worse(pipeline: Pipeline, state: State, progress: Progress) -> Decision | None:
    """``rolled_back`` where the predecessor is better than the champion on the rows that followed the promotion.

    The gain in loss must be at least ``gates.min_improvement`` of the champion's, and its lower bound at
    ``gates.confidence`` above 0, at whichever look. Only sums of each version's losses are known, not of their
    differences: the sum of both standard deviations stands for that of the difference, which is never larger.
    """
    promotion = state.promotion
    if not pipeline.retraining.rollback or promotion is None or promotion.returned:
        return None
    predecessor = promotion.record.predecessor
    if predecessor is None:
        return None
    rivalry = progress.rivalry(predecessor.version, promotion.record.generation)
    if rivalry.rows < LEAST_ROWS:
        return None
    served, other = rivalry.served / rivalry.rows, rivalry.other / rivalry.rows
    lower = lower_bound(served - other, _spread(rivalry), rivalry.rows, 1.0 - pipeline.gates.confidence)
    if lower <= 0.0 or served - other < pipeline.gates.min_improvement * served:
        return None
    reason = (
        f"{promotion.record.version} is worse than {predecessor.version}, which it replaced: loss {served:.4g} against "
        f"{other:.4g} over {rivalry.rows} labelled rows, lower bound of the difference {lower:.4g}"
    )
    return _back_to(predecessor, state, progress, promotion.run_id, f"rollback:{promotion.run_id}", reason)


def on_rollback(state: State, progress: Progress, command: RollbackCommand) -> Decision | None:
    """The decision on a person's command; None where it was decided on before."""
    trigger = f"command:{command.id}"
    if trigger in state.seen:
        return None
    what = f"asked for by {command.by}" + (f": {command.reason}" if command.reason else "")
    former = {record.version: record for record in (ORIGIN, *state.former)}
    serving = state.champion.version
    if command.version == serving:
        return _refused(state, progress, trigger, f"{what}: {serving} serves already")
    former.pop(serving, None)
    if command.version and command.version not in former:
        known = ", ".join(former) or "none"
        return _refused(state, progress, trigger, f"{what}: {command.version} never served; those that did: {known}")
    if not former:
        return _refused(state, progress, trigger, f"{what}: no other version has served yet")
    target = former[command.version] if command.version else list(former.values())[-1]
    return _back_to(target, state, progress, "", trigger, what)


def _back_to(target: ModelRecord, state: State, progress: Progress, run_id: str, trigger: str, reason: str) -> Decision:
    generation = state.champion.generation + 1
    loser = msgspec.structs.replace(state.champion, predecessor=None)
    if target.version == ONLINE:
        record = ModelRecord(slot="champion", version=ONLINE, kind="online", generation=generation)
    else:
        record = msgspec.structs.replace(target, slot="champion", generation=generation)
    record = msgspec.structs.replace(record, predecessor=loser)
    decision = draft(state, progress, "rolled_back", run_id=run_id, trigger=trigger, reason=reason)
    return msgspec.structs.replace(decision, version=record.version, generation=generation, model=record)


def _refused(state: State, progress: Progress, trigger: str, reason: str) -> Decision:
    return draft(state, progress, "refused", run_id="", trigger=trigger, reason=reason)


def _spread(rivalry: Rivalry) -> float:
    """The sum of both standard deviations; infinite where the squares were not counted."""
    n = rivalry.rows
    spread = 0.0
    for total, squares in ((rivalry.served, rivalry.served_squared), (rivalry.other, rivalry.other_squared)):
        if total > 0.0 and not squares:
            return math.inf
        spread += math.sqrt(max(0.0, squares / n - (total / n) ** 2))
    return spread
