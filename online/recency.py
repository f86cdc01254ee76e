"""What the newest known outcomes were: fading means, as forecasts beside those of the members.

Neighbouring outcomes are often alike (prices, demand, weather: on elec2 the previous label is right in 85 % of the
rows), and no feature says so. But an outcome helps only once it is known. A request that is scored while the last 500
labels are still missing is scored with older means than a learner sees that reads the example later; a blend that
learned with the newer means would trust them too much. So a row is learned with the means *as they were known when
it was scored*, given by its lag: how many examples the learner had learned more than its scorer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from penstock.spec import Task

#: Weight of the newest outcome in each mean; 1: the last outcome alone.
RATES = (1.0, 0.3, 0.1, 0.03)
#: Share of the uniform forecast in each: the last label must not be forecast with certainty.
UNIFORM = 0.1
#: Rows that were scored longer ago than this many examples get no forecast.
LAG_LIMIT = 2_000
#: With more classes than this there are no forecasts.
MAX_CLASSES = 100


class Recency:
    """One forecast per rate of `RATES`, in the form of a member's output."""

    def __init__(self, task: Task, classes: int) -> None:
        self._classes = classes if task == "multiclass" else 0
        if task == "regression":
            start, self._share, self._uniform = [0.0], 1.0, 0.0
        else:
            start = [1.0 / classes] * classes if task == "multiclass" else [0.5]
            self._share, self._uniform = 1.0 - UNIFORM, UNIFORM / classes
        self._rates = RATES if self._classes <= MAX_CLASSES else ()
        self._newest = [start] * len(self._rates)
        self._trailing = self._newest
        # Outcomes that the newest means hold and the trailing ones do not, oldest first.
        self._between: deque[float] = deque()
        self._unknown = self._newest
        self._lag = 0
        self._said = self._outputs(self._newest)
        #: How many forecasts there are.
        self.count = len(self._rates)

    def forecasts(self) -> list[Sequence[float]]:
        """By all outcomes learned so far. Changes nothing."""
        return self._said

    def forecasts_at(self, lag: int | None) -> list[Sequence[float]]:
        """By all outcomes but the last ``lag``; beyond `LAG_LIMIT`, what no outcome says; None: the lag before.

        Lags hardly ever grow by more than one from example to example. Where one does, the means of the smallest lag
        since are as far back as this goes.
        """
        if lag is not None:
            self._lag = lag
        if self._lag > LAG_LIMIT:
            return self._outputs(self._unknown)
        if self._lag <= 0:
            self._trailing = self._newest
            self._between.clear()
            return self._said
        while len(self._between) > self._lag:
            self._trailing = self._moved(self._trailing, self._between.popleft())
        return self._outputs(self._trailing)

    def learn(self, target: float) -> None:
        """Count the newest outcome: class index or scaled target."""
        self._newest = self._moved(self._newest, target)
        self._said = self._outputs(self._newest)
        self._between.append(target)
        if len(self._between) > LAG_LIMIT:
            self._trailing = self._moved(self._trailing, self._between.popleft())

    def forget(self) -> None:
        """As before the first outcome."""
        self._newest = self._trailing = self._unknown
        self._between.clear()
        self._said = self._outputs(self._newest)

    def _moved(self, means: list[list[float]], target: float) -> list[list[float]]:
        if not self._classes:
            return [[mean[0] + rate * (target - mean[0])] for mean, rate in zip(means, self._rates, strict=True)]
        label = int(target)
        return [
            [each + rate * ((index == label) - each) for index, each in enumerate(mean)]
            for mean, rate in zip(means, self._rates, strict=True)
        ]

    def _outputs(self, means: list[list[float]]) -> list[Sequence[float]]:
        share, uniform = self._share, self._uniform
        return [[uniform + share * each for each in mean] for mean in means]
