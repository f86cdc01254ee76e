"""An additive model of a thousand examples: a regression on curves of numbers and levels of categories."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np

from online.detectors.windows import FloatArray, IntArray

#: Cells of a feature: a number's knots, or a category's most frequent values; the last is for all that is none of them.
CELLS = 9
#: Cells of all features, and of one at least; of more features those that tell most are used. With one slope per number
#: fewer than 100 equations, which LAPACK solves on one thread.
MOST_CELLS, LEAST_CELLS = 76, 4
#: Quantiles of the outer knots of a number, beyond which its curve is flat.
OUTER = 0.02
#: Places between two knots are whole sixteenths, so that sums of products are exact in single precision, in whatever
#: order a library adds them (16² × 2,000 examples < 2²⁴).
STEPS = 16
#: Ridges of a cell's weight and of a curve's slope, in examples (logistic: times the curvature of their loss).
CELL_RIDGE, SLOPE_RIDGE = 20.0, 1.0
LOGISTIC_CELL_RIDGE, LOGISTIC_SLOPE_RIDGE = 5.0, 0.1
#: Steps of a logistic fit, and the greatest curvature of its loss by the margin: of one output, and of several.
ITERATIONS, CURVATURE, CURVATURE_OF_SEVERAL = 8, 0.25, 0.5
#: Margins are cut here.
MARGIN_LIMIT = 30.0
#: Multiplications that OpenBLAS does on one thread.
ONE_THREAD = 262_144


class Places(NamedTuple):
    """Per feature and example the first of the two cells that it lies between, and how many sixteenths beyond it."""

    first: IntArray
    above: IntArray

    def sums(self, weights: FloatArray) -> FloatArray:
        """Per example the sum of its cells' ``weights`` (cells × outputs)."""
        low, high = weights[self.first], weights[np.minimum(self.first + 1, len(weights) - 1)]
        total: FloatArray = (low + (self.above / STEPS)[:, :, None] * (high - low)).sum(axis=0)
        return total

    def totals(self, values: FloatArray, width: int) -> FloatArray:
        """Per cell the sum of the ``values`` (examples × outputs) of its examples: the transpose of `sums`."""
        upper, total = self.above / STEPS, np.empty((width, values.shape[1]))
        after = np.minimum(self.first + 1, width - 1).ravel()
        for output, column in enumerate(values.T):
            total[:, output] = np.bincount(self.first.ravel(), ((1.0 - upper) * column).ravel(), width)
            total[:, output] += np.bincount(after, (upper * column).ravel(), width)
        return total


class Design(NamedTuple):
    """What a fit is made of: places, means of the cells, sums of their products around them, slopes as cells' weights.

    ``slopes`` (cells × numbers) holds a straight line through the knots of each number.
    """

    places: Places
    mean: FloatArray
    spread: FloatArray
    slopes: FloatArray

    def system(self, curvature: float, cell_ridge: float, slope_ridge: float) -> tuple[FloatArray, FloatArray]:
        """The equations of cells and slopes together, with the ridge of each on their diagonal, and the ridges."""
        along = _products(self.spread, self.slopes)  # spread is symmetric
        system = curvature * np.block([[self.spread, along], [along.T, self.slopes.T @ along]])
        ridge = np.repeat((cell_ridge, slope_ridge), self.slopes.shape)
        system[np.diag_indices(len(system))] += ridge
        return system, ridge

    def both(self, cells: FloatArray) -> FloatArray:
        """A gradient by the cells' weights, and by the slopes."""
        return np.concatenate((cells, self.slopes.T @ cells))

    def weights(self, solved: FloatArray) -> FloatArray:
        """The cells' weights with the slopes in them."""
        width = len(self.mean)
        result: FloatArray = solved[:width] + self.slopes @ solved[width:]
        return result


#: From targets (examples × outputs) to the weights of the cells, and the outputs' level at their means.
Fit: TypeAlias = Callable[[Design, FloatArray], tuple[FloatArray, FloatArray]]


