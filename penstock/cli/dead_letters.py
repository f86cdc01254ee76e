"""``penstock dead-letters``: records that broke their contract: look at them, and send them back after a fix."""

from __future__ import annotations

import os
import sys
import time
import uuid
from collections import deque
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime
from typing import Annotated

import typer

from penstock.cli.compose import System
from penstock.cli.context import of, table
from penstock.cli.installation import installation, log_of
from penstock.cli.retrain import whoami
from penstock.errors import UsageError
from penstock.log.port import Log, TopicPartition
from penstock.runtime.dead_letters import TOPIC, DeadLetter, Source, read_dead_letter
from penstock.runtime.loop import group_name
from penstock.runtime.patience import Patience
from penstock.runtime.ranges import read_range
from penstock.runtime.replay import Replayer, replayed_sources
from penstock.testing.kill_points import kill_points_for
from penstock.topology import STAGES, TOPICS

app = typer.Typer(help="Records that broke their contract.", no_args_is_help=True)

WHERE = TopicPartition(TOPIC, 0)
#: Characters of a value that `show` prints; `--raw` writes all of it.
MOST_SHOWN = 2000
MOST_ERROR = 100
PATIENCE_S = 30.0

StageOption = Annotated[
    str | None, typer.Option("--stage", help="Only what this stage refused.", metavar="STAGE", show_default=False)
]


@app.command("list")
def list_letters(
    ctx: typer.Context,
    stage: StageOption = None,
    topic: Annotated[
        str | None, typer.Option("--topic", help="Only what was in this topic.", metavar="TOPIC", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="The newest so many.", metavar="N")] = 50,
) -> None:
    """The newest dead letters, oldest first: where they were, what is wrong, and whether they went back."""
    context = of(ctx)
    _known_stage(stage)
    if topic is not None and topic not in TOPICS:
        raise UsageError(f"dead-letters list: unknown topic {topic!r}; there are {', '.join(TOPICS)}")
    with log_of(context, context.pipeline()) as log:
        replayed = replayed_sources(log)
        found = (letter for letter in _all(log) if _fits(letter, stage, topic))
        rows = [_row(letter, replayed) for letter in deque(found, maxlen=limit)]
    columns = ["offset", "when", "state", "stage", "source", "size", "error"]
    texts = [{**row, "error": _cut(str(row["error"]), MOST_ERROR)} for row in rows]
    context.show(rows, table(list(texts), columns) or "no dead letters")


@app.command("show")
def show(
    ctx: typer.Context,
    offset: Annotated[int, typer.Argument(min=0, metavar="OFFSET")],
    raw: Annotated[bool, typer.Option("--raw", help="Only the value's bytes, as they are.")] = False,
) -> None:
    """One dead letter: headers, key and value (text, or hexadecimal where it is no UTF-8)."""
    context = of(ctx)
    with log_of(context, context.pipeline()) as log:
        letter = _one(log, offset)
        replayed = replayed_sources(log)
    if raw:
        sys.stdout.buffer.write(letter.record.value)
        sys.stdout.buffer.flush()
        return
    value, encoding = _readable(letter.record.value)
    key = None if letter.record.key is None else _readable(letter.record.key)[0]
    headers = [[name, _readable(text)[0]] for name, text in letter.record.headers]
    described = {**_row(letter, replayed), "headers": headers, "key": key, "value": value, "encoding": encoding}
    lines = [
        f"{offset}: {described['state']}, {described['when']}",
        *(f"{name}: {text}" for name, text in headers),
        f"key: {'none' if key is None else key}",
        f"value ({encoding}, {len(letter.record.value)} bytes):",
        _cut(value, MOST_SHOWN, " (--raw writes all of it)"),
    ]
    context.show(described, "\n".join(lines))


