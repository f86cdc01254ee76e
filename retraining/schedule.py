"""The scheduler: writes a tick onto ``commands`` when the pipeline's schedule is due."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import structlog

from penstock.clock import Clock
from penstock.contract import decoder_for
from penstock.cron import parse_cron
from penstock.errors import LogUnavailableError, OffsetOutOfRangeError
from penstock.events import Decision, TickCommand, encode
from penstock.log.following import Follower
from penstock.log.port import Log, Message, Record, TopicPartition
from penstock.spec import Pipeline
from retraining.asking import AT_LATEST

CHECK_EVERY_S = 1.0
#: Whose oldest record says since when the pipeline has been there.
_WITNESSES = ("decisions", "commands", "metrics")

_log = structlog.get_logger("penstock.retraining.schedule")


class Scheduler:
    """Follows ``commands`` and ``decisions``, and writes the ticks that are due by the wall clock.

    A tick's id names its schedule and due time, so any number of schedulers may run: the retrainer decides on an id
    once. Of several due times that were missed, the newest is written; none is written that lies before the pipeline's
    oldest record. ``at_latest`` is due so long after the newest of: a run's start, a tick of its own that was decided
    on, the pipeline's oldest record. Belongs to one thread.
    """

    def __init__(self, pipeline: Pipeline, log: Log, clock: Clock) -> None:
        self._pipeline, self._log, self._clock = pipeline, log, clock
        policy = pipeline.retraining
        self._cron = None if policy.schedule is None else parse_cron(policy.schedule)
        self._decoders = {topic: decoder_for(topic, pipeline) for topic in ("commands", "decisions")}
        self._follower: Follower | None = None
        self._caught_up = False
        self._written: dict[str, int] = {}
        self._decided: set[str] = set()
        self._since_ms = self._last_run_ms = clock.now_ms()
        self._not_before_s = 0.0

    def step(self) -> bool:
        """Write what is due; True when something was. It looks once a second, however often it is called."""
        if self._clock.monotonic_s() < self._not_before_s:
            return False
        self._not_before_s = self._clock.monotonic_s() + CHECK_EVERY_S
        try:
            self._follow()
            ticks = list(self._due(self._clock.now_ms()))
            if ticks:
                self._log.append([Message("commands", tick.id.encode(), encode(tick)) for tick in ticks])
        except LogUnavailableError as error:
            _log.warning("schedule postponed", error=str(error))
            return False
        for tick in ticks:
            self._note_tick(tick)
        return bool(ticks)

    def upcoming(self) -> list[TickCommand]:
        """The next tick of each schedule, the earliest first; one that is overdue is there with its time.

        Raises:
            LogUnavailableError: try again.
        """
        self._follow()
        now_ms, policy, ticks = self._clock.now_ms(), self._pipeline.retraining, []
        if policy.schedule is not None and self._cron is not None:
            ticks.append(self._tick(policy.schedule, self._cron.next(now_ms)))
        if policy.at_latest_ms is not None:
            ticks.append(self._tick(AT_LATEST, self._last_run_ms + policy.at_latest_ms))
        return sorted(ticks, key=lambda tick: tick.at_ms)

    def close(self) -> None:
        """Stop following the log. Idempotent."""
        if self._follower is not None:
            self._follower.close()

    def _due(self, now_ms: int) -> Iterator[TickCommand]:
        policy, due_ms = self._pipeline.retraining, []
        if policy.schedule is not None and self._cron is not None:
            due_ms.append((policy.schedule, self._cron.last(now_ms)))
        if policy.at_latest_ms is not None:
            due_ms.append((AT_LATEST, self._last_run_ms + policy.at_latest_ms))
        for schedule, at_ms in due_ms:
            tick = self._tick(schedule, at_ms)
            newest = self._written.get(schedule, self._since_ms)
            if newest < at_ms <= now_ms and f"tick:{tick.id}" not in self._decided:
                yield tick

    def _tick(self, schedule: str, at_ms: int) -> TickCommand:
        return TickCommand(id=f"{self._prefix(schedule)}{at_ms}", at_ms=at_ms, schedule=schedule)

    def _prefix(self, schedule: str) -> str:
        return f"{self._pipeline.name}-{'_'.join(schedule.split())}-"

    def _follow(self) -> None:
        """Read what is new; the first time, all that there is."""
        if self._follower is None:
            self._since_ms = self._last_run_ms = min((self._since_ms, *self._oldest()))
            self._follower = Follower(self._log, dict.fromkeys(self._decoders))
        if not self._caught_up:
            for records in self._follower.history():
                self._note(records)
            self._caught_up = True
        while records := self._follower.poll(0.0):
            self._note(records)

    def _oldest(self) -> Iterator[int]:
        for topic in _WITNESSES:
            partition = TopicPartition(topic, 0)
            bounds = self._log.bounds(partition)
            with suppress(OffsetOutOfRangeError):  # retention went on meanwhile; another topic tells as well
                for record in self._log.read(partition, bounds.first, bounds.end, 1):
                    yield record.timestamp_ms

    def _note(self, records: list[Record]) -> None:
        for record in records:
            event = self._decoders[record.topic](record.value)
            if isinstance(event, TickCommand):
                self._note_tick(event)
            elif isinstance(event, Decision):
                own = event.trigger.startswith(f"tick:{self._prefix(AT_LATEST)}")
                if event.step == "triggered" or own:
                    self._last_run_ms = max(self._last_run_ms, record.timestamp_ms)
                if event.trigger.startswith("tick:"):
                    self._decided.add(event.trigger)

    def _note_tick(self, tick: TickCommand) -> None:
        self._written[tick.schedule] = max(tick.at_ms, self._written.get(tick.schedule, tick.at_ms))
