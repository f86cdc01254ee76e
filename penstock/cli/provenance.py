"""Where a model version came from: the records that led to it, each with its place in the log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import msgspec

from online.policy.advice import moment
from penstock.cli.evaluation import records
from penstock.contract import decoder_for
from penstock.errors import ContractError
from penstock.events import Alert, Decision, Drift, ModelRecord
from penstock.log.port import Log, Record
from penstock.models.slot import ONLINE
from penstock.spec import Pipeline
from penstock.topology import DAY_MS, TOPICS


class Placed(NamedTuple):
    """An event, and the record that holds it."""

    record: Record
    event: Any


class Link(NamedTuple):
    """One step on the way. ``offset`` None: the log holds no record of it, and ``text`` says why."""

    what: str
    text: str
    topic: str = ""
    partition: int | None = None
    offset: int | None = None
    appended_ms: int | None = None
    event: Any = None

    @property
    def line(self) -> str:
        """The link for people."""
        place = "–" if self.offset is None else f"{self.topic}/{self.partition}:{self.offset}"
        when = "" if self.appended_ms is None else f"{moment(self.appended_ms)}  "
        return f"{self.what:<18} {place:<24} {when}{self.text}"


def link(what: str, placed: Placed, text: str) -> Link:
    """The step that ``placed`` is."""
    record = placed.record
    event = msgspec.to_builtins(placed.event)
    return Link(what, text, record.topic, record.partition, record.offset, record.timestamp_ms, event)


def missing(what: str, text: str) -> Link:
    """A step of which the log holds no record."""
    return Link(what, text)


def retention(topic: str) -> str:
    """For how long records of ``topic`` are kept, in words."""
    kept = TOPICS[topic].retention_ms
    return "for ever" if kept is None else f"{kept // DAY_MS} days"


def placed(log: Log, pipeline: Pipeline, topic: str) -> list[Placed]:
    """All events of a topic of one partition that keep their contract, oldest first."""
    decode = decoder_for(topic, pipeline)
    found = []
    for record in records(log, topic):
        try:
            found.append(Placed(record, decode(record.value)))
        except ContractError:
            continue
    return found


def made_by(decisions: Sequence[Placed], version: str) -> str:
    """The id of the run that made batch ``version``; empty where none did."""
    named = [d.event for d in decisions if d.event.version == version]
    made = (event for step in ("registered", "trained") for event in named if event.step == step)
    return next((event.run_id for event in [*made, *named]), "")


def version_links(log: Log, pipeline: Pipeline, decisions: Sequence[Placed], version: str) -> list[Link]:
    """What triggered the run of batch ``version``, its data, gates and approval, and what became of it."""
    run_id = made_by(decisions, version)
    own = [d for d in decisions if d.event.version == version or (run_id and d.event.run_id == run_id)]
    triggers = list(dict.fromkeys(d.event.trigger for d in own if d.event.step == "triggered"))
    links = [found for trigger in triggers for found in trigger_links(log, pipeline, trigger)]
    for d in own:
        links.append(link(d.event.step, d, decision_text(d.event)))
    if own and not any(d.event.step == "approved" for d in own):
        links.append(missing("approver", "nobody was asked: the gates and the comparison decided"))
    return links


def decision_text(decision: Decision) -> str:
    """A decision in one line: what, who, why, on which data, past which gates."""
    parts = [f"{decision.version or decision.run_id} ({decision.trigger})", decision.reason]
    if decision.by:
        parts.insert(1, f"by {decision.by}")
    if decision.data is not None:
        ranges = ", ".join(f"examples/{p}:{start}-{stop}" for p, (start, stop) in sorted(decision.data.offsets.items()))
        parts.append(f"data {ranges} ({decision.data.rows} rows)")
    verdicts = {True: "passed", False: "FAILED", None: "reported"}
    for gate in decision.gates:
        parts.append(f"gate {gate.name} {verdicts[gate.passed]} ({gate.value} against {gate.threshold})")
    return "; ".join(parts)


def trigger_links(log: Log, pipeline: Pipeline, trigger: str) -> list[Link]:
    """The drift events or the command behind a trigger, as far as the log still holds them."""
    kind, _, identity = trigger.partition(":")
    if kind == "drift":
        found = [d for d in placed(log, pipeline, "drift") if cast(Drift, d.event).id == identity]
        told = (
            f"incident {identity} is no longer in the log (drift is kept {retention('drift')}); the decisions keep why"
        )
        return [link("drift", d, _drift_text(d.event)) for d in found] or [missing("drift", told)]
    if kind in ("command", "schedule", "tick"):
        found = [d for d in placed(log, pipeline, "commands") if d.event.id == identity]
        told = f"{identity} is no longer in the log (commands are kept {retention('commands')}); the decisions keep who"
        return [link("command", d, _command_text(d.event)) for d in found[:1]] or [missing("command", told)]
    return [missing("trigger", f"{trigger}: it followed from the metrics; the decision says how")]


def _drift_text(drift: Drift) -> str:
    where = f" of {drift.feature}" if drift.feature else ""
    since = "" if drift.since_event_time_ms is None else f", since {moment(drift.since_event_time_ms)}"
    return (
        f"{drift.status}: {drift.level} {drift.kind} drift{where} ({drift.detector}, effect {drift.effect:.3f}){since}"
    )


def _command_text(command: Any) -> str:
    by = getattr(command, "by", "") or getattr(command, "schedule", "")
    reason = getattr(command, "reason", "")
    return f"{type(command).__name__.removesuffix('Command').lower()} by {by}{': ' + reason if reason else ''}"


def online_links(log: Log, pipeline: Pipeline, learned: int | None, before_ms: int | None) -> list[Link]:
    """The snapshots that were ``online`` after ``learned`` examples, by records appended up to ``before_ms``."""
    if learned == 0:
        return [missing("snapshot", "none yet: the prior answered, which has learned nothing")]
    held = [
        d
        for d in placed(log, pipeline, "models")
        if cast(ModelRecord, d.event).slot.startswith(f"{ONLINE}-")
        and (before_ms is None or d.record.timestamp_ms <= before_ms)
    ]
    parts = _parts(held, learned)
    if parts is None:
        gone = "models is compacted to the newest of each learner partition"
        return [missing("snapshot", f"online after {learned} examples: its record is no longer in the log ({gone})")]
    alerts = placed(log, pipeline, "alerts")
    links = []
    for d in parts:
        record = d.event
        partition = record.slot.removeprefix(f"{ONLINE}-")
        start, epoch = _epoch(alerts, partition, record.offset)
        text = f"learner partition {partition}: {record.snapshot} examples, "
        text += f"examples/{partition}:{start}-{record.offset + 1} ({epoch}); SHA-256 {record.digest}"
        links.append(link("snapshot", d, text))
    return links


def _parts(held: Sequence[Placed], learned: int | None) -> list[Placed] | None:
    """The snapshots, one per partition, that together have learned ``learned`` examples; the newest that do."""
    newest: dict[str, Placed] = {}
    found = None
    for d in held:
        newest[d.event.slot] = d
        if learned is None or sum(part.event.snapshot or 0 for part in newest.values()) == learned:
            found = [newest[slot] for slot in sorted(newest)]
    return found


def _epoch(alerts: Sequence[Placed], partition: str, offset: int) -> tuple[int, str]:
    prefix = f"new-epoch-learner-{partition}-"
    starts = [cast(Alert, d.event).id.removeprefix(prefix) for d in alerts if d.event.id.startswith(prefix)]
    began = [int(start) for start in starts if start.isdecimal() and int(start) <= offset]
    if began:
        return max(began), f"epoch {len(began)}, begun with --new-epoch"
    return 0, "epoch 0, from the first example; alerts of later ones are kept " + retention("alerts")
