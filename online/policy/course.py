"""How a signal went since it joined its incident: whether what it does now is still the same drift."""

from __future__ import annotations

import msgspec

#: A signal has fallen at this share of its greatest effect.
FALLEN = 0.5
#: It rises again at this multiple of its least effect, and by so many floors: noise of what lasts does neither.
AGAIN = 2.0


class Course(msgspec.Struct, array_like=True):
    """A signal in its incident.

    ``greatest`` is its greatest merged effect, ``least`` the least since it fell to half of that (None: it has not);
    ``references`` the mean of the reference that each partition first named.
    """

    greatest: float
    least: float | None = None
    references: dict[int, float] = {}

    def take(self, effect: float, *, may_fall: bool) -> None:
        """Count one look; while the windows fill with what came after a change, an effect that falls says nothing."""
        self.greatest = max(self.greatest, effect)
        if not may_fall:
            return
        if self.least is not None or effect <= FALLEN * self.greatest:
            self.least = effect if self.least is None else min(self.least, effect)

    def rises_again(self, effect: float, floor: float) -> bool:
        """Whether it had fallen and is up again: twofold, and by two times ``floor``."""
        return self.least is not None and effect >= max(self.least + AGAIN * floor, AGAIN * self.least)

    def has_other_reference(self, partition: int, mean: float | None) -> bool:
        """Whether ``partition`` compares with another reference than at first, which it names from now on.

        A window that becomes the reference takes the drift so far with it: a difference from there is news.
        """
        return mean is not None and self.references.setdefault(partition, mean) != mean
