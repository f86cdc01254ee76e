"""The incidents stage: what goes out when, and the false-alarm bound over partitions."""

from __future__ import annotations

import csv
import gzip
import os
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from consumers.incidents import Incidents
from consumers.monitor import Monitor
from penstock.events import (
    Alert,
    Drift,
    DriftCondition,
    DriftThresholds,
    Evidence,
    Label,
    Metrics,
    PolicyChange,
    PolicyCommand,
    Prediction,
)
from penstock.runtime.stage import Input, Output
from penstock.spec import Categorical, DriftPolicy, Numeric, Pipeline, RetrainingPolicy
from penstock.testing.stage_conformance import check_stage

PIPELINE = Pipeline(
    name="loans",
    task="binary",
    target="y",
    classes=("0", "1"),
    features=(*(Numeric(f"x{i}") for i in range(8)), Categorical("c")),
)


def evidence(
    n: int,
    partitions: int,
    shift: float = 0.0,
    at: int = 0,
    seed: int = 1,
    then: tuple[str, int] | None = None,
    pipeline: Pipeline = PIPELINE,
) -> list[Input]:
    """What monitors write of a stream with a shift of x0 at row ``at``, and ``then`` of a feature at another row."""
    rng = np.random.default_rng(seed)
    values, names = rng.normal(size=(n, 8)), rng.choice(4, size=n)
    values[at:, 0] += shift
    if then is not None:
        values[then[1] :, int(then[0][1:])] += shift
    homes = rng.integers(partitions, size=n)
    monitors = [Monitor(pipeline, partition) for partition in range(partitions)]
    records: list[Input] = []
    for i in range(n):
        features = {f"x{j}": float(values[i, j]) for j in range(8)} | {"c": f"v{names[i]}"}
        prediction = Prediction(
            id=f"r{i}",
            entity="e",
            event_time_ms=i,
            features=features,
            version="online",
            generation=0,
            decision="1",
            score=0.5,
        )
        home = int(homes[i])
        for output in monitors[home].process([Input("predictions", home, i, i, prediction)]):
            if output.topic == "evidence":
                records.append(Input("evidence", 0, len(records), i, output.event))
    return records


def drifts(outputs: list[Output]) -> list[Drift]:
    return [output.event for output in outputs if isinstance(output.event, Drift)]


@pytest.mark.parametrize("partitions", [1, 4])
def test_stationary_streams_open_nothing(partitions: int) -> None:
    for seed in range(2):
        assert Incidents(PIPELINE).process(evidence(10_000, partitions, seed=seed)) == []


@pytest.mark.parametrize(("partitions", "delay"), [(1, 700), (4, 2800)])
def test_a_shift_of_one_feature_is_one_incident(partitions: int, delay: int) -> None:
    at = 2000 * partitions
    outputs = Incidents(PIPELINE).process(evidence(at + 4500 * partitions, partitions, shift=0.7, at=at))
    by_kind: dict[str, list[Drift]] = {}
    for drift in drifts(outputs):
        by_kind.setdefault(drift.kind, []).append(drift)
    assert set(by_kind) <= {"covariate", "population"}
    assert all([drift.status for drift in story] == ["opened", "closed"] for story in by_kind.values())
    opened, *others = by_kind["covariate"]
    assert at < opened.event_time_ms < at + delay
    assert (opened.kind, opened.feature, list(opened.features)) == ("covariate", "x0", ["x0"])
    assert opened.since_event_time_ms == pytest.approx(at, abs=150 * partitions)
    assert opened.histogram is not None
    assert [(other.status, other.id) for other in others] == [("closed", opened.id)]


@pytest.mark.parametrize(("partitions", "then"), [(1, ("x0", 4500)), (4, ("x0", 4500)), (1, ("x1", 3600))])
def test_a_second_shift_is_told_while_the_first_incident_is_open(partitions: int, then: tuple[str, int]) -> None:
    """The first shift's window became the reference before x0 moves again; x1 moves after the incident's window."""
    feature, row = then
    records = evidence(
        (row + 4500) * partitions, partitions, shift=0.7, at=2000 * partitions, then=(feature, row * partitions)
    )
    story = [drift for drift in drifts(Incidents(PIPELINE).process(records)) if drift.kind == "covariate"]
    first, second = (drift for drift in story if drift.status == "opened")
    closed = {drift.id: drift.event_time_ms for drift in story if drift.status == "closed"}
    assert (first.feature, second.feature) == ("x0", feature)
    assert row * partitions < second.event_time_ms < (row + 700) * partitions
    assert second.since_event_time_ms == pytest.approx(row * partitions, abs=150 * partitions)
    assert second.event_time_ms <= closed[first.id] < closed[second.id], "and both end"


def test_an_opened_incident_is_an_alert_and_a_closed_one_is_not() -> None:
    outputs = Incidents(PIPELINE).process(evidence(6500, 1, shift=0.7, at=2000))
    alert, *others = [output.event for output in outputs if isinstance(output.event, Alert)]
    opened = drifts(outputs)[0]
    assert [other.id for other in others] == [
        f"{drift.id}-opened" for drift in drifts(outputs)[1:] if drift.status == "opened"
    ]
    assert (alert.id, alert.severity) == (f"{opened.id}-opened", "warning")
    assert "x0" in alert.title
    assert {output.key for output in outputs} == {drift.id for drift in drifts(outputs)}


