"""Linear models on the sparse row, by plain gradient steps: logistic, softmax and Huber regression.

The arithmetic of ``river.linear_model`` with ``river.optim.SGD``, on lists instead of dicts: a third of its time on
eight features. What a member answered when it scored a row is its error when it learns it, so a row is multiplied once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import mul

from online.encoding import Encoded

#: Rows are shortened so that rate × squared length stays below this: beyond 2, a gradient step overshoots.
STEP_LIMIT = 1.5
#: Regression: gradients are cut here, in spreads of the target (the Huber loss).
HUBER = 1.0


class LinearModel:
    """Weights of one output: margin = bias + factor × (w · numbers + Σ indicators' weights), with factor ≤ 1."""

    __slots__ = ("_bias", "_indicators", "_limit", "_rate", "_weights")

    def __init__(self, rate: float, width: int) -> None:
        """``width``: numbers per row."""
        self._rate = rate
        self._limit = math.sqrt(STEP_LIMIT / rate)
        self._bias = 0.0
        self._weights = [0.0] * width
        self._indicators: dict[int, float] = {}

    def margin(self, x: Encoded) -> float:
        """The model's output before its link."""
        total: float = sum(map(mul, self._weights, x.numbers))
        for column in x.active:
            total += self._indicators.get(column, 0.0)
        return self._bias + total * self._factor(x)

    def step(self, x: Encoded, error: float) -> None:
        """One gradient step; ``error``: the loss's derivative by the margin."""
        step = self._rate * error
        self._bias -= step
        step *= self._factor(x)
        self._weights = [weight - step * number for weight, number in zip(self._weights, x.numbers, strict=True)]
        indicators = self._indicators
        for column in x.active:
            indicators[column] = indicators.get(column, 0.0) - step

    def _factor(self, x: Encoded) -> float:
        length = x.length
        return 1.0 if length <= self._limit else self._limit / length


def sigmoid(margin: float) -> float:
    """1 / (1 + e^−margin), also where that overflows."""
    return 1.0 / (1.0 + math.exp(-margin)) if margin > -700.0 else 0.0


def softmax(margins: Sequence[float]) -> list[float]:
    """Probabilities proportional to e^margin."""
    top = max(margins)
    weights = [math.exp(margin - top) for margin in margins]
    total = sum(weights)
    return [weight / total for weight in weights]


class LinearBinary:
    """Logistic regression."""

    def __init__(self, rate: float, width: int) -> None:
        self._model = LinearModel(rate, width)

    def predict(self, x: Encoded) -> Sequence[float]:
        """The positive class's probability."""
        return (sigmoid(self._model.margin(x)),)

    def learn(self, x: Encoded, target: float, output: Sequence[float]) -> None:
        """One gradient step on the log loss."""
        self._model.step(x, output[0] - target)


class LinearMulticlass:
    """Softmax regression."""

    def __init__(self, rate: float, width: int, classes: int) -> None:
        self._models = [LinearModel(rate, width) for _ in range(classes)]

    def predict(self, x: Encoded) -> Sequence[float]:
        """One probability per class."""
        return softmax([model.margin(x) for model in self._models])

    def learn(self, x: Encoded, target: float, output: Sequence[float]) -> None:
        """One gradient step on the log loss for each class."""
        label = int(target)
        for index, (model, probability) in enumerate(zip(self._models, output, strict=True)):
            model.step(x, probability - (index == label))


class LinearRegression:
    """Linear regression with a Huber loss: an outlier's gradient is bounded."""

    def __init__(self, rate: float, width: int) -> None:
        self._model = LinearModel(rate, width)

    def predict(self, x: Encoded) -> Sequence[float]:
        """The scaled target."""
        return (self._model.margin(x),)

    def learn(self, x: Encoded, target: float, output: Sequence[float]) -> None:
        """One gradient step."""
        self._model.step(x, min(max(output[0] - target, -HUBER), HUBER))
