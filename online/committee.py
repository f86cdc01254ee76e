"""The committee: one encoder, the members of the pipeline's tier, and a blend, learned one example at a time.

The order within `Committee.learn_one` is fixed: 1. encode, 2. let members predict, 3. blend them: that is the score,
4. the blend learns, 5. the members learn, 6. the encoder learns. So every part is tested before it is trained, and
the members learn the row in the form in which they scored it.

Numeric trouble of one member never reaches a score: where a member raises ``ArithmeticError`` (an overflow, a
division by zero), ``ValueError`` (a domain error of ``math``) or answers something that is not finite, the class
shares seen so far (regression: the mean) stand in for it. The next example that is learned then replaces the member
by a fresh one, because its weights may be spoilt for ever; `Committee.replaced` counts it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from online.blend import BinaryBlend, Blend, MulticlassBlend, RegressionBlend
from online.encoding import Encoded, Encoder
from online.lagged import QUICK, LaggedMembers
from online.pool import Member, members_of, new_member
from online.prior import PriorModel
from online.recency import Recency
from online.scales import RobustScale
from penstock.events import Features, Outcome, Score
from penstock.spec import Pipeline

#: Target columns of the encoder for multiclass tasks, at most.
TARGET_COLUMNS = 3

_NUMERIC_TROUBLE = (ArithmeticError, ValueError)


class Committee:
    """An online model of one pipeline. A `penstock.models.model.Model`: scoring never changes it.

    Deterministic: the same examples in the same order give bit-identical scores in any process, also when it was
    pickled and loaded in between.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self.learned = 0
        self.replaced = 0
        self._pipeline = pipeline
        self._prior = PriorModel(pipeline)
        self._codes = {name: index for index, name in enumerate(pipeline.classes)}
        self._target_columns = 1 if pipeline.task != "multiclass" else min(len(pipeline.classes) - 1, TARGET_COLUMNS)
        self._encoder = Encoder(pipeline, self._target_columns)
        self._names = members_of(pipeline)
        self._members: list[Member] = [self._new_member(name) for name in self._names]
        self._lagged = LaggedMembers()
        self._recency = Recency(pipeline.task, len(pipeline.classes))
        self._blend = _new_blend(pipeline, len(self._members), self._recency.count)
        self._seen = [0] * len(pipeline.classes)
        self._target = RobustScale()

    @property
    def members(self) -> tuple[str, ...]:
        """The members' names."""
        return self._names

    @property
    def pipeline_name(self) -> str:
        """The pipeline that it was made for."""
        return self._pipeline.name

    def fits(self, pipeline: Pipeline) -> bool:
        """Whether rows and outcomes of ``pipeline`` are what this committee was built for."""
        mine = self._pipeline
        return (mine.task, mine.classes, mine.features, mine.tier) == (
            pipeline.task,
            pipeline.classes,
            pipeline.features,
            pipeline.tier,
        )

    def score_one(self, features: Features) -> Score:
        """The score of one row of checked features; the prior before anything was learned."""
        if not self.learned:
            return self._prior.score
        x = self._encoder.encode(features)
        outputs = self._usable(self._raw_outputs(x))
        return self._score(self._blend.predict([*outputs, *self._recency.forecasts()]))

    def score_many(self, rows: Sequence[Features]) -> list[Score]:
        """One score per row, in order."""
        return [self.score_one(row) for row in rows]

    def member_scores(self, features: Features) -> dict[str, Score]:
        """What each member alone says of one row, by name; nothing before anything was learned. Changes nothing."""
        if not self.learned:
            return {}
        outputs = self._usable(self._raw_outputs(self._encoder.encode(features)))
        return {name: self._score(list(output)) for name, output in zip(self._names, outputs, strict=True)}

    def learn_one(self, features: Features, outcome: Outcome, lag: int | None = 0) -> Score:
        """Learn one example and return the score that it had just before (test, then train).

        ``lag``: how many of the examples learned so far were not yet known when the row was scored; None: as many as
        before (see `online.recency`).
        """
        x = self._encoder.encode(features)
        target = self._scaled(outcome)
        score = self._prior.score
        raw: list[Sequence[float] | None] = [self._stand_in()] * len(self._members)
        if self.learned:
            raw = self._raw_outputs(x)
            outputs = self._usable(raw)
            for index, member in self._lagged.at(self.learned, lag).items():
                outputs[index] = _prediction(member, x) or outputs[index]
            score = self._score(self._blend.learn([*outputs, *self._recency.forecasts_at(lag)], target))
        self._learn_members(x, target, raw)
        self._encoder.learn(features, self._targets(target))
        self._recency.learn(target)
        if self._pipeline.task == "regression":
            self._target.update(float(outcome))
        else:
            self._seen[int(target)] += 1
        self.learned += 1
        self._lagged.keep(self.learned, {i: self._members[i] for i, name in enumerate(self._names) if name in QUICK})
        return score

    def forget_recent(self) -> None:
        """Forget what the newest outcomes were; all else that was learned stays."""
        self._recency.forget()

    def _new_member(self, name: str) -> Member:
        return new_member(name, self._pipeline, self._encoder.columns)

    def _raw_outputs(self, x: Encoded) -> list[Sequence[float] | None]:
        return [_prediction(member, x) for member in self._members]

    def _usable(self, raw: list[Sequence[float] | None]) -> list[Sequence[float]]:
        return [self._stand_in() if output is None else output for output in raw]

    def _stand_in(self) -> Sequence[float]:
        if self._pipeline.task == "regression":
            return (0.0,)
        total = self.learned + len(self._seen)
        if self._pipeline.task == "binary":
            return ((self._seen[1] + 1) / total,)
        return [(count + 1) / total for count in self._seen]

    def _learn_members(self, x: Encoded, target: float, raw: list[Sequence[float] | None]) -> None:
        for index, output in enumerate(raw):
            try:
                if output is None:
                    raise ArithmeticError(self._names[index])
                self._members[index].learn(x, target, output)
            except _NUMERIC_TROUBLE:
                self._members[index] = self._new_member(self._names[index])
                self.replaced += 1

    def _scaled(self, outcome: Outcome) -> float:
        if self._pipeline.task != "regression":
            return float(self._codes[str(outcome)])
        return self._target.standardise(float(outcome))

    def _targets(self, target: float) -> Sequence[float]:
        if self._pipeline.task != "multiclass":
            return (target,)
        return tuple(float(target == column + 1) for column in range(self._target_columns))

    def _score(self, blended: list[float]) -> Score:
        task = self._pipeline.task
        if task == "binary":
            return blended[0]
        if task == "multiclass":
            return dict(zip(self._pipeline.classes, blended, strict=True))
        return self._target.mean + self._target.spread * blended[0]


def _prediction(member: Member, x: Encoded) -> Sequence[float] | None:
    try:
        output = member.predict(x)
    except _NUMERIC_TROUBLE:
        return None
    return output if math.isfinite(sum(output)) else None


def _new_blend(pipeline: Pipeline, members: int, forecasts: int) -> Blend:
    if pipeline.task == "binary":
        return BinaryBlend(members, forecasts)
    if pipeline.task == "multiclass":
        return MulticlassBlend(members, len(pipeline.classes), forecasts)
    return RegressionBlend(members, forecasts)
