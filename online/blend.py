"""Blending members: a generalised linear model on their outputs, learned online by Newton steps that forget.

One recursion for the three tasks, over parameters θ with the prior mean θ₀ (every member weighs 1/M, everything else
0), once per batch of n rows:

    A ← λⁿ A + H + n (1 − λ) κ I        θ ← θ − A⁻¹ (g + n (1 − λ) κ (θ − θ₀))

where g and H are the gradient and the (Gauss-Newton) Hessian of the batch's loss; A starts as κ I. λ forgets, so the
weights follow the members' recent loss; the pull towards θ₀ keeps A regular for ever, however alike the members are. It
is online Newton stacking (Wolpert 1992; Hazan et al. 2007) in its information form. There is a step after each of the
first `EACH` rows and then after every `BATCH`: the solution costs more than all the rest. Batches are counted in rows
learned, so how a stream is cut into calls changes nothing. n is the number of rows of the batch; where a class is rare,
each counts for less (`online.rarity`).

No single λ is right: prices want a memory of hundreds of rows, credit of thousands. Two recursions run side by side;
their margins are mixed by exponential weights on their fading losses. Measured on five real streams against exponential
weights on the members: log loss lower by 2 to 5 %; two memories lower it by another 0.3 to 1 %.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import mul
from typing import Protocol

import numpy as np
import numpy.typing as npt
from scipy.linalg.lapack import dposv

from online.rarity import Rarity

#: λ of each recursion: it remembers about 1 / (1 − λ) rows.
FORGETTING = (0.998, 0.9997)
#: The losses that mix the recursions fade by this per row.
MIX_FADING = 0.999
#: κ: the prior's weight, in units of Hessian.
PRIOR_WEIGHT = 5.0
#: Rows per Newton step, after the first `EACH`.
BATCH = 8
EACH = 100
#: Members' log odds are cut here: one member that is sure and wrong must not drown the others.
#: On the first 800 rows of two real streams the log loss is 4 and 15 % less than with 8, over all rows the same.
#: Where a class is rare, they are cut around what is usual (`online.rarity`).
LOGIT_LIMIT = 5.0
#: Every probability that leaves a model is within [floor, 1 − floor].
PROBABILITY_FLOOR = 1e-6
MARGIN_LIMIT = math.log((1.0 - PROBABILITY_FLOOR) / PROBABILITY_FLOOR)
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
    """Outputs of members, and of forecasts beside them, of one row in; one score out."""

    def predict(self, outputs: Sequence[Sequence[float]]) -> list[float]:
        """Binary: [p]; multiclass: one probability per class; regression: [scaled value]. Changes nothing."""
        ...

    def learn(self, outputs: Sequence[Sequence[float]], target: float) -> list[float]:
        """What `predict` says, and then one step on this row; ``target``: class index or scaled target."""
        ...


class _Newton:
    """The recursion of the module's text for one λ."""

    def __init__(self, start: Sequence[float], forgetting: float) -> None:
        self.theta = list(start)
        self._start = np.array(start)
        self._forgetting = forgetting
        self._eye = np.eye(len(start))
        self._information = self._eye * PRIOR_WEIGHT

    def step(self, rows: float, gradient: Floats, hessian: Floats) -> None:
        """Learn a batch that counts for ``rows`` rows."""
        pull = rows * (1.0 - self._forgetting) * PRIOR_WEIGHT
        theta = np.array(self.theta)
        self._information *= self._forgetting**rows
        self._information += hessian + pull * self._eye
        # Positive definite, because the pull keeps every eigenvalue above κ; dposv's overhead is a third of solve's.
        _, change, trouble = dposv(self._information, gradient + pull * (theta - self._start))
        if trouble:
            raise FloatingPointError("the blend's information matrix is not positive definite")
        self.theta = (theta - change).tolist()


