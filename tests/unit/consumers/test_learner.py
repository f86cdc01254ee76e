from __future__ import annotations

import random
from itertools import pairwise

import pytest

from consumers.learner import Learner
from online import snapshot
from online.committee import Committee
from online.tally import tally_of
from penstock.errors import ArtifactError, StateMismatchError
from penstock.events import Evidence, Example, Finding, Metrics, ModelRecord, Prediction
from penstock.models import pickles
from penstock.models.artifact import MemoryArtifacts, Signer
from penstock.models.snapshots import EverySnapshot
from penstock.runtime.stage import Input, StatefulStage
from penstock.spec import DriftPolicy, Numeric, Pipeline

PIPELINE = Pipeline(
    name="p",
    task="binary",
    target="y",
    classes=("no", "yes"),
    features=(Numeric("a"), Numeric("b")),
    tier="light",
    drift=DriftPolicy(look_every=50),
)


class Detectors:
    """Counts what it is told; fires where an id asks for it."""

    def __init__(self):
        self.seen = []
        self.generations = []

    def update(self, example, online_score):
        self.seen.append((example.id, online_score))
        return [finding("adwin", fired=True)] if example.id.startswith("fire") else []

    def look(self):
        return [finding("adwin"), finding("other")] if self.seen else []

    def reset(self, generation):
        self.generations.append(generation)


class Silent:
    def offer(self, learned, dump):
        return None


def finding(detector, fired=False):
    return Finding(
        detector=detector,
        kind="concept",
        statistic=0.1,
        effect=0.1,
        p_value=0.01,
        n_reference=5,
        n_current=5,
        fired=fired,
    )


def examples(n, seed=1, **fields):
    rng = random.Random(seed)
    for index in range(n):
        a, b = rng.gauss(0, 1), rng.random()
        yield example(f"r{index}", {"a": a, "b": b}, "yes" if a > b else "no", time=1000 * index, **fields)


def example(
    id_, features, value, *, time=0, generation=0, role="champion", revision=0, version="online", score=0.5, shadow=None
):
    prediction = Prediction(
        id=id_,
        entity=id_,
        event_time_ms=time,
        features=features,
        version=version,
        generation=generation,
        decision="yes",
        role=role,
        score=score,
        shadow=shadow or {},
    )
    return Example(id=id_, prediction=prediction, value=value, label_time_ms=time + 7, revision=revision)


def inputs(events, start=0):
    return [Input("examples", 0, start + index, 1, event) for index, event in enumerate(events)]


def new_learner(detectors=None, publisher=None, pipeline=PIPELINE):
    return Learner(pipeline, 0, publisher or Silent(), detectors or Detectors())


def of(outputs, kind):
    return [out.event for out in outputs if isinstance(out.event, kind)]


def test_it_tests_then_trains():
    detectors = Detectors()
    rows = list(examples(60))
    new_learner(detectors).process(inputs(rows))
    committee = Committee(PIPELINE)
    assert detectors.seen == [(e.id, committee.learn_one(e.prediction.features, e.value)) for e in rows]


def test_metrics_count_what_was_scored_at_request_time():
    rows = list(examples(120, score=0.8, version="v3", shadow={"online": 0.3, "v1": 0.6}))
    outputs = new_learner().process(inputs(rows, start=1000))
    records = of(outputs, Metrics)
    assert [record.seen for record in records] == [50, 100]
    assert [record.offset for record in records] == [1049, 1099]
    assert records[1].event_time_ms == 99_000
    assert records[1].record_id == "r99"
    assert (records[1].stage, records[1].partition) == ("learner", 0)
    assert list(records[1].blocks) == ["champion", "online", "v1", "v3"]
    tally = tally_of(PIPELINE)
    for before, each in pairwise(rows[49:100]):
        tally.add(0.8, each.value, before.value)
    expected = tally.block()
    assert records[1].blocks["champion"] == records[1].blocks["v3"] == expected
    assert records[1].blocks["online"].n == 50
    assert records[1].blocks["online"].correct == 50 - expected.correct