@app.command("replay")
def replay(
    ctx: typer.Context,
    offsets: Annotated[list[int] | None, typer.Argument(metavar="OFFSET", show_default=False)] = None,
    everything: Annotated[bool, typer.Option("--all", help="All that did not go back yet.")] = False,
    stage: StageOption = None,
) -> None:
    """Send dead letters back, byte for byte, to the topic and partition they were in. Do this after the fix.

    Each record goes back once, however often this is repeated, killed or run twice at a time. One that is still
    wrong becomes a new dead letter, which can go back again. A stage takes what comes back as it takes anything
    late: an id that it has seen by now is counted as a repeat, and a prediction or a label beyond the horizon is
    counted as too late and joined with nothing.
    """
    context = of(ctx)
    chosen = sorted(set(offsets or ()))
    if bool(chosen) == everything:
        raise UsageError("dead-letters replay: name offsets, or --all; `penstock dead-letters list` shows them")
    _known_stage(stage)
    with installation(context, context.pipeline()) as system:
        letters = [_wanted(system.log, offset, stage) for offset in chosen]
        outcome = _replayer(system).run(letters or (each for each in _all(system.log) if _fits(each, stage, None)))
    text = f"{outcome.replayed} went back; {outcome.before} had gone back before"
    if outcome.homeless:
        some = ", ".join(str(offset) for offset in outcome.homeless[:5])
        text += f"; {len(outcome.homeless)} cannot, they name no topic and partition of this pipeline ({some})"
    context.show(outcome._asdict(), text)


def _replayer(system: System) -> Replayer:
    return Replayer(
        log=system.log,
        group=group_name(system.pipeline.name, TOPIC),
        id=f"replay-{uuid.uuid4()}",
        by=whoami(),
        clock=system.clock,
        patience=Patience(system.clock, time.sleep, PATIENCE_S),
        reached=kill_points_for(TOPIC, os.environ),
    )


def _all(log: Log) -> Iterator[DeadLetter]:
    first, end = log.bounds(WHERE)
    return (read_dead_letter(record) for record in read_range(log, WHERE, first, end))


def _one(log: Log, offset: int) -> DeadLetter:
    first, end = log.bounds(WHERE)
    for record in read_range(log, WHERE, offset, min(offset + 1, end)) if offset >= first else ():
        return read_dead_letter(record)
    raise UsageError(
        f"dead letter {offset}: not there; the log holds {first} to {end}, see `penstock dead-letters list`"
    )


def _wanted(log: Log, offset: int, stage: str | None) -> DeadLetter:
    letter = _one(log, offset)
    if not _fits(letter, stage, None):
        raise UsageError(f"dead letter {offset}: refused by {letter.stage}, not by {stage}")
    if letter.source is None:
        raise UsageError(f"dead letter {offset}: it does not say where it was, so it cannot go back")
    return letter


def _fits(letter: DeadLetter, stage: str | None, topic: str | None) -> bool:
    source_topic = letter.source.topic if letter.source else None
    return stage in (None, letter.stage) and topic in (None, source_topic)


def _known_stage(stage: str | None) -> None:
    if stage is not None and stage not in STAGES:
        raise UsageError(f"dead-letters: unknown stage {stage!r}; there are {', '.join(STAGES)}")


def _row(letter: DeadLetter, replayed: AbstractSet[Source]) -> dict[str, object]:
    record, source = letter.record, letter.source
    return {
        "offset": record.offset,
        "when": datetime.fromtimestamp(record.timestamp_ms / 1000, UTC).isoformat(timespec="seconds"),
        "state": "replayed" if source in replayed else "waiting",
        "stage": letter.stage,
        "source": None if source is None else f"{source.topic}/{source.partition}:{source.offset}",
        "error": letter.message,
        "size": len(record.value),
    }


def _readable(data: bytes) -> tuple[str, str]:
    try:
        return data.decode(), "text"
    except UnicodeDecodeError:
        return data.hex(), "hex"


def _cut(text: str, most: int, note: str = "") -> str:
    return text if len(text) <= most else f"{text[:most]}… {len(text) - most} more characters{note}"
