"""The port of the window detectors: what the monitor asks of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from online.detectors.served import Served
from penstock.events import Features, Finding


class Batch(NamedTuple):
    """The predictions between two looks, in order: event times (ms) and checked features, row by row.

    ``served`` is what the champion answered; predictions of other roles or older generations have no part in it.
    ``decisions`` has one entry per row: what the champion decided, None where it was another's answer.
    """

    times: Sequence[int]
    rows: Sequence[Features]
    served: Sequence[Served] = ()
    decisions: Sequence[str | None] = ()


class Detector(Protocol):
    """Compares a sliding window of predictions with a reference window, signal by signal.

    The reference is the first records after the start or after a `reset`. When a signal has differed from it for
    2 × window records, the current window becomes that signal's reference: what lasts is the new normal, so incidents
    close and a later change is found again (but not where the policy's references are fixed). Memory is bounded by
    the two windows.
    """

    def update(self, batch: Batch) -> list[Finding]:
        """Take ``batch`` (one look) and say how every signal differs now; nothing while too few values are there.

        Never raises for values that kept their contract.
        """
        ...

    def reset(self) -> None:
        """Forget everything; the next records are the reference."""
        ...

    def turn(self) -> None:
        """The current window becomes the reference of every signal, and a new window begins."""
        ...

    def state(self) -> bytes:
        """All state, as MessagePack."""
        ...

    def restore(self, state: bytes) -> None:
        """Replace the state by what ``state()`` of a detector of the same pipeline returned."""
        ...