class _Mix:
    """Exponential weights of the two recursions, on their fading losses."""

    def __init__(self) -> None:
        self._lead = 0.0

    @property
    def share(self) -> float:
        """The first one's weight."""
        return 1.0 / (1.0 + math.exp(-min(max(self._lead, -30.0), 30.0)))

    def learn(self, first: float, second: float, count: float = 1.0) -> None:
        """Count both losses on one row; ``count``: how much of a row it fades the others by."""
        fading = MIX_FADING if count == 1.0 else MIX_FADING**count
        self._lead = fading * self._lead + second - first


class _Linear:
    """Two recursions over θ · row, for losses of one margin."""

    def __init__(self, members: int, others: int) -> None:
        start = [*[1.0 / members] * members, *[0.0] * others, 0.0]
        self._rules = [_Newton(start, forgetting) for forgetting in FORGETTING]
        self._mix = _Mix()
        self._rows: list[list[float]] = []
        self._count = 0.0
        self._slopes: tuple[list[float], list[float]] = ([], [])
        self._curvatures: tuple[list[float], list[float]] = ([], [])
        self._learned = 0

    def margins(self, row: list[float]) -> tuple[float, float]:
        """What each recursion says."""
        first, second = self._rules
        return sum(map(mul, first.theta, row)), sum(map(mul, second.theta, row))

    def mixed(self, margins: tuple[float, float]) -> float:
        """Their weighted mean."""
        return margins[1] + self._mix.share * (margins[0] - margins[1])

    def learn(
        self,
        row: list[float],
        losses: tuple[float, float],
        slopes: tuple[float, float],
        curvatures: tuple[float, float],
        count: float = 1.0,
    ) -> None:
        """Count a row: each recursion's loss and its first two derivatives by the margin; ``count``: see `_Mix`."""
        self._mix.learn(*losses, count)
        self._rows.append(row)
        self._count += count
        for index in (0, 1):
            self._slopes[index].append(slopes[index])
            self._curvatures[index].append(curvatures[index])
        self._learned += 1
        if self._learned <= EACH or self._learned % BATCH == 0:
            self._step()

    def _step(self) -> None:
        rows = np.array(self._rows)
        for rule, slopes, curvatures in zip(self._rules, self._slopes, self._curvatures, strict=True):
            weighted = rows * np.array(curvatures)[:, None]
            rule.step(self._count, np.array(slopes) @ rows, weighted.T @ rows)
            slopes.clear()
            curvatures.clear()
        self._rows = []
        self._count = 0.0


def clipped(probability: float) -> float:
    """``probability`` within [`PROBABILITY_FLOOR`, 1 − `PROBABILITY_FLOOR`]."""
    return min(max(probability, PROBABILITY_FLOOR), 1.0 - PROBABILITY_FLOOR)


class BinaryBlend:
    """Logistic regression on log odds."""

    def __init__(self, members: int, others: int = 0) -> None:
        self._linear = _Linear(members, others)
        self._rarity = Rarity()

    def predict(self, outputs: Sequence[Sequence[float]]) -> list[float]:
        """[probability of the positive class]."""
        return [_probability(self._linear.mixed(self._linear.margins(_logits(outputs, self._rarity.shift))))]

    def learn(self, outputs: Sequence[Sequence[float]], target: float) -> list[float]:
        """One row of the log loss."""
        row = _logits(outputs, self._rarity.shift)
        margins = self._linear.margins(row)
        score = _probability(self._linear.mixed(margins))
        first, second = _probability(margins[0]), _probability(margins[1])
        positive = target > 0.5
        self._linear.learn(
            row,
            (-math.log(first if positive else 1.0 - first), -math.log(second if positive else 1.0 - second)),
            (first - target, second - target),
            (max(first * (1.0 - first), CURVATURE_FLOOR), max(second * (1.0 - second), CURVATURE_FLOOR)),
            self._rarity.row,
        )
        self._rarity.learn(target)
        return [score]


def _probability(margin: float) -> float:
    if margin > MARGIN_LIMIT:
        return 1.0 - PROBABILITY_FLOOR
    if margin < -MARGIN_LIMIT:
        return PROBABILITY_FLOOR
    return 1.0 / (1.0 + math.exp(-margin))


