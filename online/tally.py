"""Counting labelled examples: mutable sums of one version, fast enough for every example, emptied into a `ScoreBlock`.

Scores are binned for the area under the ROC curve and for calibration: 80 bins, whose edges are every 0.02 and, since
rare events have small probabilities, from 0.0001 to 0.013 off either end each 1.4 times the one before.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from operator import mul
from typing import Protocol

import msgspec

from online.blend import PROBABILITY_FLOOR
from online.scoring import decide
from penstock.events import Outcome, Score, ScoreBlock
from penstock.spec import Pipeline

_MILLION = 1_000_000
_FINE = (100, 140, 200, 280, 400, 560, 800, 1100, 1600, 2200, 3200, 4500, 6400, 9000, 13_000)
_EDGES = sorted({*range(20_000, _MILLION, 20_000), *_FINE, *(_MILLION - edge for edge in _FINE)})
#: Upper edges of all bins but the last. A score on an edge is in the bin above it.
BIN_EDGES = tuple(edge / _MILLION for edge in _EDGES)
BINS = len(BIN_EDGES) + 1
#: Of each bin, its tenth of [0, 1]: calibration is judged on ten bins of equal width.
BIN_TENTHS = tuple(10 * lower // _MILLION for lower in (0, *_EDGES))
#: With more classes than this, blocks have no one-versus-rest bins: a record must not grow with the classes.
RANKED_CLASSES = 10
_CEILING = 1.0 - PROBABILITY_FLOOR
#: Values and errors of a regression are cut at this size: their fourth powers must stay finite.
LARGEST = 1e70


class Tally(Protocol):
    """The sums of one version since it was made."""

    def add(self, score: Score, outcome: Outcome, previous: Outcome | None) -> None:
        """Count one example: what was scored, what happened, and the label of the example before it, if any."""
        ...

    def block(self) -> ScoreBlock:
        """The sums so far. Changes nothing."""
        ...

    def state(self) -> bytes:
        """All sums, as MessagePack."""
        ...

    def restore(self, state: bytes) -> None:
        """Replace the sums by what ``state()`` of a tally of the same pipeline returned."""
        ...


def tally_of(pipeline: Pipeline) -> Tally:
    """An empty tally for the pipeline's task."""
    if pipeline.task == "regression":
        return _RegressionTally()
    if pipeline.task == "multiclass":
        return _MulticlassTally(pipeline)
    return _BinaryTally(pipeline)


def block_of(pipeline: Pipeline, score: Score, outcome: Outcome, previous: Outcome | None = None) -> ScoreBlock:
    """The sums of one labelled example."""
    tally = tally_of(pipeline)
    tally.add(score, outcome, previous)
    return tally.block()


_LOSSES = (
    "_log_loss",
    "_log_loss_squared",
    "_brier",
    "_brier_squared",
    "_no_change_n",
    "_no_change_correct",
    "_bins",
    "_bin_hits",
    "_bin_sums",
)


class _BinaryTally:
    """``_cells[2 × happened + decided]`` counts the four outcomes of a decision."""

    _HELD = ("_cells", *_LOSSES)
    __slots__ = (*_HELD, "_classes", "_threshold")

    def __init__(self, pipeline: Pipeline) -> None:
        self._classes = pipeline.classes
        self._threshold = pipeline.threshold
        self._cells = [0, 0, 0, 0]
        self._log_loss = self._log_loss_squared = self._brier = self._brier_squared = 0.0
        self._no_change_n = self._no_change_correct = 0
        self._bins, self._bin_hits, self._bin_sums = [0] * BINS, [0] * BINS, [0.0] * BINS

    def add(self, score: Score, outcome: Outcome, previous: Outcome | None) -> None:
        if isinstance(score, dict):
            raise TypeError("a binary score is a number")
        index = bisect_right(BIN_EDGES, score)
        self._bins[index] += 1
        self._bin_sums[index] += score
        if outcome == self._classes[1]:
            chosen = score
            self._bin_hits[index] += 1
            self._cells[3 if score >= self._threshold else 2] += 1
        else:
            chosen = 1.0 - score
            self._cells[1 if score >= self._threshold else 0] += 1
        loss = -math.log(PROBABILITY_FLOOR if chosen < PROBABILITY_FLOOR else _CEILING if chosen > _CEILING else chosen)
        self._log_loss += loss
        self._log_loss_squared += loss * loss
        square = (1.0 - chosen) ** 2
        self._brier += square
        self._brier_squared += square * square
        if previous is not None:
            self._no_change_n += 1
            self._no_change_correct += previous == outcome

    def block(self) -> ScoreBlock:
        right_no, false_yes, false_no, right_yes = self._cells
        negative = (right_no + false_yes, right_no + false_no, right_no)
        positive = (false_no + right_yes, false_yes + right_yes, right_yes)
        counts = zip(self._classes, (negative, positive), strict=True)
        return ScoreBlock(
            n=sum(self._cells),
            correct=right_no + right_yes,
            log_loss=self._log_loss,
            log_loss_squared=self._log_loss_squared,
            brier=self._brier,
            brier_squared=self._brier_squared,
            no_change_n=self._no_change_n,
            no_change_correct=self._no_change_correct,
            class_counts={name: counted for name, counted in sorted(counts) if any(counted)},
            confidence_bins=_filled(self._bins, self._bin_hits, self._bin_sums),
        )

    def state(self) -> bytes:
        return _packed(self, self._HELD)

    def restore(self, state: bytes) -> None:
        _unpack(self, self._HELD, state)


