"""What every stage must be: a function of its inputs, however they are cut and whenever it is restored."""

# ruff: noqa: S101 - checks assert; they run in test suites only

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeAlias

from penstock.events import encode
from penstock.runtime.stage import Input, Output, Stage, StatefulStage

#: An output as the log would hold it: topic, key, value.
Written: TypeAlias = tuple[str, str, bytes]

RANDOM_CUTS = 3
RESTORES = 5


def check_stage(
    make_stage: Callable[[], Stage], inputs: Sequence[Input], *, ignoring: Sequence[str] = (), seed: int = 7
) -> list[Written]:
    """Run the stages that ``make_stage`` builds over ``inputs`` in many ways, which must all write the same.

    1. ``inputs`` cause outputs (otherwise nothing would be checked), and stay as they were.
    2. Twice the same: a second stage, all inputs in one call.
    3. Cut in any way: one by one with empty calls between them, and in pieces drawn with ``seed``.
    4. Where the stage is stateful: asking for its state changes nothing, and at ``RESTORES`` places between the first
       and the last input a fresh stage that is restored goes on as if nothing had happened, also when that is done
       again right away (state of a restored state).

    Outputs to topics in ``ignoring`` may differ. Returns what was written, for checks of the stage's own.

    Raises:
        AssertionError: the stage fails one of these; the text says which, and at which output.
    """
    before = [encode(read.event) for read in inputs]
    expected = _run(make_stage(), [inputs], ignoring)
    assert expected, "the inputs cause no outputs: nothing can be checked with them"
    assert [encode(read.event) for read in inputs] == before, "the stage changed its inputs"
    _same("the same inputs a second time", expected, _run(make_stage(), [inputs], ignoring))
    singles: list[Sequence[Input]] = []
    for read in inputs:
        singles += [[], [read]]
    _same("inputs one by one", expected, _run(make_stage(), singles, ignoring))
    draw = random.Random(seed)
    for number in range(RANDOM_CUTS):
        _same(f"random cut {number}", expected, _run(make_stage(), list(_pieces(inputs, draw)), ignoring))
    if isinstance(make_stage(), StatefulStage):
        for place in sorted({draw.randrange(len(inputs) + 1) for _ in range(RESTORES - 2)} | {0, len(inputs) // 2}):
            _check_restore(make_stage, inputs, place, expected, ignoring)
    return expected


def check_interleavings(
    make_stage: Callable[[], Stage],
    before: Sequence[Input],
    after: Sequence[Input],
    *,
    ignoring: Sequence[str] = (),
    seed: int = 7,
) -> None:
    """Check that a stage of several input topics does not depend on how these met.

    Recovery processes each topic's records again in their order, but cannot repeat in which order the topics met. So
    however the topics of ``before`` are interleaved (one after the other too), they cause the same outputs in some
    order, and ``after`` then causes the same outputs in the same order. Outputs to topics in ``ignoring`` may differ.

    Raises:
        AssertionError: they differ, or there is nothing to interleave.
    """
    topics = sorted({read.topic for read in before})
    assert len(topics) > 1, "the inputs are of one topic: there is nothing to interleave"
    queues = {topic: [read for read in before if read.topic == topic] for topic in topics}
    expected_first, expected_second = _parts(make_stage(), before, after, ignoring)
    assert expected_first, "the inputs before cause no outputs: nothing can be checked with them"
    assert expected_second, "the inputs after cause no outputs: nothing can be checked with them"
    draw = random.Random(seed)
    orders = [[read for topic in order for read in queues[topic]] for order in (topics, topics[::-1])]
    orders += [_merged(queues, draw) for _ in range(RANDOM_CUTS)]
    for number, order in enumerate(orders):
        first, second = _parts(make_stage(), order, after, ignoring)
        _same(f"interleaving {number}, its outputs sorted", sorted(expected_first), sorted(first))
        _same(f"going on after interleaving {number}", expected_second, second)


def _parts(
    stage: Stage, first: Sequence[Input], second: Sequence[Input], ignoring: Sequence[str]
) -> tuple[list[Written], list[Written]]:
    return _run(stage, [first], ignoring), _run(stage, [second], ignoring)


def _merged(queues: Mapping[str, Sequence[Input]], draw: random.Random) -> list[Input]:
    turns = [topic for topic, queue in queues.items() for _ in queue]
    draw.shuffle(turns)
    left = {topic: iter(queue) for topic, queue in queues.items()}
    return [next(left[topic]) for topic in turns]


def _check_restore(
    make_stage: Callable[[], Stage],
    inputs: Sequence[Input],
    place: int,
    expected: Sequence[Written],
    ignoring: Sequence[str],
) -> None:
    original = _stateful(make_stage())
    written = _run(original, [inputs[:place]], ignoring)
    state = original.state()
    restored = _stateful(make_stage())
    restored.restore(state)
    twice = _stateful(make_stage())
    twice.restore(restored.state())
    ways = (("state()", original), ("restore()", restored), ("restoring twice", twice))
    for how, stage in ways:
        _same(f"going on after {how} at input {place}", expected, written + _run(stage, [inputs[place:]], ignoring))


def _stateful(stage: Stage) -> StatefulStage:
    assert isinstance(stage, StatefulStage)
    return stage


def _run(stage: Stage, batches: Sequence[Sequence[Input]], ignoring: Sequence[str]) -> list[Written]:
    outputs = [output for batch in batches for output in stage.process(batch)]
    return [_written(output) for output in outputs if output.topic not in ignoring]


def _written(output: Output) -> Written:
    return output.topic, output.key, encode(output.event)


def _pieces(inputs: Sequence[Input], draw: random.Random) -> Iterator[Sequence[Input]]:
    start = 0
    while start < len(inputs):
        size = draw.choice((1, 2, 3, 7, 50, 200))
        yield inputs[start : start + size]
        start += size


def _same(how: str, expected: Sequence[Written], found: Sequence[Written]) -> None:
    for index, (wanted, got) in enumerate(zip(expected, found, strict=False)):
        assert wanted == got, f"{how}: output {index} is {got}, not {wanted}"
    assert len(expected) == len(found), f"{how}: {len(found)} outputs, not {len(expected)}"
