"""How many records a loop takes at once: many while it falls behind, few enough that a batch stays short."""

from __future__ import annotations

from dataclasses import dataclass

FIRST = 500
#: Never less for time's sake: on a busy machine everything takes long, and small batches only add to it.
LEAST = 100
#: A batch that took less time may be followed by one twice as large; one that took more, by one that takes half of it.
SHORT_S, LONG_S = 0.1, 1.0
#: One that took less is followed by one four times as large: each of the first waits for a commit.
BRIEF_S = 0.02


@dataclass(slots=True)
class BatchSize:
    """``limit`` records at most. Neither outputs nor state depend on where batches are cut, so time may decide it."""

    most: int
    limit: int = 0

    def __post_init__(self) -> None:
        self.limit = min(FIRST, self.most)

    def took(self, records: int, seconds: float) -> None:
        """Learn from a batch of ``records`` that was processed in ``seconds``."""
        if seconds > LONG_S:
            affordable = int(records * LONG_S / 2 / seconds)
            self.limit = max(min(LEAST, self.most), min(affordable, self.limit // 2))
        elif seconds < SHORT_S and records >= self.limit:
            self.limit = min((4 if seconds < BRIEF_S else 2) * self.limit, self.most)
