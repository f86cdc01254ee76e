"""Stages of several input topics: recovery cannot repeat in which order the topics met, so it must not matter."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumers.joiner import Joiner
from penstock.events import Label, Prediction
from penstock.runtime.stage import Input
from penstock.spec import Millis, Numeric, Pipeline, Rows
from penstock.testing.stage_conformance import check_interleavings
from penstock.topology import STAGES, TOPICS

IDS = st.sampled_from([f"id{n}" for n in range(12)])
#: (is it a label, id, event time, how much later it was appended)
MOVES = st.lists(st.tuples(st.booleans(), IDS, st.integers(-50, 400), st.integers(0, 60)), min_size=4, max_size=80)


def test_the_joiner_is_the_only_keyed_stage_of_several_topics() -> None:
    """Another one has to be added to the checks below."""
    several = [
        s.name for s in STAGES.values() if len(s.reads) > 1 and any(TOPICS[t].partitions is None for t in s.reads)
    ]
    assert several == ["joiner"]


def pipeline(delay: Any, **bounds: int) -> Pipeline:
    return Pipeline(
        name="p",
        task="binary",
        target="y",
        features=(Numeric("x"),),
        classes=("0", "1"),
        label_delay=delay,
        **bounds,
    )


def inputs_of(moves: list[tuple[bool, str, int, int]]) -> list[Input]:
    offsets = {"predictions": 0, "labels": 0}
    inputs = []
    now = 0
    for is_label, id_, time, later in moves:
        topic = "labels" if is_label else "predictions"
        now = max(now, time + later)
        event: Any = Label(id=id_, value="1", event_time_ms=time)
        if not is_label:
            event = Prediction(
                id=id_,
                entity=id_,
                event_time_ms=time,
                features={"x": float(time)},
                version="online",
                generation=0,
                decision="1",
                score=0.5,
            )
        inputs.append(Input(topic, 0, offsets[topic], now, event))
        offsets[topic] += 1
    return inputs


@pytest.mark.parametrize("spec", [pipeline(Rows(5)), pipeline(Millis(30), horizon_ms=100, early_bound_ms=40)])
@settings(max_examples=100, deadline=None)
@given(before=MOVES, after=MOVES)
def test_the_joiner_does_not_depend_on_how_predictions_and_labels_met(
    spec: Pipeline, before: list[tuple[bool, str, int, int]], after: list[tuple[bool, str, int, int]]
) -> None:
    first = [(is_label, "first", -50, 0) for is_label in (False, True)]
    last = [(is_label, "last", 500, 0) for is_label in (False, True)]
    inputs = inputs_of([*first, *before, *after, *last])
    place = len(first) + len(before)
    check_interleavings(lambda: Joiner(spec, 0), inputs[:place], inputs[place:], ignoring=["metrics"])
