from __future__ import annotations

from collections.abc import Sequence

from penstock.errors import UnrecoverableStateError
from penstock.events import Label
from penstock.runtime.culprit import find_culprit
from penstock.runtime.stage import Input, Output, Stage

BATCH = [Input("labels", 0, n, 0, Label(id=str(n), value=n)) for n in range(5)]


class Breaks:
    def __init__(self, at: int) -> None:
        self.at = at

    def process(self, inputs: Sequence[Input]) -> list[Output]:
        if any(read.offset == self.at for read in inputs):
            raise ValueError
        return []


def unrecoverable() -> Stage:
    raise UnrecoverableStateError("the log is too short")


def test_it_is_the_input_at_which_a_fresh_stage_raises() -> None:
    assert find_culprit(lambda: Breaks(3), BATCH) == BATCH[3]


def test_it_is_unknown_where_nothing_raises_again_or_nothing_can_be_recovered() -> None:
    assert find_culprit(lambda: Breaks(99), BATCH) is None
    assert find_culprit(unrecoverable, BATCH) is None