def least_squares(design: Design, targets: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Ridge regression."""
    level: FloatArray = targets.mean(axis=0)
    system, _ = design.system(1.0, CELL_RIDGE, SLOPE_RIDGE)
    moment = design.both(design.places.totals(targets - level, len(design.mean)))
    solved = np.asarray(np.linalg.solve(system, moment), dtype=np.float64)
    return design.weights(solved), level


def logistic(design: Design, targets: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Logistic regression (one output), or softmax regression, whose outputs are margins.

    8 steps against an upper bound of the loss's curvature, which is the same at every step (Böhning & Lindsay,
    Ann. Inst. Stat. Math. 40, 1988): none overshoots, and the equations are set up once.
    """
    several, width = targets.shape[1] > 1, len(design.mean)
    curvature = CURVATURE_OF_SEVERAL if several else CURVATURE
    system, ridge = design.system(curvature, LOGISTIC_CELL_RIDGE, LOGISTIC_SLOPE_RIDGE)
    solved, level = np.zeros((len(system), targets.shape[1])), np.zeros(targets.shape[1])
    for _ in range(ITERATIONS):
        weights = design.weights(solved)
        margins = np.clip(level + design.places.sums(weights) - design.mean @ weights, -MARGIN_LIMIT, MARGIN_LIMIT)
        shares = np.exp(margins)
        errors = targets - shares / (shares.sum(axis=1, keepdims=True) if several else 1.0 + shares)
        cells = design.places.totals(errors, width) - np.outer(design.mean, errors.sum(axis=0))
        solved += np.linalg.solve(system, design.both(cells) - ridge[:, None] * solved)
        level += errors.mean(axis=0) / curvature
    return design.weights(solved), level


class AdditiveModel:
    """y(x) = b + Σ_j f_j(x_j), for one or more outputs.

    f_j of a number is piecewise linear between quantiles of the examples, its slope shrunk less than its bends; f_j of
    a category is a weight per frequent value. Missing numbers and rare or new categories have a weight of their own.
    Hastie & Tibshirani, Generalized Additive Models (1990).
    """

    def __init__(self, numbers: FloatArray, codes: IntArray, targets: FloatArray, fit: Fit) -> None:
        """``fit`` ``targets`` (examples × outputs) to ``numbers`` and ``codes`` (features × examples; NaN: missing)."""
        self._numbers, self._codes = _most_telling(numbers, codes, targets)
        features = len(self._numbers) + len(self._codes)
        self._cells = max(LEAST_CELLS, min(CELLS, MOST_CELLS // max(1, features)))
        self._knots = _knots(numbers[self._numbers], self._cells - 1)
        self._values = _frequent_values(codes[self._codes], self._cells - 1)
        design = self._design(numbers, codes)
        self._weights, level = fit(design, targets)
        self._level = level - design.mean @ self._weights

    def predict(self, numbers: FloatArray, codes: IntArray) -> FloatArray:
        """The outputs (examples × outputs)."""
        outputs: FloatArray = self._level + self._places(numbers, codes).sums(self._weights)
        return outputs

    def _design(self, numbers: FloatArray, codes: IntArray) -> Design:
        places = self._places(numbers, codes)
        examples, width = places.first.shape[1], len(places.first) * self._cells
        rows, each = np.zeros((examples, width), dtype=np.float32), np.arange(examples)
        for cell, step in zip(places.first, places.above, strict=True):
            rows[each, cell] += STEPS - step
            rows[each, np.minimum(cell + 1, width - 1)] += step
        mean = rows.sum(axis=0, dtype=np.float64) / (examples * STEPS)
        spread = _products(rows) / STEPS**2 - examples * np.outer(mean, mean)
        return Design(places, mean, spread, self._slopes(width))

    def _slopes(self, width: int) -> FloatArray:
        slopes = np.zeros((width, len(self._knots)))
        for j, knots in enumerate(self._knots):
            begin, reach = j * self._cells, float(knots[-1] - knots[0])
            if reach > 0.0 and np.isfinite(reach):
                slopes[begin : begin + len(knots), j] = 2.0 * (knots - knots[0]) / reach - 1.0
        return slopes

    def _places(self, numbers: FloatArray, codes: IntArray) -> Places:
        last, knots = self._cells - 1, self._knots
        numbers, codes = numbers[self._numbers], codes[self._codes]
        missing = np.isnan(numbers)
        values = np.clip(np.where(missing, knots[:, :1], numbers), knots[:, :1], knots[:, -1:])
        below = np.minimum((values[:, :, None] >= knots[:, None, :]).sum(axis=2), knots.shape[1] - 1) - 1
        gap = np.take_along_axis(np.diff(knots, axis=1), below, axis=1)
        beyond = values - np.take_along_axis(knots, below, axis=1)
        share = np.divide(beyond, gap, out=np.zeros_like(beyond), where=gap > 0.0)
        steps = np.where(missing, 0, np.rint(STEPS * share)).astype(np.int64)
        same = codes[:, :, None] == self._values[:, None, :]
        levels = np.where(same.any(axis=2), same.argmax(axis=2), last)
        first = np.concatenate((np.where(missing, last, below), levels))
        above = np.concatenate((steps, np.zeros_like(levels)))
        return Places(first + self._cells * np.arange(len(first))[:, None], above)


def _most_telling(numbers: FloatArray, codes: IntArray, targets: FloatArray) -> tuple[IntArray, IntArray]:
    """The numbers and the categories that are used: all, or those most correlated with an output."""
    most = MOST_CELLS // LEAST_CELLS
    if len(numbers) + len(codes) <= most:
        return np.arange(len(numbers)), np.arange(len(codes))
    spread = targets - targets.mean(axis=0)
    scale = np.sqrt(np.maximum((spread**2).sum(axis=0), 1e-12))
    told = [_explained(np.argsort(np.argsort(column, kind="stable")), spread / scale) for column in numbers]
    told += [max(_explained(column == value, spread / scale) for value in _frequent(column, 1)) for column in codes]
    kept = np.sort(np.argsort(-np.array(told), kind="stable")[:most])
    return kept[kept < len(numbers)], kept[kept >= len(numbers)] - len(numbers)


def _explained(column: IntArray, spread: FloatArray) -> float:
    centred = column - column.mean()
    return float(np.abs(centred @ spread).max() / np.sqrt(max(1e-12, float(centred @ centred))))


def _knots(numbers: FloatArray, count: int) -> FloatArray:
    """Evenly spaced quantiles of each number (features × ``count``); 0 where it is always missing."""
    ordered, present = np.sort(numbers, axis=1), (~np.isnan(numbers)).sum(axis=1)
    places = np.rint(np.linspace(OUTER, 1.0 - OUTER, count) * np.maximum(present - 1, 0)[:, None]).astype(np.int64)
    knots: FloatArray = np.nan_to_num(np.take_along_axis(ordered, places, axis=1))
    return knots


def _frequent(codes: IntArray, count: int) -> IntArray:
    """The most frequent values, in order of their code."""
    values, times = np.unique(codes, return_counts=True)
    kept: IntArray = np.sort(values[np.argsort(-times, kind="stable")][:count])
    return kept


def _frequent_values(codes: IntArray, count: int) -> IntArray:
    """Those of each category (features × ``count``); where there are fewer the first fills up."""
    values = np.empty((len(codes), count), dtype=np.int64)
    for filled, column in zip(values, codes, strict=True):
        found = _frequent(column, count)
        filled[:] = found[0]
        filled[: len(found)] = found
    return values


def _products(rows: np.ndarray, others: np.ndarray | None = None) -> FloatArray:
    """Sums of the products of all columns with each other, or with those of ``others``.

    In portions that a BLAS does not spread over threads, which cost more than they save here.
    """
    others = rows if others is None else others
    shape = (rows.shape[1], others.shape[1])
    step = ONE_THREAD // max(1, shape[0] * shape[1])
    total = np.zeros(shape)
    for start in range(0, len(rows), max(1, step)):
        total += rows[start : start + step].T @ others[start : start + step]
    return total
