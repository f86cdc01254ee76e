"""Back to the predecessor, at once, where it proves better than what replaced it."""

from __future__ import annotations

import msgspec

from penstock.events import Decision
from penstock.spec import Pipeline
from retraining.progress import Progress
from retraining.sequential import least_gain
from retraining.slots import crowned
from retraining.states import State
from retraining.triggers import draft


def on_worse(pipeline: Pipeline, state: State, progress: Progress) -> Decision | None:
    """``rolled_back`` where the predecessor is better than the champion on the rows that followed the promotion.

    The gain in loss must be at least ``gates.min_improvement`` of the champion's, and its lower bound at
    ``gates.confidence`` above 0, at whichever look.
    """
    promotion = state.promotion
    if not pipeline.retraining.rollback or promotion is None or promotion.returned:
        return None
    predecessor = promotion.record.predecessor
    if predecessor is None:
        return None
    version = promotion.record.version
    rivalry = progress.rivalries.between(version, predecessor.version, promotion.record.generation)
    lower = least_gain(rivalry, 1.0 - pipeline.gates.confidence)
    if lower <= 0.0 or rivalry.served - rivalry.other < pipeline.gates.min_improvement * rivalry.served:
        return None
    reason = (
        f"{version} is worse than {predecessor.version}, which it replaced: {rivalry.means()}, "
        f"lower bound of the difference {lower:.4g}"
    )
    record = crowned(state, predecessor)
    trigger = f"rollback:{promotion.run_id}"
    back = draft(state, progress, "rolled_back", run_id=promotion.run_id, trigger=trigger, reason=reason)
    return msgspec.structs.replace(back, version=record.version, generation=record.generation, model=record)