def test_a_change_of_thresholds_is_told() -> None:
    change = PolicyChange(by="ada", thresholds=DriftThresholds(effect_floor=0.2), reason="noisy sensor")
    event = Evidence(
        stage="policy",
        partition=0,
        seen=0,
        record_id="policy-1",
        event_time_ms=5,
        generation=0,
        findings=[],
        change=change,
    )
    told, noted = Incidents(PIPELINE).process([Input("evidence", 0, 0, 5, event)])
    assert isinstance(told.event, Alert)
    assert (told.event.id, told.event.severity) == ("policy-1", "info")
    assert told.event.detail == "effect_floor = 0.2; by ada (noisy sensor)"
    assert noted.topic == "commands"
    assert noted.event == PolicyCommand(
        id="policy-1", by="ada", at_ms=5, change="effect_floor = 0.2; by ada (noisy sensor)", reason="noisy sensor"
    )


def test_the_stage_is_a_function_of_its_input() -> None:
    check_stage(lambda: Incidents(PIPELINE), evidence(6500, 2, shift=2.0, at=2500))


def test_another_event_is_a_bug() -> None:
    with pytest.raises(TypeError, match="labels/4"):
        Incidents(PIPELINE).process([Input("labels", 0, 4, 0, Label(id="a", value=1))])


CATEGORIES = ("SEX", "EDUCATION", "MARRIAGE", "PAY_0", "PAY_2", "PAY_3", "PAY_4", "PAY_5", "PAY_6")


@pytest.mark.data
def test_taiwan_credit_is_stationary_until_15000_and_drifts_after() -> None:
    folder = os.environ.get("PENSTOCK_DATASETS_DIR") or Path(__file__).parents[4] / "shared" / "data"
    path = Path(folder) / "taiwan_credit.csv.gz"
    if not path.is_file():
        pytest.skip(f"{path} is not there: set PENSTOCK_DATASETS_DIR")
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = [{name: row[name] for name in row if name not in ("ID", "default")} for row in csv.DictReader(file)]
    features = tuple(Categorical(name) if name in CATEGORIES else Numeric(name) for name in rows[0])
    pipeline = Pipeline(name="taiwan", task="binary", target="default", classes=("0", "1"), features=features)
    monitor, incidents, opened = Monitor(pipeline, 0), Incidents(pipeline), []
    for i, row in enumerate(rows[:18_000]):
        prediction = Prediction(
            id=f"r{i}",
            entity="e",
            event_time_ms=i,
            features={name: value if name in CATEGORIES else float(value) for name, value in row.items()},
            version="v",
            generation=0,
            decision="1",
            score=0.5,
        )
        for output in monitor.process([Input("predictions", 0, i, i, prediction)]):
            if output.topic == "evidence":
                found = incidents.process([Input("evidence", 0, i, i, output.event)])
                opened += [drift for drift in drifts(found) if drift.status == "opened"]
    assert 15_000 < opened[0].event_time_ms < 16_500
    assert opened[0].kind == "covariate"
    assert {drift.kind for drift in opened} == {"covariate"}


FIXED = replace(PIPELINE, drift=DriftPolicy(reference_mode="fixed"))


def test_a_condition_above_its_limit_is_told_at_every_look_until_it_ends() -> None:
    """x0 moves far from a fixed reference and stays there; then comes a generation that has not looked at it yet."""
    records = evidence(6000, 1, shift=4.0, at=2000, pipeline=FIXED)
    newer = msgspec.structs.replace(records[-1].event, generation=1, findings=[], event_time_ms=7000)
    records.append(Input("evidence", 0, len(records), 7000, newer))
    told = [output.event for output in Incidents(FIXED).process(records) if isinstance(output.event, Metrics)]
    since = told[0].event_time_ms
    assert 2600 < since < 3000
    assert {metrics.stage for metrics in told} == {"incidents"}
    assert [metrics.event_time_ms for metrics in told] == [*range(since, 6000, 100), 7000]
    conditions = [metrics.condition for metrics in told]
    for condition in conditions[:-1]:
        assert condition is not None
        assert condition.drift_score > 0.7
        assert (condition.drift_score_since_ms, condition.drifted_share_since_ms) == (since, None)
    assert conditions[-1] == DriftCondition(drift_score=0.0, drifted_share=0.0)
    check_stage(lambda: Incidents(FIXED), records)


def test_a_drift_that_became_the_reference_does_not_last() -> None:
    told = [
        output.event
        for output in Incidents(PIPELINE).process(evidence(9000, 1, shift=4.0, at=2000))
        if isinstance(output.event, Metrics)
    ]
    assert told[-1].condition is not None
    assert told[-1].condition.drift_score_since_ms is None
    assert told[-1].event_time_ms < 8000


def test_a_limit_that_is_switched_off_is_not_watched() -> None:
    calm = replace(PIPELINE, retraining=RetrainingPolicy(drift_score=None))
    outputs = Incidents(calm).process(evidence(4000, 1, shift=4.0, at=2000))
    assert not [output for output in outputs if isinstance(output.event, Metrics)]


def test_more_features_than_the_limit_is_a_condition_too() -> None:
    few = replace(PIPELINE, retraining=RetrainingPolicy(drift_score=None, drifted_share=0.1))
    outputs = Incidents(few).process(evidence(4000, 1, shift=1.0, at=2000))
    told = [output.event.condition for output in outputs if isinstance(output.event, Metrics)]
    assert told[0] is not None
    assert (told[0].drifted_share, told[0].drift_score_since_ms) == (pytest.approx(1 / 9), None)
