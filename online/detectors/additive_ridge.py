"""An additive model of a thousand examples: ridge regression on curves of numbers and levels of categories."""

from __future__ import annotations

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
#: Ridge of a cell's weight and of a curve's slope, in examples.
CELL_RIDGE, SLOPE_RIDGE = 20.0, 1.0
#: Multiplications that OpenBLAS does on one thread.
ONE_THREAD = 262_144


class AdditiveRidge:
    """y(x) = b + Σ_j f_j(x_j), least squares with a ridge, for one or more outputs.

    f_j of a number is piecewise linear between quantiles of the examples, its slope shrunk less than its bends; f_j of
    a category is a weight per frequent value. Missing numbers and rare or new categories have a weight of their own.
    Hastie & Tibshirani, Generalized Additive Models (1990); on 0/1 outputs least squares is linear discrimination.
    """

    def __init__(self, numbers: FloatArray, codes: IntArray, targets: FloatArray) -> None:
        """Fit ``targets`` (examples × outputs) to ``numbers`` and ``codes`` (features × examples; NaN is missing)."""
        self._numbers, self._codes = _most_telling(numbers, codes, targets)
        features = len(self._numbers) + len(self._codes)
        self._cells = max(LEAST_CELLS, min(CELLS, MOST_CELLS // max(1, features)))
        self._knots = _knots(numbers[self._numbers], self._cells - 1)
        self._values = _frequent_values(codes[self._codes], self._cells - 1)
        self._mean: FloatArray = targets.mean(axis=0)
        self._weights = np.zeros((features * self._cells, targets.shape[1]))
        if features:
            self._fit(numbers, codes, targets - self._mean)

    def predict(self, numbers: FloatArray, codes: IntArray) -> FloatArray:
        """The outputs (examples × outputs)."""
        first, above = self._places(numbers, codes)
        if not len(first):
            return np.tile(self._mean, (numbers.shape[1], 1))
        share = (above / STEPS)[:, :, None]
        low, high = self._weights[first], self._weights[np.minimum(first + 1, len(self._weights) - 1)]
        outputs: FloatArray = self._mean + (low + share * (high - low)).sum(axis=0)
        return outputs

    def _fit(self, numbers: FloatArray, codes: IntArray, targets: FloatArray) -> None:
        first, above = self._places(numbers, codes)
        examples, width = first.shape[1], len(self._weights)
        rows, place = np.zeros((examples, width), dtype=np.float32), np.arange(examples)
        for cell, step in zip(first, above, strict=True):
            rows[place, cell] += STEPS - step
            rows[place, np.minimum(cell + 1, width - 1)] += step
        mean = rows.sum(axis=0, dtype=np.float64) / (examples * STEPS)
        spread = _products(rows) / STEPS**2 - examples * np.outer(mean, mean)
        moment = _products(rows, targets) / STEPS
        slopes = self._slopes(width)
        along = _products(spread, slopes)  # spread is symmetric
        system = np.block([[spread, along], [along.T, slopes.T @ along]])
        system[np.diag_indices(len(system))] += np.repeat((CELL_RIDGE, SLOPE_RIDGE), (width, len(self._knots)))
        solved = np.linalg.solve(system, np.concatenate((moment, slopes.T @ moment)))
        self._weights = solved[:width] + slopes @ solved[width:]
        self._mean = self._mean - mean @ self._weights

    def _slopes(self, width: int) -> FloatArray:
        """A straight line through the knots of each number, as weights of the cells (cells × numbers)."""
        slopes = np.zeros((width, len(self._knots)))
        for j, knots in enumerate(self._knots):
            begin, reach = j * self._cells, float(knots[-1] - knots[0])
            if reach > 0.0 and np.isfinite(reach):
                slopes[begin : begin + len(knots), j] = 2.0 * (knots - knots[0]) / reach - 1.0
        return slopes

    def _places(self, numbers: FloatArray, codes: IntArray) -> tuple[IntArray, IntArray]:
        """Per feature and example the first of the two cells it lies between, and how many sixteenths beyond it."""
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
        return first + self._cells * np.arange(len(first))[:, None], above


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
