"""Blocks of sums: merged over partitions and time, kept over a rolling window, and faded by examples."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from penstock.events import ScoreBlock

#: Plain sums, which merge by addition.
_SUMS = (
    "n",
    "correct",
    "log_loss",
    "brier",
    "absolute_error",
    "squared_error",
    "log_loss_squared",
    "brier_squared",
    "quartic_error",
    "no_change_n",
    "no_change_correct",
    "no_change_absolute_error",
    "no_change_squared_error",
)


class Sums(Protocol):
    """What metrics are computed from: a `ScoreBlock`, or the like with weights for counts. See `ScoreBlock`."""

    @property
    def n(self) -> float: ...
    @property
    def correct(self) -> float: ...
    @property
    def log_loss(self) -> float: ...
    @property
    def brier(self) -> float: ...
    @property
    def absolute_error(self) -> float: ...
    @property
    def squared_error(self) -> float: ...
    @property
    def log_loss_squared(self) -> float: ...
    @property
    def brier_squared(self) -> float: ...
    @property
    def quartic_error(self) -> float: ...
    @property
    def target_mean(self) -> float: ...
    @property
    def target_squares(self) -> float: ...
    @property
    def no_change_n(self) -> float: ...
    @property
    def no_change_correct(self) -> float: ...
    @property
    def no_change_absolute_error(self) -> float: ...
    @property
    def no_change_squared_error(self) -> float: ...
    @property
    def class_counts(self) -> Mapping[str, tuple[float, float, float]]: ...
    @property
    def confidence_bins(self) -> Mapping[int, tuple[float, float, float]]: ...
    @property
    def rank_bins(self) -> Mapping[str, Mapping[int, tuple[float, float]]]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FadedBlock:
    """A `ScoreBlock` in which older examples weigh less than one."""

    n: float = 0.0
    correct: float = 0.0
    log_loss: float = 0.0
    brier: float = 0.0
    absolute_error: float = 0.0
    squared_error: float = 0.0
    log_loss_squared: float = 0.0
    brier_squared: float = 0.0
    quartic_error: float = 0.0
    target_mean: float = 0.0
    target_squares: float = 0.0
    no_change_n: float = 0.0
    no_change_correct: float = 0.0
    no_change_absolute_error: float = 0.0
    no_change_squared_error: float = 0.0
    class_counts: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)
    confidence_bins: Mapping[int, tuple[float, float, float]] = field(default_factory=dict)
    rank_bins: Mapping[str, Mapping[int, tuple[float, float]]] = field(default_factory=dict)


def merged(first: ScoreBlock, second: ScoreBlock) -> ScoreBlock:
    """The sums of both: as if their examples had been counted together."""
    if not first.n or not second.n:
        return first if first.n else second
    return ScoreBlock(**_combined(first, second, 1))


def merged_all(blocks: Iterable[ScoreBlock]) -> ScoreBlock:
    """The sums of all, in order."""
    total = ScoreBlock()
    for block in blocks:
        total = merged(total, block)
    return total


def _combined(first: Sums, second: Sums, weight: float) -> dict[str, Any]:
    """``weight`` × first + second, field by field; the target's moments by Chan, Golub & LeVeque (1979)."""
    result: dict[str, Any] = {name: weight * getattr(first, name) + getattr(second, name) for name in _SUMS}
    n, apart = result["n"], second.target_mean - first.target_mean
    share = second.n / n if n else 0.0
    result["target_mean"] = first.target_mean + apart * share
    result["target_squares"] = (
        weight * first.target_squares + second.target_squares + apart * apart * weight * first.n * share
    )
    result["class_counts"] = _added(first.class_counts, second.class_counts, weight)
    result["confidence_bins"] = _added(first.confidence_bins, second.confidence_bins, weight)
    names = sorted({*first.rank_bins, *second.rank_bins})
    result["rank_bins"] = {
        name: _added(first.rank_bins.get(name, {}), second.rank_bins.get(name, {}), weight) for name in names
    }
    return result


def _added(
    first: Mapping[Any, tuple[float, ...]], second: Mapping[Any, tuple[float, ...]], weight: float
) -> dict[Any, tuple[float, ...]]:
    result = {}
    for key in sorted({*first, *second}):
        old, new = first.get(key), second.get(key)
        scaled = None if old is None else tuple(weight * value for value in old)
        if scaled is None or new is None:
            result[key] = new or scaled or ()
        else:
            result[key] = tuple(a + b for a, b in zip(scaled, new, strict=True))
    return result


class RollingBlocks:
    """Per version: the sums over all examples, and over the newest blocks that together hold at most ``window``
    examples.

    The window is summed afresh on every look, so no rounding error builds up; the newest block is always in it.
    """

    def __init__(self, window: int) -> None:
        self._window = window
        self._blocks: dict[str, deque[ScoreBlock]] = {}
        self._overall: dict[str, ScoreBlock] = {}

    def add(self, blocks: Mapping[str, ScoreBlock]) -> None:
        """Count the blocks of one metrics record, by version."""
        for version, block in blocks.items():
            self._overall[version] = merged(self._overall.get(version, ScoreBlock()), block)
            held = self._blocks.setdefault(version, deque())
            held.append(block)
            while len(held) > 1 and sum(each.n for each in held) > self._window:
                held.popleft()

    def overall(self) -> dict[str, ScoreBlock]:
        """The sums since the start, by version."""
        return dict(self._overall)

    def rolling(self) -> dict[str, ScoreBlock]:
        """The sums over the window, by version."""
        return {version: merged_all(held) for version, held in self._blocks.items()}


class FadingBlocks:
    """Per version: sums in which an example's weight is ``factor`` to the number of examples of later blocks.

    Fading factors (Gama, Sebastião & Rodrigues, Machine Learning 90, 2013), applied block by block: within a block
    all weigh alike. With factor 0.999 the weight is that of the newest thousand examples. To have them over several
    partitions, add the blocks of all.
    """

    def __init__(self, factor: float = 0.999) -> None:
        self._factor = factor
        self._faded: dict[str, FadedBlock] = {}

    def add(self, blocks: Mapping[str, ScoreBlock]) -> None:
        """Count the blocks of one metrics record; a version fades by its own examples."""
        for version, block in blocks.items():
            before = self._faded.get(version, FadedBlock())
            self._faded[version] = FadedBlock(**_combined(before, block, self._factor**block.n))

    def faded(self) -> dict[str, FadedBlock]:
        """The sums now, by version."""
        return dict(self._faded)
