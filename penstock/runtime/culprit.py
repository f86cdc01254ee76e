"""Which input of a batch a stage's bug is about."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from penstock.errors import PenstockError
from penstock.runtime.stage import EffectfulStage, Input, Stage


def find_culprit(recover: Callable[[], Stage], batch: Sequence[Input]) -> Input | None:
    """The input at which a recovered stage raises when it is fed ``batch`` one by one.

    State and outputs do not depend on how inputs are cut into batches, so a bug shows again. None where it does not,
    or where the stage cannot be recovered: then the bug is somewhere in the batch.
    """
    try:
        stage = recover()
    except PenstockError:
        return None
    if isinstance(stage, EffectfulStage):
        stage.mute(True)
    for read in batch:
        try:
            stage.process([read])
        except Exception:  # noqa: BLE001 - whatever the bug raises is what is looked for
            return read
    return None
