"""Back to what proves better than what serves, at once: the predecessor, or the online model while a run goes on."""

from __future__ import annotations

import msgspec

from penstock.events import Decision
from penstock.models.slot import ONLINE
from penstock.spec import Pipeline
from retraining.progress import Progress
from retraining.rivalry import Rivalry
from retraining.sequential import least_gain
from retraining.slots import crowned
from retraining.states import ORIGIN, Phase, State
from retraining.triggers import draft

#: Of a run in one of these phases, the next model is not there yet.
_PREPARING: tuple[Phase, ...] = ("collecting", "fitting")


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
    figures = _surely_worse(pipeline, rivalry)
    if figures is None:
        return None
    reason = f"{version} is worse than {predecessor.version}, which it replaced: {figures}"
    record = crowned(state, predecessor)
    trigger = f"rollback:{promotion.run_id}"
    back = draft(state, progress, "rolled_back", run_id=promotion.run_id, trigger=trigger, reason=reason)
    return msgspec.structs.replace(back, version=record.version, generation=record.generation, model=record)


def on_left_behind(pipeline: Pipeline, state: State, progress: Progress) -> Decision | None:
    """``rolled_back`` to the online model where a run prepares a new model and the batch champion no longer holds.

    After a drift the online model learns while rows are collected and the champion answers as before. The test is that
    of `on_worse`, over the labelled rows since the run started, or was last sent back to a newer drift: neither depends
    on what follows. The k-th test of a run may err with 1 / 2^k of the chance that all of them have together. The run
    goes on, and its candidate has to beat the online model then.
    """
    run, champion = state.run, state.champion
    if not pipeline.retraining.rollback or run is None or run.phase not in _PREPARING or champion.version == ONLINE:
        return None
    rivalry = progress.rivalries.since(run.began, champion.version, ONLINE, champion.generation)
    figures = _surely_worse(pipeline, rivalry, 0.5 ** (run.restarts + 1))
    if figures is None:
        return None
    reason = f"{champion.version} is worse than {ONLINE} since labelled row {run.began}: {figures}; the run goes on"
    record = crowned(state, ORIGIN)
    identity = f"left-behind:{run.id}"
    back = draft(state, progress, "rolled_back", run_id=identity, trigger=identity, reason=reason)
    return msgspec.structs.replace(back, version=record.version, generation=record.generation, model=record)


def _surely_worse(pipeline: Pipeline, rivalry: Rivalry, share: float = 1.0) -> str | None:
    """The figures for people where what serves is worse than the other by enough and beyond chance; None: it is not.

    ``share`` of the chance to err that ``gates.confidence`` leaves.
    """
    lower = least_gain(rivalry, share * (1.0 - pipeline.gates.confidence))
    if lower <= 0.0 or rivalry.served - rivalry.other < pipeline.gates.min_improvement * rivalry.served:
        return None
    return f"{rivalry.means()}, lower bound of the difference {lower:.4g}"
