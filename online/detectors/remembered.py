"""What the records before the current window were like: the history that shows how dependent they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from online.detectors.dependence import INDEPENDENT, Dependence, cells_dependence, dependence, greater
from online.detectors.windows import BoolArray, Packed, pack, unpack_integers

Codes: TypeAlias = npt.NDArray[np.int8]

#: Records of a series that are remembered, and how many come between two estimates.
REMEMBERED, PORTION = 10_000, 500
#: The code of a missing value; ranks are whole numbers from -127 to 127.
MISSING, RANKS = -128, 127
#: Cells of a category that are told apart.
CELLS = 8


class _State(msgspec.Struct, array_like=True):
    held: list[Packed]
    withheld: list[Packed]
    counts: list[int]


class Remembered:
    """Up to 10,000 records of each of several series, one byte each, and how dependent they are.

    Records come when they leave the window. While a signal is alarmed those of its series wait: a return to what was
    is an episode such as the stream has, and counts; a change that lasts becomes the reference, and is forgotten here,
    or it would pass for dependence. An estimate is of all that had come when the number of records was last a multiple
    of 500 (at first: of all that has come), whenever it is asked for.
    """

    def __init__(self, series: int, estimate: Callable[[Codes], Dependence]) -> None:
        self._estimate = estimate
        self._held: list[Codes] = [np.empty(0, dtype=np.int8)] * series
        self._withheld: list[Codes] = [np.empty(0, dtype=np.int8)] * series
        self._counts = [0] * series
        self._known: dict[int, tuple[int, Dependence]] = {}

    def add(self, s: int, codes: Codes) -> None:
        """Take the next records of series ``s``."""
        self._held[s] = np.concatenate((self._held[s], codes))[-REMEMBERED - PORTION :]
        self._counts[s] += len(codes)

    def take(self, codes: Sequence[Codes] | Codes, alarmed: BoolArray) -> None:
        """Take the records that left the window, and of each series whether its signal is alarmed."""
        for s, (column, waits) in enumerate(zip(codes, alarmed.tolist(), strict=True)):
            if waits:
                self._withheld[s] = np.concatenate((self._withheld[s], column))[-REMEMBERED:]
                continue
            if len(self._withheld[s]):
                self.add(s, self._withheld[s])
                self.drop(s)
            self.add(s, column)

    def drop(self, s: int) -> None:
        """The signal's change has lasted: forget what came since it was alarmed."""
        self._withheld[s] = np.empty(0, dtype=np.int8)

    def dependence(self, s: int) -> Dependence:
        """That of series ``s``."""
        count = self._counts[s]
        beyond = count % PORTION if count >= PORTION else 0
        known = self._known.get(s)
        if known is None or known[0] != count - beyond:
            held = self._held[s]
            known = count - beyond, self._estimate(held[: len(held) - beyond][-REMEMBERED:])
            self._known[s] = known
        return known[1]

    def state(self) -> bytes:
        """All that is held."""
        held, withheld = ([pack(codes) for codes in codes_of] for codes_of in (self._held, self._withheld))
        return msgspec.msgpack.encode(_State(held, withheld, self._counts))

    def restore(self, state: bytes) -> None:
        """Replace the state by what ``state()`` returned."""
        held = msgspec.msgpack.decode(state, type=_State)
        self._held, self._withheld = (
            [unpack_integers(packed).astype(np.int8) for packed in codes_of] for codes_of in (held.held, held.withheld)
        )
        self._counts, self._known = held.counts, {}


def of_ranks(codes: Codes) -> Dependence:
    """How dependent a number is, from its ranks: the greater of where its values lie and of how far out they are."""
    present = codes != MISSING
    if not present.any():
        return INDEPENDENT
    ranks = codes.astype(np.float64)
    ranks[~present] = 0.0
    out = np.abs(ranks)
    out[~present] = out[present].mean()
    return greater(dependence(ranks[None, :]), dependence(out[None, :]))


def of_cells(codes: Codes) -> Dependence:
    """How dependent a category is."""
    return cells_dependence(np.maximum(codes, -1).astype(np.int64))
