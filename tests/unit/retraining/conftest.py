"""A small world around the retrainer: a stream with a drift, who serves it, and a runner of effects."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache

import msgspec
import pytest
from river import compose, linear_model, preprocessing
from river.datasets.synth import Agrawal

from online.batch import load_batch
from online.pairs import LossPairs
from penstock.clock import VirtualClock
from penstock.events import (
    Command,
    Decision,
    Drift,
    Event,
    Example,
    Features,
    LossPair,
    Metrics,
    ModelRecord,
    Prediction,
    Score,
    encode,
)
from penstock.log.memory import MemoryLog
from penstock.log.port import Message, TopicConfig, TopicPartition
from penstock.models.artifact import MemoryArtifacts, Signer
from penstock.models.model import Model
from penstock.models.registry import MemoryRegistry
from penstock.models.slot import ONLINE, ServedModels
from penstock.runtime.stage import Input, Output
from penstock.spec import Categorical, Gates, Numeric, Pipeline, RetrainingPolicy, Rollout
from penstock.topology import TOPICS
from retraining.checking import Checker
from retraining.effects import EffectRunner
from retraining.service import Retrainer

NUMBERS = ("salary", "commission", "age", "hvalue", "hyears", "loan")
CODES = ("elevel", "car", "zipcode")
LOOK = 100
DELAY = 50
STEP_MS = 1000


def make_pipeline(gates: Gates, rollout: Rollout, **policy: int) -> Pipeline:
    settings = {"collect_rows": 1500, "effect_rows": 500, "cooldown_rows": 300, "trial_rows": 1600}
    # The known settings of each family and no search: what a search finds is no business of the state machine.
    settings |= {"trials": 3} | policy
    return Pipeline(
        name="loans",
        task="binary",
        target="approved",
        features=(*(Numeric(name) for name in NUMBERS), *(Categorical(name) for name in CODES)),
        classes=("0", "1"),
        retraining=RetrainingPolicy(**settings),
        gates=gates,
        rollout=rollout,
    )


class Drawn(msgspec.Struct, frozen=True):
    """A row of the stream and what the online model said before it learned it."""

    features: Features
    outcome: str
    online: float


@lru_cache(maxsize=4)
def stream(concepts: tuple[tuple[int, int], ...], seed: int = 3) -> tuple[Drawn, ...]:
    """Agrawal loans: (classification function, rows) one after the other, scored by an online logistic regression."""
    model = compose.Pipeline(preprocessing.StandardScaler(), linear_model.LogisticRegression())
    drawn: list[Drawn] = []
    for position, (function, rows) in enumerate(concepts):
        for raw, outcome in Agrawal(classification_function=function, seed=seed + position, perturbation=0.05).take(
            rows
        ):
            numbers = {name: float(raw[name]) for name in (*NUMBERS, *CODES)}
            online = float(model.predict_proba_one(numbers)[True])
            model.learn_one(numbers, bool(outcome))
            features: Features = {name: float(raw[name]) for name in NUMBERS} | {name: str(raw[name]) for name in CODES}
            drawn.append(Drawn(features, str(int(outcome)), online))
    return tuple(drawn)


class _Fixed(Model):
    """Stands for the online model, whose scores come with the rows."""

    def score_many(self, rows: Iterable[Features]) -> list[Score]:
        return [0.5 for _ in rows]


class World:
    """Drives one retrainer and one runner of effects over a stream in virtual time."""

    def __init__(self, pipeline: Pipeline, rows: tuple[Drawn, ...]) -> None:
        self.pipeline, self.rows = pipeline, rows
        self.clock = VirtualClock()
        self.log = MemoryLog(self.clock, [TopicConfig(name, 1) for name in TOPICS])
        self.artifacts = MemoryArtifacts(Signer(b"0123456789abcdef"))
        self.registry = MemoryRegistry()
        self.serving = ServedModels(
            self.artifacts, lambda _, data: load_batch(pipeline, data), _Fixed(), lambda _, why: pytest.fail(why)
        )
        self.retrainer = Retrainer(pipeline)
        self.runner, self.checker = self.new_runner(), self.new_checker()
        self.metrics: list[Metrics] = []
        self.position = 0
        self.pairs = LossPairs(pipeline)
        self.pending: list[Example] = []
        self.losses: list[dict[str, float]] = []
        self.after_each: Callable[[World], None] = lambda _: None
        self._tail = self.log.tail(["commands"], from_start=True)

    def new_runner(self) -> EffectRunner:
        return EffectRunner(self.pipeline, self.log, self.artifacts, self.registry, self.clock)

    def new_checker(self) -> Checker:
        return Checker(
            self.pipeline, self.log, self.artifacts, lambda _, data: load_batch(self.pipeline, data), self.clock
        )

    def decisions(self) -> list[Decision]:
        return [msgspec.json.decode(value, type=Decision) for value in self._values("decisions")]

    def models(self) -> list[ModelRecord]:
        return [msgspec.json.decode(value, type=ModelRecord) for value in self._values("models")]

    def commands(self) -> list[Command]:
        return [msgspec.json.decode(value, type=Command) for value in self._values("commands")]

    def steps(self) -> list[str]:
        return [decision.step for decision in self.decisions()]

    def _values(self, topic: str) -> list[bytes]:
        partition = TopicPartition(topic, 0)
        return [record.value for record in self.log.read(partition, 0, self.log.bounds(partition).end, 1_000_000)]

    def give(self, topic: str, event: Event) -> list[Output]:
        """One input to the retrainer; its outputs are appended, and models records applied."""
        outputs = self.retrainer.process([Input(topic, 0, 0, 0, event)])
        for output in outputs:
            self.log.append([Message(output.topic, output.key.encode(), encode(output.event))])
            if isinstance(output.event, ModelRecord):
                self.serving.apply(output.event)
        if outputs:
            self.after_each(self)
        return outputs

    def work(self) -> None:
        """Let the runner do all there is to do, and the retrainer read it."""
        if self.runner.step():
            # Once: a runner that was just started sets the registry's aliases again.
            self.after_each(self)
            while self.runner.step():
                pass
        self._tell()
        if self.checker.step():
            self.after_each(self)
            self._tell()

    def _tell(self) -> None:
        for record in self._tail.poll(1000, 0.0):
            self.give("commands", msgspec.json.decode(record.value, type=Command))

    def command(self, command: Command) -> None:
        """A person's command, and all that follows on it before the next row."""
        self.log.append([Message("commands", command.id.encode(), encode(command))])
        self.work()

    def advance(self, until: int) -> None:
        """Rows up to (not with) ``until``: predictions are served, labels come ``DELAY`` rows later."""
        for row in range(self.position, until):
            self._predict(row)
            if row % LOOK == LOOK - 1:
                self._look(row)
                self.work()
        self.position = until

    def _predict(self, index: int) -> None:
        row, serving = self.rows[index], self.serving.serving
        scores: dict[str, Score] = {ONLINE: row.online}
        for loaded in (serving.champion, *serving.shadows):
            if loaded.version != ONLINE:
                scores[loaded.version] = loaded.model.score_many([row.features])[0]
        tried = serving.canary is not None and serving.canary.answers(str(index))
        version = serving.canary.version if serving.canary and tried else serving.champion.version
        served = scores.pop(version)
        assert isinstance(served, float)
        prediction = Prediction(
            id=str(index),
            entity=str(index),
            event_time_ms=index * STEP_MS,
            features=row.features,
            version=version,
            role="canary" if tried else "champion",
            generation=serving.generation,
            decision=str(int(served >= 0.5)),
            score=served,
            shadow=scores,
        )
        example = Example(id=str(index), prediction=prediction, value=row.outcome, label_time_ms=index * STEP_MS)
        self.pending.append(example)
        self.log.append([Message("examples", b"k", encode(example))])

    def _look(self, row: int) -> None:
        labelled = row - DELAY
        for stage, seen, offset in (("monitor", row + 1, row), ("learner", labelled + 1, labelled)):
            metrics = Metrics(
                stage=stage,
                partition=0,
                seen=seen,
                record_id=str(offset),
                event_time_ms=offset * STEP_MS,
                generation=self.serving.serving.generation,
                offset=offset,
                pairs=self._paired(labelled) if stage == "learner" else [],
            )
            self.metrics.append(metrics)
            self.give("metrics", metrics)

    def _paired(self, labelled: int) -> list[LossPair]:
        known = [example for example in self.pending if int(example.id) <= labelled]
        self.pending = self.pending[len(known) :]
        for example in known:
            self.pairs.add(example)
        return self.pairs.flush()

    def drift(self, since_row: int, identity: str = "d1", **changes: object) -> list[Output]:
        event = Drift(
            id=identity,
            status="opened",
            kind="concept",
            level="critical",
            detector="adwin",
            statistic=0.2,
            effect=0.2,
            p_value=0.001,
            record_id=str(self.position - 1),
            event_time_ms=(self.position - 1) * STEP_MS,
            generation=self.serving.serving.generation,
            seen=self.position,
            drift_score=0.4,
            since_event_time_ms=since_row * STEP_MS,
        )
        return self.give("drift", msgspec.structs.replace(event, **changes))

    def reborn(self) -> None:
        """The retrainer's process dies and another takes over: decisions are folded, older metrics observed."""
        self.retrainer = Retrainer(self.pipeline)
        for decision in self.decisions():
            self.retrainer.fold(decision)
        for metrics in self.metrics:
            self.retrainer.observe(metrics)


@pytest.fixture(scope="session")
def new_world() -> Callable[..., World]:
    """A world over a stream that changes its concept at row 2000 (or ``concepts``), with a policy's settings."""

    def make(
        concepts: tuple[tuple[int, int], ...] = ((1, 2000), (4, 6500)),
        gates: Gates | None = None,
        rollout: Rollout | None = None,
        **policy: int,
    ) -> World:
        return World(make_pipeline(gates or Gates(), rollout or Rollout(), **policy), stream(concepts))

    return make
