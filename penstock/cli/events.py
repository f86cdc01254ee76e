"""``penstock events tail``: look into the log."""

from __future__ import annotations

import signal
import threading
from typing import Annotated

import msgspec
import typer

from penstock.cli.context import of, print_json
from penstock.cli.evaluation import records
from penstock.cli.installation import log_of
from penstock.errors import UsageError
from penstock.log.port import Record
from penstock.topology import TOPICS

app = typer.Typer(help="Look into the log.", no_args_is_help=True)
FOLLOW_WAIT_S = 0.5


@app.command("tail")
def tail(
    ctx: typer.Context,
    topic: Annotated[str, typer.Argument(help=f"One of: {' '.join(TOPICS)}.", metavar="TOPIC")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Wait for what comes next, until Ctrl-C.")] = False,
) -> None:
    """Print a topic's records, one JSON object per line."""
    context = of(ctx)
    if topic not in TOPICS:
        raise UsageError(f"events tail: unknown topic {topic!r}; there are {', '.join(TOPICS)}")
    with log_of(context, context.pipeline()) as log:
        if not follow:
            for record in records(log, topic):
                print_json(describe(record))
            return
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        following = log.tail([topic], from_start=True)
        while not stop.is_set():
            for record in following.poll(1000, FOLLOW_WAIT_S):
                print_json(describe(record))


def describe(record: Record) -> dict[str, object]:
    """A record for people and scripts: the value as JSON where it is JSON, else as text."""
    value: object
    try:
        msgspec.json.decode(record.value)
        value = msgspec.Raw(record.value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        value = record.value.decode(errors="replace")
    described: dict[str, object] = {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp_ms": record.timestamp_ms,
        "key": None if record.key is None else record.key.decode(errors="replace"),
        "value": value,
    }
    if record.headers:
        described["headers"] = {name: text.decode(errors="replace") for name, text in record.headers}
    return described