def _logits(outputs: Sequence[Sequence[float]], shift: float) -> list[float]:
    """Log odds, cut at ``shift`` ± `LOGIT_LIMIT`, and the 1 that the bias is for."""
    low, high = shift - LOGIT_LIMIT, shift + LOGIT_LIMIT
    row = []
    for output in outputs:
        probability = output[0]
        if probability <= 0.0:
            row.append(low)
        elif probability >= 1.0:
            row.append(high)
        else:
            odds = math.log(probability / (1.0 - probability))
            row.append(low if odds < low else high if odds > high else odds)
    row.append(1.0)
    return row


class MulticlassBlend:
    """Log-linear pool: softmax(Σ_m w_m log p_m + b), one weight per member and one bias per class."""

    def __init__(self, members: int, classes: int, others: int = 0) -> None:
        start = [*[1.0 / members] * members, *[0.0] * others]
        self._rules = [_Newton(start, forgetting) for forgetting in FORGETTING]
        self._mix = _Mix()
        self._biases = np.zeros(classes)

    def predict(self, outputs: Sequence[Sequence[float]]) -> list[float]:
        """One probability per class."""
        return _floored(self._mixed(self._margins(_log_columns(outputs))))

    def learn(self, outputs: Sequence[Sequence[float]], target: float) -> list[float]:
        """One Newton step on the weights and one gradient step on the biases."""
        logs, label = _log_columns(outputs), int(target)
        margins = self._margins(logs)
        mixed = self._mixed(margins)
        losses = []
        for rule, own in zip(self._rules, margins, strict=True):
            probabilities = _softmax(own)
            losses.append(-math.log(max(float(probabilities[label]), PROBABILITY_FLOOR)))
            errors = probabilities.copy()
            errors[label] -= 1.0
            centred = logs - logs @ probabilities[:, None]
            rule.step(1, logs @ errors, (centred * np.maximum(probabilities, CURVATURE_FLOOR)) @ centred.T)
        self._mix.learn(*losses)
        mixed_errors = mixed.copy()
        mixed_errors[label] -= 1.0
        self._biases -= BIAS_RATE * mixed_errors
        return _floored(mixed)

    def _margins(self, logs: Floats) -> list[Floats]:
        return [np.array(rule.theta) @ logs + self._biases for rule in self._rules]

    def _mixed(self, margins: list[Floats]) -> Floats:
        return _softmax(margins[1] + self._mix.share * (margins[0] - margins[1]))


def _softmax(margins: Floats) -> Floats:
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

    def __init__(self, members: int, others: int = 0) -> None:
        self._linear = _Linear(members, others)

    def predict(self, outputs: Sequence[Sequence[float]]) -> list[float]:
        """[scaled value], within ± `VALUE_LIMIT`."""
        return [_cut(self._linear.mixed(self._linear.margins(_values(outputs))))]

    def learn(self, outputs: Sequence[Sequence[float]], target: float) -> list[float]:
        """One row of the Huber loss."""
        row = _values(outputs)
        margins = self._linear.margins(row)
        value = _cut(self._linear.mixed(margins))
        errors = (margins[0] - target, margins[1] - target)
        weights = (_huber_weight(errors[0]), _huber_weight(errors[1]))
        self._linear.learn(
            row,
            (_huber_loss(errors[0]), _huber_loss(errors[1])),
            (weights[0] * errors[0], weights[1] * errors[1]),
            weights,
        )
        return [value]


def _huber_weight(error: float) -> float:
    return 1.0 if abs(error) <= HUBER else HUBER / abs(error)


def _huber_loss(error: float) -> float:
    return 0.5 * error * error if abs(error) <= HUBER else HUBER * (abs(error) - 0.5 * HUBER)


def _values(outputs: Sequence[Sequence[float]]) -> list[float]:
    values = [_cut(output[0]) for output in outputs]
    values.append(1.0)
    return values


def _cut(value: float) -> float:
    return min(max(value, -VALUE_LIMIT), VALUE_LIMIT)
