"""The monitor stage: looks, repeats, generations; a function of its input."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

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
    assert {finding.feature for finding in looks[-1].findings} <= {"x", "c", "b"}
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
