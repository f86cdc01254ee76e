"""How late labels come: a constant or a random delay, in rows of the stream or in event time."""

from __future__ import annotations

import math
import random
import re
from dataclasses import dataclass
from typing import Literal, TypeAlias

from penstock.errors import UsageError
from penstock.spec import Delay, Millis, Pipeline, Rows

UNITS_MS = {"ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}
#: A larger number is a slip of the fingers: 1e9 rows, or as many days.
MOST = 1e9
_AMOUNT = re.compile(r"(?P<count>\d+(\.\d+)?)\s*(?P<unit>rows?|ms|s|min|h|d)?")


@dataclass(frozen=True, slots=True)
class RandomDelay:
    """A delay drawn per label. ``mean`` says the unit too.

    ``geometric``: P(k) = p (1 − p)^k for k = 0, 1, … with p = 1 / (mean + 1): memoryless, a long tail.
    ``uniform``: every whole number from 0 to 2 × mean alike.
    """

    mean: Delay
    shape: Literal["geometric", "uniform"] = "geometric"

    def draw(self, rng: random.Random) -> int:
        """One delay (≥ 0) in the unit of ``mean``."""
        mean = self.mean.count
        if self.shape == "uniform":
            return rng.randint(0, 2 * mean)
        if mean == 0:
            return 0
        return int(math.log(1.0 - rng.random()) / math.log(mean / (mean + 1.0)))


LabelDelay: TypeAlias = Delay | RandomDelay


def parse_delay(text: str) -> LabelDelay:
    """Read ``500`` (rows), ``250ms``, ``90s``, ``30min``, ``12h``, ``7d``; random: ``geometric:500``, ``uniform:2h``.

    Raises:
        UsageError: it is written in another way.
    """
    shape, colon, amount = text.strip().lower().rpartition(":")
    match = _AMOUNT.fullmatch(amount.strip())
    count = float(match["count"]) if match else math.inf
    unit = (match and match["unit"]) or "rows"
    in_rows = unit.startswith("row")
    fits = count <= MOST and (count.is_integer() or not in_rows)
    if not fits or (colon and shape not in ("geometric", "uniform")):
        raise UsageError(
            f"label delay {text!r}: write 500 (rows), 90s, 30min, 12h or 7d; random: geometric:500, uniform:2h"
        )
    delay: Delay = Rows(round(count)) if in_rows else Millis(round(count * UNITS_MS[unit]))
    if not colon:
        return delay
    return RandomDelay(delay, "uniform" if shape == "uniform" else "geometric")


def check_delay(delay: LabelDelay, pipeline: Pipeline) -> None:
    """A delay (random: its mean) in event time must not lie beyond the horizon: the joiner would drop every such label.

    Raises:
        UsageError: it does.
    """
    mean = delay.mean if isinstance(delay, RandomDelay) else delay
    if isinstance(mean, Millis) and pipeline.horizon_ms is not None and mean.count > pipeline.horizon_ms:
        raise UsageError(
            f"pipeline {pipeline.name}: labels come after {mean.count} ms, "
            f"beyond the horizon of {pipeline.horizon_ms} ms; raise horizon_ms or shorten the delay"
        )
    if mean.count < 0:
        raise UsageError("a label delay cannot be negative")
