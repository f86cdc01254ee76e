"""``penstock trace``: who answered a request, with which model, why that one, and what became of it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from typing import Annotated, Any, cast

import msgspec
import typer

from penstock.cli.context import of
from penstock.cli.installation import log_of
from penstock.cli.provenance import Link, Placed, link, missing, online_links, placed, retention, version_links
from penstock.contract import decoder_for
from penstock.errors import ContractError, UsageError
from penstock.events import Example, Prediction
from penstock.log.partitioner import partition_for
from penstock.log.port import Log, Record, TopicPartition
from penstock.log.search import Match, first_at, newest, oldest
from penstock.models.slot import ONLINE
from penstock.spec import Pipeline

#: Ids that are spelt in one way only in JSON, so that a record without the spelling need not be decoded.
_PLAIN = re.compile(r"[A-Za-z0-9 !#-.:-@\[\]-~]+")

#: Append times of two partitions may come from two clocks.
SKEW_MS = 10_000


class _Id(msgspec.Struct):
    id: str = ""


def has_id(identity: str) -> Match:
    """Whether a record's value has this ``id``."""
    decoder, spelt = msgspec.json.Decoder(_Id), identity.encode() if _PLAIN.fullmatch(identity) else b""

    def match(record: Record) -> bool:
        if spelt not in record.value:
            return False
        try:
            return decoder.decode(record.value).id == identity
        except (msgspec.DecodeError, UnicodeDecodeError):
            return False

    return match


def trace(
    ctx: typer.Context,
    identity: Annotated[str, typer.Argument(metavar="PREDICTION_ID")],
    entity: Annotated[
        str | None, typer.Option("--entity", help="Its entity: then one partition is searched, not all.", metavar="ID")
    ] = None,
) -> None:
    """Where an answer came from: request, model, training run, data, drift, gates, approver; and its label's outcome.

    Exit 2 where no prediction of this id is in the log.
    """
    context = of(ctx)
    pipeline = context.pipeline()
    started_s = time.monotonic()
    with log_of(context, pipeline) as log:
        found = find_prediction(log, pipeline, identity, entity)
        if found is None:
            raise UsageError(
                f"trace: no prediction {identity!r} in the log; predictions are kept {retention('predictions')}"
            )
        links = trace_links(log, pipeline, found)
    took = round(time.monotonic() - started_s, 3)
    shown = {"id": identity, "links": [described._asdict() for described in links], "seconds": took}
    context.show(shown, "\n".join(described.line for described in links))


def find_prediction(log: Log, pipeline: Pipeline, identity: str, entity: str | None = None) -> Placed | None:
    """The newest prediction of ``identity``, searched from the newest record of its partition back.

    Where requests have no entity, the id says the partition; otherwise ``entity`` does, or all are searched.
    """
    key = identity if pipeline.entity is None else entity
    partitions = log.partitions("predictions")
    numbers = range(partitions) if key is None else [partition_for(key.encode(), partitions)]
    decode, match = decoder_for("predictions", pipeline), has_id(identity)
    for number in numbers:
        record = newest(log, TopicPartition("predictions", number), match)
        if record is not None:
            return Placed(record, decode(record.value))
    return None


def trace_links(log: Log, pipeline: Pipeline, found: Placed) -> list[Link]:
    """All that led to a prediction, and all that came of it."""
    prediction: Prediction = found.event
    decisions = placed(log, pipeline, "decisions")
    links = [_request(log, pipeline, found), link("prediction", found, _answer(prediction))]
    links.append(_reign(decisions, prediction, found.record.timestamp_ms))
    if prediction.version == ONLINE:
        links += online_links(log, pipeline, prediction.snapshot, found.record.timestamp_ms)
    else:
        links += version_links(log, pipeline, decisions, prediction.version)
    return [*links, *_outcome(log, pipeline, found)]


