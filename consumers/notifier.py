"""Alerts to people: an effect outside the transactions of the log, written down in ``notifications``.

What is promised: each alert reaches each target of its severity, as soon as the target takes it, if that is within
`GIVE_UP_AFTER_MS` of the alert; once, unless the process dies between a sending and its record, or the role moves while
one is under way: then again. A target that is away is tried again with back-off and delays no other. In a storm, what
is beyond `BURST` messages a minute comes as one digest.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias, cast

import structlog

from consumers.outbox import Outbox, Waiting
from penstock.clock import Clock
from penstock.contract import decoder_for
from penstock.errors import ContractError, LogUnavailableError
from penstock.events import Alert, Notification, encode
from penstock.log.following import Follower
from penstock.log.port import Log, Message, Record
from penstock.spec import Pipeline
from penstock.telemetry import CounterName, Telemetry

Severity: TypeAlias = Literal["info", "warning", "critical"]
SEVERITIES: tuple[Severity, ...] = ("info", "warning", "critical")

#: Messages that a target gets one by one within `BURST_S`; what comes beyond waits, and is told in one.
BURST = 5
BURST_S = 60.0
FIRST_RETRY_S = 2.0
LONGEST_RETRY_S = 300.0
GIVE_UP_AFTER_MS = 86_400_000
#: Alerts that a digest names; it counts the others.
NAMED = 20

_log = structlog.get_logger("penstock.notifier")


class Target(Protocol):
    """A place where people read. ``name`` is stable, and without what is secret in the address."""

    @property
    def name(self) -> str:
        """What records and log lines call it."""
        ...

    def send(self, title: str, body: str, severity: Severity) -> str:
        """Send a message; why it was not taken, or an empty text. Blocks for seconds at most, and never raises."""
        ...


Routes: TypeAlias = Mapping[Severity, Sequence[Target]]


@dataclass(slots=True)
class _Line:
    """How it goes with one target. Times are of the monotonic clock."""

    target: Target
    severities: frozenset[str]
    sent_s: deque[float] = field(default_factory=lambda: deque(maxlen=BURST))
    failures: int = 0
    not_before_s: float = 0.0
    error: str = ""

    def room(self, now_s: float) -> int:
        """Messages that it may get now."""
        return BURST - sum(now_s - sent < BURST_S for sent in self.sent_s)


def written(alerts: Sequence[Alert]) -> tuple[str, str, Severity]:
    """Title, body and severity of the message that tells ``alerts`` (at least one; several: a digest)."""
    if len(alerts) == 1:
        (alert,) = alerts
        more = f"\n\npenstock incidents show {alert.incident}" if alert.incident else ""
        return alert.title, f"{alert.detail}{more}", alert.severity
    severity = max((alert.severity for alert in alerts), key=SEVERITIES.index)
    counts = [(name, sum(alert.severity == name for alert in alerts)) for name in reversed(SEVERITIES)]
    title = f"{len(alerts)} alerts: " + ", ".join(f"{count} {name}" for name, count in counts if count)
    ranked = sorted(alerts, key=lambda alert: -SEVERITIES.index(alert.severity))
    lines = [f"- {alert.severity}: {alert.title}" for alert in ranked[:NAMED]]
    if len(alerts) > NAMED:
        lines.append(f"- and {len(alerts) - NAMED} more: penstock events tail alerts")
    return title, "\n".join(lines), severity


class Notifier:
    """Follows ``alerts`` and tells each to the targets of its severity.

    What waits is a fold of the log (`Outbox`), so that a restart, or another process, goes on where this one stopped.
    Belongs to one thread; ``step`` blocks for as long as a target takes to answer, or up to ``wait_s``.
    """

    def __init__(self, pipeline: Pipeline, log: Log, routes: Routes, clock: Clock, telemetry: Telemetry) -> None:
        self._log, self._clock, self._telemetry = log, clock, telemetry
        self._routes: dict[Severity, frozenset[str]] = {
            severity: frozenset(target.name for target in routes.get(severity, ())) for severity in SEVERITIES
        }
        targets = {target.name: target for severity in SEVERITIES for target in routes.get(severity, ())}
        self._lines = [
            _Line(target, frozenset(severity for severity in SEVERITIES if name in self._routes[severity]))
            for name, target in targets.items()
        ]
        self._follower = Follower(log, {"alerts": None, "notifications": None})
        self._decoders = {topic: decoder_for(topic, pipeline) for topic in ("alerts", "notifications")}
        self._outbox = Outbox()
        self._unrecorded: list[Notification] = []
        self._caught_up = False

    def step(self, wait_s: float = 0.0) -> bool:
        """Read what is new and send what may be sent; True when something was.

        1. What was sent and could not be written down is written down. 2. New alerts. 3. What nobody is to be told, or
        is too old. 4. One message to each target that has something to hear and may get it now.
        """
        try:
            self._record()
            self._follow(wait_s)
            self._close_unsendable()
            told = [self._tell(line) for line in self._lines]
        except LogUnavailableError as error:
            _log.warning("log away, will try again", why=str(error))
            return False
        return any(told)

    def close(self) -> None:
        """Stop following the log. Idempotent."""
        self._follower.close()

    def _follow(self, wait_s: float) -> None:
        if not self._caught_up:
            for records in self._follower.history():
                self._take(records)
            self._caught_up = True
        while records := self._follower.poll(wait_s):
            wait_s = 0.0
            self._take(records)

    def _take(self, records: Sequence[Record]) -> None:
        for record in records:
            try:
                event = self._decoders[record.topic](record.value)
            except ContractError as error:
                _log.warning("passed over", topic=record.topic, offset=record.offset, why=str(error))
                continue
            if record.topic == "alerts":
                self._outbox.raise_(cast(Alert, event), record.timestamp_ms)
            else:
                self._outbox.settle(cast(Notification, event))

    def _close_unsendable(self) -> None:
        waiting = self._outbox.waiting
        unrouted = [held.alert.id for held in waiting if not self._routes[held.alert.severity]]
        if unrouted:
            self._note("unrouted", unrouted, settled=unrouted)
        oldest_ms = self._clock.now_ms() - GIVE_UP_AFTER_MS
        stale = [held.alert.id for held in waiting if held.raised_ms < oldest_ms and held.alert.id not in unrouted]
        if stale:
            why = "; ".join(f"{line.target.name}: {line.error}" for line in self._lines if line.error)
            _log.error("alerts given up", alerts=len(stale), why=why)
            self._note("given_up", stale, settled=stale, error=why or "older than 24 h when first seen")

    def _tell(self, line: _Line) -> bool:
        now_s, name = self._clock.monotonic_s(), line.target.name
        room = line.room(now_s)
        due = [held for held in self._outbox.waiting if self._concerns(line, held)]
        if not due or room <= 0 or now_s < line.not_before_s:
            return False
        alerts = [held.alert for held in (due[:1] if len(due) <= room else due)]
        error = line.target.send(*written(alerts))
        self._telemetry.count(CounterName.MESSAGES, target=name, outcome="failed" if error else "sent")
        if error:
            line.failures += 1
            delay_s = min(LONGEST_RETRY_S, FIRST_RETRY_S * 2.0 ** min(line.failures - 1, 20))
            line.not_before_s, line.error = self._clock.monotonic_s() + delay_s, error
            _log.warning("not sent", target=name, why=error, retry_in_s=delay_s, alerts=len(alerts))
            return False
        identities = [alert.id for alert in alerts]
        settled = [alert.id for alert in alerts if self._routes[alert.severity] <= self._outbox.told(alert.id) | {name}]
        self._note("sent", identities, target=name, attempts=line.failures + 1, settled=settled)
        line.sent_s.append(self._clock.monotonic_s())
        line.failures, line.error = 0, ""
        return True

    def _concerns(self, line: _Line, held: Waiting) -> bool:
        return held.alert.severity in line.severities and line.target.name not in self._outbox.told(held.alert.id)

    def _note(
        self,
        status: Literal["sent", "given_up", "unrouted"],
        alerts: list[str],
        *,
        settled: list[str],
        target: str = "",
        attempts: int = 0,
        error: str = "",
    ) -> None:
        digest = hashlib.sha256("\n".join([status, target, *alerts]).encode()).hexdigest()
        notification = Notification(
            id=digest[:16],
            alerts=alerts,
            status=status,
            at_ms=self._clock.now_ms(),
            target=target,
            attempts=attempts,
            settled=settled,
            error=error,
        )
        self._outbox.settle(notification)  # at once: what was sent is not sent again because the log is away
        self._unrecorded.append(notification)
        self._record()

    def _record(self) -> None:
        while self._unrecorded:
            notification = self._unrecorded[0]
            self._log.append([Message("notifications", notification.id.encode(), encode(notification))])
            del self._unrecorded[0]
