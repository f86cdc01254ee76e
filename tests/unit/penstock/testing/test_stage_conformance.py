from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from penstock.events import Request
from penstock.runtime.stage import Input, Output
from penstock.testing.stage_conformance import check_interleavings, check_stage

INPUTS = [Input("requests", 0, n, n, Request(id=f"r{n}", features={"x": float(n)})) for n in range(60)]


class Counter:
    """A right stage: it writes how many requests it saw."""

    def __init__(self) -> None:
        self.seen = 0

    def process(self, inputs: Sequence[Input]) -> list[Output]:
        return [self.one(read) for read in inputs]

    def one(self, read: Input) -> Output:
        self.seen += 1
        return Output("predictions", "k", Request(id=f"n{self.seen}", features={}))

    def state(self) -> bytes:
        return pickle.dumps(self.seen)

    def restore(self, state: bytes) -> None:
        self.seen = pickle.loads(state)  # noqa: S301 - written by this test


class Silent(Counter):
    def process(self, inputs: Sequence[Input]) -> list[Output]:
        return []


class PerCall(Counter):
    def process(self, inputs: Sequence[Input]) -> list[Output]:
        self.seen += 1
        return super().process(inputs)


class OnEmpty(Counter):
    def process(self, inputs: Sequence[Input]) -> list[Output]:
        self.seen += not inputs
        return super().process(inputs)


class Forgetful(Counter):
    def restore(self, state: bytes) -> None:
        self.seen = 0


class DisturbedByState(Counter):
    def state(self) -> bytes:
        self.seen += 1
        return pickle.dumps(self.seen - 1)


class OnceOnly(Counter):
    """Keeps what it needs, but a restored one no longer saves it."""

    restored = False

    def state(self) -> bytes:
        return pickle.dumps(0 if self.restored else self.seen)

    def restore(self, state: bytes) -> None:
        super().restore(state)
        self.restored = True


class Meddling(Counter):
    def process(self, inputs: Sequence[Input]) -> list[Output]:
        for read in inputs:
            event: Any = read.event
            event.features["x"] = 0.0
        return super().process(inputs)


class Shared(Counter):
    runs = 0

    def __init__(self) -> None:
        super().__init__()
        Shared.runs += 1
        self.seen = Shared.runs


def test_a_right_stage_passes_and_its_outputs_are_returned() -> None:
    written = check_stage(Counter, INPUTS)
    assert [key for _, key, _ in written] == ["k"] * 60
    assert written[0][2] == b'{"id":"n1","features":{}}'


def test_a_stage_without_state_is_not_asked_for_any() -> None:
    class Echo:
        def process(self, inputs: Sequence[Input]) -> list[Output]:
            return [Output("predictions", "k", read.event) for read in inputs]

    assert len(check_stage(Echo, INPUTS)) == 60


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (Silent, "no outputs"),
        (PerCall, "one by one"),
        (OnEmpty, "one by one"),
        (Forgetful, "restore"),
        (DisturbedByState, "after state"),
        (OnceOnly, "twice"),
        (Meddling, "changed its inputs"),
        (Shared, "a second time"),
    ],
)
def test_each_way_to_be_wrong_is_found(make: Callable[[], Counter], complaint: str) -> None:
    inputs = [read._replace(event=Request(id=f"r{read.offset}", features={"x": 1.0})) for read in INPUTS]
    with pytest.raises(AssertionError, match=complaint):
        check_stage(make, inputs)


BOTH = [read._replace(topic=("requests", "labels")[read.offset % 3 == 0]) for read in INPUTS]


class PerTopic(Counter):
    """What it writes about a topic depends on that topic only; its notes depend on the order of all."""

    def __init__(self) -> None:
        super().__init__()
        self.counts = {"requests": 0, "labels": 0}

    def process(self, inputs: Sequence[Input]) -> list[Output]:
        outputs = []
        for read in inputs:
            self.counts[read.topic] += 1
            event = Request(id=f"{read.topic}{self.counts[read.topic]}", features={})
            outputs += [Output("predictions", read.topic, event), *([self.one(read)] if self.seen % 7 else [])]
            self.seen += read.topic == "labels"
        return [output._replace(topic="metrics") if output.key == "k" else output for output in outputs]


def test_topics_that_do_not_depend_on_each_other_may_meet_in_any_order() -> None:
    check_interleavings(PerTopic, BOTH[:30], BOTH[30:], ignoring=["metrics"])


def test_a_stage_that_depends_on_how_its_topics_met_is_found() -> None:
    class LastTopic(PerTopic):
        last = ""

        def process(self, inputs: Sequence[Input]) -> list[Output]:
            outputs = []
            for read in inputs:
                outputs += [Output("predictions", f"after {self.last}", read.event)]
                self.last = read.topic
            return outputs

    with pytest.raises(AssertionError, match="interleaving 0, its outputs sorted"):
        check_interleavings(LastTopic, BOTH[:30], BOTH[30:])


def test_a_state_that_depends_on_how_its_topics_met_is_found() -> None:
    class Order(Counter):
        def process(self, inputs: Sequence[Input]) -> list[Output]:
            outputs = []
            for read in inputs:
                self.seen = self.seen * 2 % 1009 + (read.topic == "labels")
                event = Request(id=str(self.seen if read.offset >= len(BOTH) // 2 else 0) + "x", features={})
                outputs.append(Output("predictions", "k", event))
            return outputs

    with pytest.raises(AssertionError, match="going on after interleaving"):
        check_interleavings(Order, BOTH[:30], BOTH[30:])


def test_inputs_of_one_topic_are_no_check() -> None:
    with pytest.raises(AssertionError, match="nothing to interleave"):
        check_interleavings(Counter, INPUTS[:30], INPUTS[30:])
