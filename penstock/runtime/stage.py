"""The stage port: what domain logic looks like to the runtime.

A stage is built per partition and is a deterministic function of (spec, state, input records). It never touches
the log, a clock, an unseeded random source or the order of a set.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from penstock.events import Event


class Input(NamedTuple):
    """A decoded record that kept its contract. ``timestamp_ms`` is its append time."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    event: Event


class Output(NamedTuple):
    """An event to be written with the offsets of what caused it.

    Topics with as many partitions as the pipeline get it in the partition number of the stage's input; topics
    with one partition in partition 0. ``key`` is the record's key.
    """

    topic: str
    key: str
    event: Event


class Stage(Protocol):
    """Domain logic of one partition."""

    def process(self, inputs: Sequence[Input]) -> list[Output]:
        """Consume ``inputs`` in order and return what they cause, in order.

        State and outputs depend on the sequence of inputs only, never on how it was cut into calls.
        An exception here is a bug: it stops the worker, and the inputs are not committed.
        """
        ...


@runtime_checkable
class StatefulStage(Stage, Protocol):
    """A stage whose state outlives the process, through checkpoints."""

    def state(self) -> bytes:
        """All state that later outputs depend on; equal histories give states that behave equally."""
        ...

    def restore(self, state: bytes) -> None:
        """Replace the state by what ``state()`` returned. Called on a fresh stage only, before any input."""
        ...


@runtime_checkable
class EffectfulStage(Stage, Protocol):
    """A stage that does something besides its outputs, such as storing a snapshot that an output names."""

    def mute(self, muted: bool) -> None:
        """``True`` before inputs are processed again whose outputs are dropped, ``False`` after the last of them.

        A muted stage leaves its effects out, and the outputs that depend on them; its state goes on as always.
        """
        ...