def _answer(prediction: Prediction) -> str:
    score = prediction.score if prediction.scores is None else prediction.scores
    snapshot = f", snapshot after {prediction.snapshot} examples" if prediction.snapshot is not None else ""
    who = f"{prediction.version} (generation {prediction.generation}, {prediction.role}{snapshot})"
    return f"{who} answered {prediction.decision}, score {score}"


def _request(log: Log, pipeline: Pipeline, found: Placed) -> Link:
    """The newest request of the id that was appended before its prediction, in the same partition."""
    where = TopicPartition("requests", found.record.partition)
    stop = first_at(log, where, found.record.timestamp_ms + SKEW_MS)
    record = newest(log, where, has_id(found.event.id), stop)
    if record is None:
        why = (
            f"not in the log: asked over HTTP (the prediction holds all it said), or older than {retention('requests')}"
        )
        return missing("request", why)
    return _client("request", record, pipeline, lambda request: f"{len(request.features)} features")


def _reign(decisions: Sequence[Placed], prediction: Prediction, before_ms: int) -> Link:
    """The decision by which the version answered then, in its role."""
    name, version = prediction.role, prediction.version
    if prediction.role == "champion":
        crowned = [
            d
            for d in decisions
            if d.event.step in ("promoted", "rolled_back") and d.event.generation == prediction.generation
        ]
        if not crowned:
            return missing(name, f"generation {prediction.generation}: {ONLINE} serves until a model wins its place")
        d = crowned[0]
        by = f" by {d.event.by}" if d.event.by else ""
        instead = "" if d.event.version in ("", version) else f"; {version} answered in its stead, as it could not"
        return link(name, d, f"{d.event.version} serves since it was {d.event.step}{by}{instead}: {d.event.reason}")
    tried = [d for d in decisions if (d.event.version, d.event.step) == (version, name)]
    tried = [d for d in tried if d.record.timestamp_ms <= before_ms]
    if not tried:
        return missing(name, f"no decision says why {version} was a {name} then")
    share = f", {tried[-1].event.model.share:.0%} of the entities" if tried[-1].event.model else ""
    return link(name, tried[-1], f"{version}{share}: {tried[-1].event.reason}")


def _outcome(log: Log, pipeline: Pipeline, found: Placed) -> list[Link]:
    """The label and the example that it became, if it has come."""
    prediction, record = found.event, found.record
    where = TopicPartition("examples", record.partition)
    start = first_at(log, where, record.timestamp_ms - SKEW_MS)
    made = oldest(log, where, has_id(prediction.id), start)
    if made is None:
        return [missing("label", f"none has met it yet (or the example is older than {retention('examples')})")]
    example = cast(Example, decoder_for("examples", pipeline)(made.value))
    notes = [f"it was {example.value}"]
    if pipeline.task != "regression":
        notes.append("as answered" if example.value == prediction.decision else f"answered {prediction.decision}")
    if example.revision:
        notes.append(f"revision {example.revision}: reported, never learned")
    if (example.prediction.version, example.prediction.event_time_ms) != (prediction.version, prediction.event_time_ms):
        notes.append("the id was answered more than once: the label met another answer")
    return [_label(log, pipeline, made, prediction.id), link("example", Placed(made, example), "; ".join(notes))]


def _label(log: Log, pipeline: Pipeline, made: Record, identity: str) -> Link:
    where = TopicPartition("labels", made.partition)
    record = newest(log, where, has_id(identity), first_at(log, where, made.timestamp_ms + SKEW_MS))
    if record is None:
        return missing("label", f"older than {retention('labels')}; the example holds its value")
    return _client("label", record, pipeline, lambda label: f"{label.value}")


def _client(what: str, record: Record, pipeline: Pipeline, text: Callable[[Any], str]) -> Link:
    """A record that a client wrote; under a spec that has changed since, it may break its contract."""
    try:
        event = decoder_for(record.topic, pipeline)(record.value)
    except ContractError as error:
        place = (record.topic, record.partition, record.offset, record.timestamp_ms)
        return Link(what, f"breaks its contract: {error}", *place)
    return link(what, Placed(record, event), text(event))