class _MulticlassTally:
    _HELD = ("_counts", "_ranks", *_LOSSES)
    __slots__ = (*_HELD, "_pipeline")

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._counts: dict[str, list[int]] = {}
        self._log_loss = self._log_loss_squared = self._brier = self._brier_squared = 0.0
        self._no_change_n = self._no_change_correct = 0
        self._bins, self._bin_hits, self._bin_sums = [0] * BINS, [0] * BINS, [0.0] * BINS
        ranked = pipeline.classes if len(pipeline.classes) <= RANKED_CLASSES else ()
        self._ranks: dict[str, tuple[list[int], list[int]]] = {name: ([0] * BINS, [0] * BINS) for name in ranked}

    def add(self, score: Score, outcome: Outcome, previous: Outcome | None) -> None:
        if not isinstance(score, dict):
            raise TypeError("a multiclass score is a probability per class")
        happened, decided = str(outcome), str(decide(self._pipeline, score))
        hit = happened == decided
        self._counted(happened)[0] += 1
        self._counted(decided)[1] += 1
        self._counted(decided)[2] += hit
        chosen, confidence = score[happened], score[decided]
        loss = -math.log(min(max(chosen, PROBABILITY_FLOOR), _CEILING))
        self._log_loss += loss
        self._log_loss_squared += loss * loss
        probabilities = list(score.values())
        brier = max(0.0, sum(map(mul, probabilities, probabilities)) + 1.0 - 2.0 * chosen)
        self._brier += brier
        self._brier_squared += brier * brier
        index = bisect_right(BIN_EDGES, confidence)
        self._bins[index] += 1
        self._bin_hits[index] += hit
        self._bin_sums[index] += confidence
        for name, (ranked, hits) in self._ranks.items():
            index = bisect_right(BIN_EDGES, score[name])
            ranked[index] += 1
            hits[index] += name == happened
        if previous is not None:
            self._no_change_n += 1
            self._no_change_correct += previous == outcome

    def _counted(self, name: str) -> list[int]:
        return self._counts.setdefault(name, [0, 0, 0])

    def block(self) -> ScoreBlock:
        counts = {name: (h, d, both) for name, (h, d, both) in sorted(self._counts.items())}
        ranks = {
            name: {index: (ranked[index], hits[index]) for index in range(BINS) if ranked[index]}
            for name, (ranked, hits) in sorted(self._ranks.items())
        }
        return ScoreBlock(
            n=sum(self._bins),
            correct=sum(self._bin_hits),
            log_loss=self._log_loss,
            log_loss_squared=self._log_loss_squared,
            brier=self._brier,
            brier_squared=self._brier_squared,
            no_change_n=self._no_change_n,
            no_change_correct=self._no_change_correct,
            class_counts=counts,
            confidence_bins=_filled(self._bins, self._bin_hits, self._bin_sums),
            rank_bins={name: bins for name, bins in ranks.items() if bins},
        )

    def state(self) -> bytes:
        return _packed(self, self._HELD)

    def restore(self, state: bytes) -> None:
        _unpack(self, self._HELD, state)


class _RegressionTally:
    """The target's mean and squares by Welford's recursion: sums of squares would cancel for a large mean."""

    _HELD = (
        "_n",
        "_absolute",
        "_squared",
        "_quartic",
        "_mean",
        "_squares",
        "_no_change_n",
        "_no_change_absolute",
        "_no_change_squared",
    )
    __slots__ = _HELD

    def __init__(self) -> None:
        self._n = self._no_change_n = 0
        self._absolute = self._squared = self._quartic = 0.0
        self._mean = self._squares = 0.0
        self._no_change_absolute = self._no_change_squared = 0.0

    def add(self, score: Score, outcome: Outcome, previous: Outcome | None) -> None:
        if isinstance(score, dict):
            raise TypeError("a regression's score is a number")
        value = _bounded(float(outcome))
        error = abs(_bounded(score) - value)
        square = error * error
        self._n += 1
        self._absolute += error
        self._squared += square
        self._quartic += square * square
        apart = value - self._mean
        self._mean += apart / self._n
        self._squares += apart * (value - self._mean)
        if previous is not None:
            step = value - _bounded(float(previous))
            self._no_change_n += 1
            self._no_change_absolute += abs(step)
            self._no_change_squared += step * step

    def block(self) -> ScoreBlock:
        return ScoreBlock(
            n=self._n,
            absolute_error=self._absolute,
            squared_error=self._squared,
            quartic_error=self._quartic,
            target_mean=self._mean,
            target_squares=self._squares,
            no_change_n=self._no_change_n,
            no_change_absolute_error=self._no_change_absolute,
            no_change_squared_error=self._no_change_squared,
        )

    def state(self) -> bytes:
        return _packed(self, self._HELD)

    def restore(self, state: bytes) -> None:
        _unpack(self, self._HELD, state)


def _packed(tally: object, names: tuple[str, ...]) -> bytes:
    return msgspec.msgpack.encode([getattr(tally, name) for name in names])


def _unpack(tally: object, names: tuple[str, ...], state: bytes) -> None:
    for name, value in zip(names, msgspec.msgpack.decode(state), strict=True):
        setattr(tally, name, value)


def _bounded(value: float) -> float:
    return min(max(value, -LARGEST), LARGEST)


def _filled(bins: list[int], hits: list[int], sums: list[float]) -> dict[int, tuple[int, int, float]]:
    return {index: (n, hits[index], sums[index]) for index, n in enumerate(bins) if n}