@pytest.mark.usefixtures("picklable")
def test_a_look_compares_versions_pair_by_pair_across_a_restart():
    rows = list(examples(100, version="v1", shadow={"v2": 0.4}))
    half, learner = new_learner(), new_learner()
    half.process(inputs(rows[:70]))
    learner.restore(half.state())
    (metrics,) = of(learner.process(inputs(rows[70:], start=70)), Metrics)
    (pair,) = metrics.pairs
    assert (pair.first, pair.second, pair.n) == ("v1", "v2", 50)


def test_revisions_are_counted_and_never_learned():
    rows = list(examples(50))
    again = example("r3", {"a": 1.0, "b": 1.0}, "yes", revision=1)
    stage, plain = new_learner(), new_learner()
    outputs = stage.process(inputs([*rows[:20], again, again, *rows[20:]]))
    expected = plain.process(inputs(rows))
    assert of(outputs, Metrics)[0].counts == {"revisions": 2}
    assert of(expected, Metrics)[0].counts == {}
    assert of(outputs, Metrics)[0].blocks == of(expected, Metrics)[0].blocks


def test_a_finding_that_fired_goes_out_at_once_and_looks_carry_all():
    rows = list(examples(100))
    rows[70] = example("fire70", {"a": 0.0, "b": 0.0}, "no", time=5)
    evidence = of(new_learner().process(inputs(rows)), Evidence)
    assert [(e.seen, [f.detector for f in e.findings], e.findings[0].fired) for e in evidence] == [
        (50, ["adwin", "other"], False),
        (71, ["adwin"], True),
        (100, ["adwin", "other"], False),
    ]
    assert (evidence[1].record_id, evidence[1].event_time_ms, evidence[1].stage) == ("fire70", 5, "learner")


def test_firing_on_a_look_gives_one_record():
    rows = list(examples(50))
    rows[49] = example("fire", {"a": 0.0, "b": 0.0}, "no")
    evidence = of(new_learner().process(inputs(rows)), Evidence)
    assert len(evidence) == 1
    assert [(f.detector, f.fired) for f in evidence[0].findings] == [
        ("adwin", True),
        ("adwin", False),
        ("other", False),
    ]


def test_only_a_higher_generation_of_a_champion_resets_the_detectors():
    detectors = Detectors()
    rows = list(examples(8))
    generations = [0, 2, 1, 2, 0, 5, 5, 3]
    events = [
        example(e.id, e.prediction.features, e.value, generation=generation)
        for e, generation in zip(rows, generations, strict=True)
    ]
    canary = example("c", {"a": 0.0, "b": 0.0}, "no", generation=9, role="canary")
    new_learner(detectors).process(inputs([*events[:6], canary, *events[6:]]))
    assert detectors.generations == [2, 5]


def test_other_roles_are_learned_but_drive_neither_detectors_nor_the_champion_block():
    detectors = Detectors()
    stage = new_learner(detectors)
    outputs = stage.process(inputs(examples(50, role="canary", version="v9")))
    assert detectors.seen == []
    assert list(of(outputs, Metrics)[0].blocks) == ["v9"]
    assert of(outputs, Evidence) == []


def test_snapshots_are_announced_and_load():
    artifacts = MemoryArtifacts(Signer(b"k" * 16))
    rows = list(examples(90, generation=4))
    outputs = Learner(PIPELINE, 3, EverySnapshot(artifacts, every=40), Detectors()).process(inputs(rows))
    records = of(outputs, ModelRecord)
    assert [(r.slot, r.version, r.kind, r.snapshot, r.generation) for r in records] == [
        ("online-3", "online", "online", 25, 4),
        ("online-3", "online", "online", 40, 4),
        ("online-3", "online", "online", 80, 4),
    ]
    assert [out.key for out in outputs if out.topic == "models"] == ["online-3"] * 3
    assert [out.key for out in outputs if out.topic == "metrics"] == ["3"]
    newest = records[-1]
    loaded = snapshot.load(PIPELINE, artifacts.get(newest.uri, newest.digest, newest.signature))
    committee = Committee(PIPELINE)
    for each in rows[:80]:
        committee.learn_one(each.prediction.features, each.value)
    assert loaded.score_one({"a": 0.3, "b": 0.2}) == committee.score_one({"a": 0.3, "b": 0.2})


