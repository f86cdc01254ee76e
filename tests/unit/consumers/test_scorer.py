from __future__ import annotations

import pytest

from consumers.scorer import Scorer
from online import snapshot
from online.committee import Committee
from online.loading import model_loader
from online.prior import PriorModel
from penstock.events import Label, ModelRecord, Prediction, Request
from penstock.models.artifact import MemoryArtifacts, Signer
from penstock.models.slot import Loaded, ServedModels
from penstock.models.watch import Watch
from penstock.runtime.stage import Input, Stage
from penstock.spec import Numeric, Pipeline, Rollout
from penstock.telemetry import Telemetry

PIPELINE = Pipeline(name="p", task="binary", target="y", classes=("no", "yes"), features=(Numeric("a"),), tier="light")


def served(artifacts, refused=None):
    complaints = [] if refused is None else refused
    return ServedModels(
        artifacts, model_loader(PIPELINE), PriorModel(PIPELINE), lambda record, why: complaints.append((record, why))
    )


def scorer_of(models):
    return Scorer(PIPELINE, models, Watch(Rollout(), "scorer", lambda: 0.0, Telemetry()))


def inputs(*ids, entity=None):
    return [
        Input("requests", 0, offset, 1000 + offset, Request(id=id_, entity=entity, features={"a": float(offset)}))
        for offset, id_ in enumerate(ids)
    ]


def snapshot_record(artifacts, generation=0):
    committee = Committee(PIPELINE)
    for i in range(200):
        committee.learn_one({"a": float(i % 5)}, "yes" if i % 5 > 2 else "no")
    ref = artifacts.put(snapshot.dump(committee))
    return committee, ModelRecord(
        slot="online-0",
        version="online",
        kind="online",
        generation=generation,
        snapshot=200,
        uri=ref.uri,
        digest=ref.digest,
        signature=ref.signature,
    )


def test_before_the_first_snapshot_the_prior_is_served():
    scorer: Stage = scorer_of(served(MemoryArtifacts(Signer(b"k" * 16))))
    outputs = scorer.process(inputs("r0", "r1"))
    assert [(out.topic, out.key) for out in outputs] == [("predictions", "r0"), ("predictions", "r1")]
    first = outputs[0].event
    assert isinstance(first, Prediction)
    assert (first.version, first.generation, first.snapshot, first.score) == ("online", 0, 0, 0.5)
    assert first.event_time_ms == 1000
    assert first.shadow == {}


def test_predictions_are_keyed_by_entity():
    scorer = scorer_of(served(MemoryArtifacts(Signer(b"k" * 16))))
    assert [out.key for out in scorer.process(inputs("r0", entity="who"))] == ["who"]


def test_the_newest_snapshot_is_served_as_soon_as_it_is_applied():
    artifacts = MemoryArtifacts(Signer(b"k" * 16))
    models = served(artifacts)
    scorer = scorer_of(models)
    scorer.process(inputs("r0"))
    committee, record = snapshot_record(artifacts)
    assert models.apply(record)
    prediction = scorer.process(inputs("r1", "r2"))[1].event
    assert isinstance(prediction, Prediction)
    assert prediction.snapshot == 200
    assert prediction.score == committee.score_one({"a": 1.0})


def test_batches_may_be_cut_anywhere():
    artifacts = MemoryArtifacts(Signer(b"k" * 16))
    models = served(artifacts)
    models.apply(snapshot_record(artifacts)[1])
    records = inputs(*(f"r{i}" for i in range(9)))
    whole = scorer_of(models).process(records)
    scorer = scorer_of(models)
    assert [*scorer.process(records[:4]), *scorer.process([]), *scorer.process(records[4:])] == whole


def test_scored_rows_warm_the_next_model_up():
    artifacts = MemoryArtifacts(Signer(b"k" * 16))
    rows = []

    class Recording:
        def score_many(self, batch):
            rows.extend(batch)
            return [0.5 for _ in batch]

    models = ServedModels(artifacts, lambda *_: Recording(), PriorModel(PIPELINE), lambda *_: None)
    scorer_of(models).process(inputs("r0", "r1"))
    models.apply(snapshot_record(artifacts)[1])
    assert rows == [{"a": 0.0}, {"a": 1.0}]


def test_a_record_of_another_kind_is_a_bug_and_stops_it():
    scorer = scorer_of(served(MemoryArtifacts(Signer(b"k" * 16))))
    wrong = Input("requests", 0, 7, 0, Label(id="r", value="yes"))
    with pytest.raises(TypeError, match="requests/7 is a Label"):
        scorer.process([wrong])


def test_a_champion_that_cannot_score_is_stood_in_for_and_told_of():
    class Broken:
        def score_many(self, rows):
            raise ValueError("no")

    models = served(MemoryArtifacts(Signer(b"k" * 16)))
    scorer = scorer_of(models)
    models._serving = models.serving._replace(generation=2, champion=Loaded("v1", "batch", Broken()))
    outputs = [output for turn in range(5) for output in scorer.process(inputs(f"r{turn}"))]
    assert [output.event.version for output in outputs if output.topic == "predictions"] == ["prior"] * 5
    assert [(output.topic, output.key) for output in outputs if output.topic != "predictions"] == [
        ("alerts", "fallback-v1-2-prior"),
        ("commands", "health-v1-2-failures"),
    ]
