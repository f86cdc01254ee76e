"""Learning a calibration from out-of-fold scores, and only where it proves itself on later folds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax

from online.calibration import FLOOR, Calibration
from online.tabular import Matrix

#: Isotonic regression overfits on fewer rows than these, or on a class with fewer outcomes.
ISOTONIC_ROWS = 1000
ISOTONIC_PER_CLASS = 100
#: Scores of more classes than these are left alone: there is too little to learn from, and too much to compute.
MOST_CLASSES = 50
#: Weight of "leave it as it is" in the sigmoid's loss, in rows.
PRIOR_ROWS = 1.0


class Held(NamedTuple):
    """Scores of one fold that its model was not fitted on: rows × classes, and the class that each row turned out."""

    table: Matrix
    classes: NDArray[np.int64]


class Calibrated(NamedTuple):
    """``calibration``: the best on later folds, learned on all of them; None: none is better than leaving it out.

    ``loss``: the mean log loss on the folds from the second on, with it (of the only fold, where there is one).
    """

    calibration: Calibration | None
    loss: float


def calibrate(folds: Sequence[Held]) -> Calibrated:
    """Choose a calibration on ``folds`` (at least one, in time order).

    Each kind is learned on the folds before the one that it is judged on, so it is tried on later rows than it has
    seen; then the best one is learned on all. Isotonic regression is tried where there are rows enough.
    """
    if len(folds) < 2:
        return Calibrated(None, _mean_loss(folds, None))
    best = Calibrated(None, _mean_loss(folds[1:], None))
    if folds[0].table.shape[1] > MOST_CLASSES:
        return best
    for learn in (learn_sigmoid, learn_isotonic):
        if learn is learn_isotonic and not _enough(folds[:1]):
            continue
        losses = [(_losses(folds[at], learn(folds[:at])).sum(), len(folds[at].classes)) for at in range(1, len(folds))]
        loss = float(sum(total for total, _ in losses) / sum(rows for _, rows in losses))
        if loss < best.loss:
            best = Calibrated(learn(folds), loss)
    return best


def _enough(folds: Sequence[Held]) -> bool:
    classes = np.concatenate([fold.classes for fold in folds])
    per_class = np.bincount(classes, minlength=folds[0].table.shape[1])
    return len(classes) >= ISOTONIC_ROWS and int(per_class.min()) >= ISOTONIC_PER_CLASS


def _losses(fold: Held, calibration: Calibration | None) -> NDArray[np.float64]:
    table = fold.table if calibration is None else calibration.calibrated(fold.table)
    each: NDArray[np.float64] = -np.log(np.clip(table[np.arange(len(table)), fold.classes], FLOOR, 1.0))
    return each


def _mean_loss(folds: Sequence[Held], calibration: Calibration | None) -> float:
    return float(np.concatenate([_losses(fold, calibration) for fold in folds]).mean())


def learn_sigmoid(folds: Sequence[Held]) -> Calibration:
    """Slope and shifts with the least log loss, pulled towards leaving the scores as they are."""
    logs = np.log(np.clip(np.concatenate([fold.table for fold in folds]), FLOOR, 1.0))
    classes = np.concatenate([fold.classes for fold in folds])
    rows, width = logs.shape
    happened = np.arange(rows), classes
    wanted = np.zeros((rows, width))
    wanted[happened] = 1.0

    def loss(found: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        slope, shifts = found[0], found[1:]
        predicted = log_softmax(slope * logs + shifts, axis=1)
        error = np.exp(predicted) - wanted
        pull = np.concatenate([[slope - 1.0], shifts])
        gradient = np.concatenate([[(error * logs).sum()], error.sum(axis=0)])
        value = -predicted[happened].sum() + 0.5 * PRIOR_ROWS * (pull**2).sum()
        return float(value) / rows, (gradient + PRIOR_ROWS * pull) / rows

    start = np.concatenate([[1.0], np.zeros(width)])
    # A negative slope would turn the ranking around: such scores are better left alone.
    bounds = [(0.0, None), *[(None, None)] * width]
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x
    return Calibration("sigmoid", slope=float(found[0]), shifts=[float(shift) for shift in found[1:]])


def learn_isotonic(folds: Sequence[Held]) -> Calibration:
    """Per class, the monotone function of its score with the least squared error; never quite 0 or 1."""
    from sklearn.isotonic import IsotonicRegression

    table = np.concatenate([fold.table for fold in folds])
    classes = np.concatenate([fold.classes for fold in folds])
    least = 1.0 / (len(classes) + 2)
    knots, levels = [], []
    for index in range(table.shape[1]):
        fit = IsotonicRegression(y_min=least, y_max=1.0 - least).fit(table[:, index], classes == index)
        knots.append(fit.X_thresholds_.tolist())
        levels.append(fit.y_thresholds_.tolist())
    return Calibration("isotonic", knots=knots, levels=levels)