def test_publishing_is_outside_the_fold():
    rows = list(examples(120))
    artifacts = MemoryArtifacts(Signer(b"k" * 16))
    noisy = new_learner(publisher=EverySnapshot(artifacts, every=1)).process(inputs(rows))
    quiet = new_learner().process(inputs(rows))
    assert [out for out in noisy if out.topic != "models"] == quiet


@pytest.fixture
def picklable(monkeypatch):
    """The test's detectors may be restored, as if they were among those of the product."""
    monkeypatch.setattr(pickles, "PACKAGES", (*pickles.PACKAGES, Detectors.__module__))


def test_restored_state_goes_on_bit_identically_however_the_input_is_cut(picklable):
    rows = list(examples(230, shadow={"v1": 0.4}))
    rows[110] = example("fire", {"a": 0.0, "b": 0.0}, "no", generation=1)
    rows[111] = example("r111", {"a": 0.0, "b": 0.0}, "no", revision=1)
    whole: StatefulStage = new_learner()
    expected = whole.process(inputs(rows))
    for cut in (1, 50, 99, 112, 200):
        first = new_learner()
        outputs = first.process(inputs(rows[:cut]))
        second = new_learner()
        second.restore(first.state())
        outputs += second.process(inputs(rows[cut:], start=cut))
        assert outputs == expected


def test_equal_histories_give_equal_state_bytes():
    states = set()
    for size in (1, 7, 100):
        stage = new_learner()
        records = inputs(examples(100))
        for start in range(0, 100, size):
            stage.process(records[start : start + size])
        states.add(stage.state())
    assert len(states) == 1


def test_state_of_another_pipeline_is_refused(picklable):
    stage = new_learner()
    stage.process(inputs(examples(10)))
    other = Pipeline(name="q", task="binary", target="y", classes=("no", "yes"), features=(Numeric("z"),))
    with pytest.raises(StateMismatchError):
        new_learner(pipeline=other).restore(stage.state())
    with pytest.raises(ArtifactError):
        new_learner().restore(b"broken")


def test_the_products_own_detectors_fit():
    concept = pytest.importorskip("online.detectors.concept")
    rows = list(examples(250))
    stage = new_learner(concept.ErrorDetectors(PIPELINE))
    expected = stage.process(inputs(rows))
    first, second = new_learner(concept.ErrorDetectors(PIPELINE)), new_learner(concept.ErrorDetectors(PIPELINE))
    outputs = first.process(inputs(rows[:130]))
    second.restore(first.state())
    assert outputs + second.process(inputs(rows[130:], start=130)) == expected


def test_a_record_of_another_kind_is_a_bug_and_stops_it():
    wrong = next(examples(1)).prediction
    with pytest.raises(TypeError, match="examples/0 is a Prediction"):
        new_learner().process(inputs([wrong]))


def test_what_it_learned_can_be_looked_at():
    stage = new_learner()
    stage.process(inputs(examples(3)))
    assert stage.committee.learned == 3


def test_a_muted_learner_stores_no_snapshot_and_learns_all_the_same():
    given = inputs(examples(400))
    loud, muted = (new_learner(publisher=EverySnapshot(MemoryArtifacts(Signer(b"k" * 16)))) for _ in range(2))
    muted.mute(True)
    spoken = loud.process(given)
    silent = muted.process(given)
    assert "models" in {output.topic for output in spoken}
    assert silent == [output for output in spoken if output.topic != "models"]
    muted.mute(False)
    assert muted.process(given[:1]) == loud.process(given[:1])
