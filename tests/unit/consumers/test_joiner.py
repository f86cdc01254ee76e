"""The joiner stage around the join."""

from __future__ import annotations

import pytest

from consumers.joiner import Joiner
from penstock.events import Example, Label, Metrics, Prediction, Request
from penstock.runtime.stage import Input
from penstock.spec import Millis, Numeric, Pipeline
from penstock.testing.stage_conformance import check_stage

PIPELINE = Pipeline(
    name="p", task="binary", target="y", features=(Numeric("x"),), classes=("0", "1"), label_delay=Millis(1000)
)


def inputs(n: int) -> list[Input]:
    records = []
    for i in range(n):
        prediction = Prediction(
            id=f"r{i}",
            entity=f"e{i}",
            event_time_ms=i,
            features={"x": 1.0},
            version="online",
            generation=i // 50,
            decision="1",
            score=0.5,
        )
        records.append(Input("predictions", 2, 7 * i, 10**6, prediction))
        if i >= 10:
            records.append(Input("labels", 2, 3 * i, 10**6, Label(id=f"r{i - 10}", value="1", event_time_ms=i)))
    return records


def test_examples_are_keyed_by_entity_and_go_out_in_order() -> None:
    outputs = [o for o in Joiner(PIPELINE, 2).process(inputs(30)) if o.topic == "examples"]
    assert [o.key for o in outputs] == [f"e{i}" for i in range(20)]
    assert all(isinstance(o.event, Example) for o in outputs)


def test_metrics_come_every_hundred_inputs_and_count_since_the_last() -> None:
    outputs = Joiner(PIPELINE, 2).process(inputs(150))
    metrics = [o.event for o in outputs if isinstance(o.event, Metrics)]
    assert [m.seen for m in metrics] == [100, 200]
    assert [(m.stage, m.partition) for m in metrics] == [("joiner", 2)] * 2
    assert metrics[1].generation == 2
    joined = sum(m.counts["joined"] for m in metrics)
    until = outputs.index(next(o for o in outputs if o.event is metrics[1]))
    assert joined == sum(o.topic == "examples" for o in outputs[:until])


def test_cutting_the_input_and_restoring_in_between_changes_nothing() -> None:
    records = inputs(150)
    whole = Joiner(PIPELINE, 2)
    expected = whole.process(records)
    for cut in (1, 37, 100, 211):
        first = Joiner(PIPELINE, 2)
        outputs = first.process(records[:cut])
        second = Joiner(PIPELINE, 2)
        second.restore(first.state())
        for record in records[cut:]:
            outputs += second.process([record])
        assert outputs == expected
        assert second.state() == whole.state()


def test_another_event_is_a_bug() -> None:
    with pytest.raises(TypeError, match="requests/4"):
        Joiner(PIPELINE, 0).process([Input("requests", 0, 4, 0, Request(id="a", features={}))])


def test_the_stage_is_a_function_of_its_input() -> None:
    check_stage(lambda: Joiner(PIPELINE, 2), inputs(150))
