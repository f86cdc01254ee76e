"""The monitor stage: looks, repeats, generations; a function of its input."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from msgspec import structs

from consumers.incidents import Incidents
from consumers.monitor import REMEMBERED_IDS, Monitor
from penstock.events import Evidence, Label, Metrics, Prediction, encode
from penstock.runtime.stage import Input, Output
from penstock.spec import Boolean, Categorical, Date, DriftPolicy, Numeric, Pipeline
from penstock.testing.stage_conformance import check_stage

PIPELINE = Pipeline(
    name="p",
    task="binary",
    target="y",
    classes=("0", "1"),
    features=(Numeric("x", low=-5.0, high=5.0), Categorical("c"), Boolean("b"), Date("d")),
    drift=DriftPolicy(window=200, reference=200, look_every=50),
)


def record(i: int, shift: float = 0.0, id_: str | None = None, **more: Any) -> Input:
    rng = np.random.default_rng(i)
    prediction = Prediction(
        id=id_ or f"r{i}",
        entity="e",
        event_time_ms=i * 10,
        features={
            "x": float(rng.normal(shift)),
            "c": "ab"[int(rng.random() < 0.5)],
            "b": bool(rng.random() < 0.2),
            "d": f"20{i % 90 + 10}-01-01",
        },
        version="online",
        decision="1",
        score=0.5,
        **{"generation": 0, **more},
    )
    return Input("predictions", 3, 2 * i, 0, prediction)


def evidence(outputs: list[Output]) -> list[Evidence]:
    return [output.event for output in outputs if isinstance(output.event, Evidence)]


def test_every_look_writes_evidence_and_metrics() -> None:
    outputs = Monitor(PIPELINE, 3).process([record(i) for i in range(475)])
    looks = evidence(outputs)
    assert [look.seen for look in looks] == list(range(50, 451, 50))
    assert (looks[-1].record_id, looks[-1].event_time_ms, looks[-1].partition) == ("r449", 4490, 3)
    assert {finding.feature for finding in looks[-1].findings} <= {"x", "c", "b", None}
    assert {finding.detector for finding in looks[-1].findings} >= {"ks", "chi2"}
    metrics = [output.event for output in outputs if isinstance(output.event, Metrics)]
    assert [(m.stage, m.seen, m.offset) for m in metrics[-1:]] == [("monitor", 450, 898)]
    assert {output.key for output in outputs} == {"3"}


def test_repeats_are_counted_and_not_looked_at() -> None:
    monitor = Monitor(PIPELINE, 0)
    outputs = monitor.process([record(i) for i in range(40)] + [record(i) for i in range(5)])
    outputs += monitor.process([record(i) for i in range(40, 50)])
    (metrics,) = [output.event for output in outputs if isinstance(output.event, Metrics)]
    assert (metrics.seen, metrics.counts["repeated_predictions"]) == (50, 5)


def test_the_memory_of_ids_is_bounded() -> None:
    monitor = Monitor(PIPELINE, 0)
    first = record(0)
    for i in range(REMEMBERED_IDS):
        monitor._repeated(f"n{i}")
    monitor.process([first])
    size = len(monitor._recent)
    assert size == REMEMBERED_IDS
    assert not monitor._repeated("n0"), "the oldest was forgotten"


def test_the_first_higher_generation_of_a_champion_starts_afresh() -> None:
    monitor = Monitor(PIPELINE, 0)
    before = evidence(monitor.process([record(i) for i in range(300)]))
    assert before[-1].findings
    after = evidence(monitor.process([record(i, shift=3.0, generation=1) for i in range(300, 700)]))
    assert after[0].findings == []
    assert after[0].generation == 1
    assert max(f.effect for f in after[-1].findings if f.detector == "ks") < 0.3, "the new data is the reference"


@pytest.mark.parametrize("more", [{"generation": 1, "role": "canary"}, {"generation": 0}])
def test_canaries_and_older_generations_reset_nothing(more: dict[str, Any]) -> None:
    monitor = Monitor(PIPELINE, 0)
    monitor.process([record(i) for i in range(300)])
    (look,) = evidence(monitor.process([record(300, **more), *(record(i) for i in range(301, 350))]))
    assert look.findings


def test_the_stage_is_a_function_of_its_input() -> None:
    inputs = [record(i, shift=2.0 * (i > 420), generation=int(i >= 900)) for i in range(1300)]
    inputs[500:500] = [record(30), record(31)]
    written = check_stage(lambda: Monitor(PIPELINE, 3), inputs)
    assert any(topic == "evidence" and b"histogram" in value for topic, _, value in written)


def test_another_event_is_a_bug() -> None:
    with pytest.raises(TypeError, match="labels/4"):
        Monitor(PIPELINE, 0).process([Input("labels", 0, 4, 0, Label(id="a", value=1))])


def odd_rows(kind: str, n: int) -> tuple[Pipeline, list[dict[str, Any]]]:
    features: tuple[Any, ...] = {
        "dates only": (Date("d"),),
        "constant": (Numeric("x"), Categorical("c"), Boolean("b")),
        "all missing": (Numeric("x"), Categorical("c"), Boolean("b")),
        "huge": (Numeric("x"),),
        "many features": tuple(Numeric(f"x{i}") for i in range(300)),
        "many categories": (Categorical("c"),),
    }[kind]
    rows: dict[str, Any] = {
        "dates only": lambda _: {"d": "2026-01-01"},
        "constant": lambda _: {"x": 1.0, "c": "a", "b": True},
        "all missing": lambda _: {"x": None, "c": None, "b": None},
        "huge": lambda i: {"x": 1e150 if i < n // 2 else -1e150},
        "many features": lambda i: {f"x{j}": float((i * 7919 + j * 31) % 997) for j in range(300)},
        "many categories": lambda i: {"c": f"value {i}"},
    }
    pipeline = Pipeline(name="p", task="binary", target="y", classes=("0", "1"), features=features)
    return pipeline, [rows[kind](i) for i in range(n)]


@pytest.mark.parametrize(
    ("kind", "alarms"),
    [
        ("dates only", 0),
        ("constant", 0),
        ("all missing", 0),
        ("huge", 1),
        ("many features", 0),
        ("many categories", 0),
    ],
)
def test_odd_data_is_defined_from_the_first_record_to_json(kind: str, alarms: int) -> None:
    pipeline, rows = odd_rows(kind, 2500)
    monitor, incidents = Monitor(pipeline, 0), Incidents(pipeline)
    drifts = []
    for i, row in enumerate(rows):
        prediction = Prediction(
            id=f"r{i}",
            entity="e",
            event_time_ms=-i,
            features=row,
            version="v",
            generation=0,
            decision="1",
            score=0.5,
        )
        for output in monitor.process([Input("predictions", 0, i, 0, prediction)]):
            written = encode(output.event)
            assert b"null" not in written, "NaN and infinities are written as null"
            if output.topic == "evidence":
                found = incidents.process([Input("evidence", 0, i, 0, output.event)])
                drifts += [drift.event for drift in found if drift.topic == "drift"]
    assert len([drift for drift in drifts if drift.status == "opened"]) == alarms


def test_an_hour_of_event_time_that_brought_fifty_is_a_look() -> None:
    slow = Pipeline(name="p", task="binary", target="y", classes=("0", "1"), features=(Numeric("x"),))
    minutes = [structs.replace(record(i).event, event_time_ms=i * 60_000, features={"x": 1.0}) for i in range(400)]
    outputs = Monitor(slow, 0).process([Input("predictions", 0, i, 0, one) for i, one in enumerate(minutes)])
    assert [look.seen for look in evidence(outputs)] == [61, 121, 181, 241, 301, 361]
    halves = [structs.replace(one, event_time_ms=i * 1_800_000) for i, one in enumerate(minutes)]
    outputs = Monitor(slow, 0).process([Input("predictions", 0, i, 0, one) for i, one in enumerate(halves)])
    assert [look.seen for look in evidence(outputs)] == list(range(50, 401, 50))
    counted = [output.event.counts["predictions"] for output in outputs if isinstance(output.event, Metrics)]
    assert counted == [50] * 8


def effects(mode: Any, inputs: list[Input]) -> list[float]:
    spec = with_reference(mode)
    looks = evidence(Monitor(spec, 0).process(inputs))
    return [max((f.effect for f in look.findings if f.detector == "ks"), default=0.0) for look in looks]


def with_reference(mode: Any) -> Pipeline:
    return dataclasses.replace(PIPELINE, drift=dataclasses.replace(PIPELINE.drift, reference_mode=mode))


def test_the_reference_is_the_last_promotion_the_first_records_or_the_last_window() -> None:
    inputs = [record(i, shift=3.0 * (i >= 600), generation=int(i >= 900)) for i in range(1800)]
    since_promotion, fixed, sliding = (effects(mode, inputs) for mode in ("promotion", "fixed", "sliding"))
    assert max(since_promotion[22:]) < 0.35, "after the promotion the new data is the reference"
    assert min(fixed[16:]) > 0.8, "the first records are it for good"
    assert max(sliding[12:17]) > 0.8, "the change is seen"
    assert max(sliding[22:]) < 0.35, "and is soon the past"


@pytest.mark.parametrize("mode", ["fixed", "sliding"])
def test_the_stage_is_a_function_of_its_input_whatever_the_reference(mode: Any) -> None:
    inputs = [record(i, shift=2.0 * (i > 420), generation=int(i >= 700)) for i in range(1100)]
    assert check_stage(lambda: Monitor(with_reference(mode), 3), inputs)


def test_what_the_champion_answers_is_watched_and_what_others_answer_is_not() -> None:
    def asked(i: int, score: float, **more: Any) -> Input:
        more = {"version": "v1", "generation": 1, **more}
        event = structs.replace(record(i).event, score=score, decision=str(int(score >= 0.5)), **more)
        return Input("predictions", 3, i, 0, event)

    rng = np.random.default_rng(1)
    before = [asked(i, float(rng.beta(2, 5))) for i in range(700)]
    canary = [asked(i, 0.99, role="canary", version="v2") for i in range(700, 1000)]
    moved = [asked(i, float(rng.beta(5, 2))) for i in range(700, 1000)]

    def strongest(inputs: list[Input]) -> float:
        look = evidence(Monitor(PIPELINE, 3).process(inputs))[-1]
        return max(f.effect for f in look.findings if f.detector == "score")

    assert strongest(before + canary) < 0.2
    assert strongest(before + moved) > 0.5


@pytest.mark.parametrize("mode", ["promotion", "fixed", "sliding"])
@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_one_class_constant_features_and_short_streams_are_defined(task: Any, mode: Any) -> None:
    classes = {"binary": ("0", "1"), "multiclass": ("0", "1", "2"), "regression": ()}[task]
    spec = Pipeline(
        name="p",
        task=task,
        target="y",
        classes=classes,
        features=(Numeric("x"), Categorical("c"), Boolean("b")),
        drift=DriftPolicy(window=200, reference=200, reference_mode=mode),
    )
    monitor = Monitor(spec, 0)
    for i in range(900):
        prediction = Prediction(
            id=f"r{i}",
            entity="e",
            event_time_ms=-i,
            features={"x": 7.0 if i < 450 else None, "c": "a" if i % 300 < 250 else None, "b": None},
            version="v1",
            generation=0,
            decision=1e150 if task == "regression" else "1",
            score=None if task == "multiclass" else 1.0 if task == "binary" else 1e150 if i < 450 else -1e150,
            scores={"0": 0.0, "1": 1.0, "2": 0.0} if task == "multiclass" else None,
        )
        for output in monitor.process([Input("predictions", 0, i, 0, prediction)]):
            assert b"null" not in encode(output.event), "NaN and infinities are written as null"
            if isinstance(output.event, Evidence) and output.event.seen < 200:
                assert output.event.findings == []
        if i % 250 == 0:
            again = Monitor(spec, 0)
            again.restore(monitor.state())
            assert again.state() == monitor.state()
