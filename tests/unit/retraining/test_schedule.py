"""The scheduler writes each due time once, over restarts and several processes."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from penstock.clock import VirtualClock
from penstock.errors import LogUnavailableError
from penstock.events import Command, Metrics, TickCommand, encode
from penstock.log.memory import MemoryLog
from penstock.log.port import Message, TopicConfig, TopicPartition
from penstock.runtime.stage import Input
from penstock.spec import DAY_MS, Numeric, Pipeline, RetrainingPolicy
from penstock.topology import TOPICS
from retraining.asking import AT_LATEST
from retraining.schedule import Scheduler
from retraining.service import Retrainer

SUNDAY_2AM = int(datetime(2026, 11, 22, 2, tzinfo=UTC).timestamp()) * 1000
WEEK_MS = 7 * DAY_MS
HOUR_MS = 3_600_000


class Installation:
    def __init__(self, start_ms: int, **policy: object) -> None:
        self.clock = VirtualClock(start_ms)
        self.log = MemoryLog(self.clock, [TopicConfig(name, 1) for name in TOPICS])
        self.pipeline = Pipeline(
            name="p",
            task="regression",
            target="y",
            features=(Numeric("x"),),
            retraining=RetrainingPolicy(**policy),  # type: ignore[arg-type]
        )
        self.retrainer = Retrainer(self.pipeline)
        self._decided = 0
        self.labelled = 0

    def scheduler(self) -> Scheduler:
        return Scheduler(self.pipeline, self.log, self.clock)

    def ticks(self) -> list[TickCommand]:
        where = TopicPartition("commands", 0)
        records = self.log.read(where, 0, self.log.bounds(where).end, 1000)
        found = [msgspec.json.decode(record.value, type=Command) for record in records]
        return [command for command in found if isinstance(command, TickCommand)]

    def write(self, topic: str, event: object) -> None:
        self.log.append([Message(topic, b"k", encode(event))])  # type: ignore[arg-type]

    def label(self, rows: int = 100) -> None:
        self.labelled += rows
        metrics = Metrics(
            stage="learner",
            partition=0,
            seen=self.labelled,
            record_id="r",
            event_time_ms=self.clock.now_ms(),
            generation=0,
            offset=self.labelled,
        )
        self.write("metrics", metrics)
        self.retrainer.process([Input("metrics", 0, 0, 0, metrics)])

    def decide(self) -> list[str]:
        """The retrainer reads the ticks that are new to it; the steps it decides on."""
        steps = []
        for tick in self.ticks()[self._decided :]:
            for output in self.retrainer.process([Input("commands", 0, 0, 0, tick)]):
                if output.topic == "decisions":
                    self.write("decisions", output.event)
                    steps.append(output.event.step)  # type: ignore[union-attr]
        self._decided = len(self.ticks())
        return steps


def later(scheduler: Scheduler, clock: VirtualClock, ms: int) -> bool:
    clock.advance_s(ms / 1000)
    return scheduler.step()


def test_a_tick_is_written_when_it_is_due_and_starts_a_run() -> None:
    here = Installation(SUNDAY_2AM - 2000)
    scheduler = here.scheduler()
    here.label()
    assert not scheduler.step()
    assert not later(scheduler, here.clock, 1999)
    assert not later(scheduler, here.clock, 1)  # it looks once a second
    assert later(scheduler, here.clock, 1000)
    assert [(tick.at_ms, tick.schedule) for tick in here.ticks()] == [(SUNDAY_2AM, "0 2 * * 0")]
    assert here.decide() == ["triggered"]
    assert not later(scheduler, here.clock, HOUR_MS)
    assert later(scheduler, here.clock, WEEK_MS)
    assert [tick.at_ms for tick in here.ticks()] == [SUNDAY_2AM, SUNDAY_2AM + WEEK_MS]


def test_several_processes_and_restarts_write_it_once() -> None:
    here = Installation(SUNDAY_2AM - 1000)
    here.label()
    several = [here.scheduler() for _ in range(3)]
    for scheduler in several:
        scheduler.step()
    here.clock.advance_s(2)
    assert [scheduler.step() for scheduler in several] == [True, False, False]
    assert not here.scheduler().step()
    assert here.decide() == ["triggered"]
    assert not later(here.scheduler(), here.clock, 5000)


def test_of_missed_ticks_the_newest_is_written_once() -> None:
    here = Installation(SUNDAY_2AM - HOUR_MS, at_latest_ms=None)
    here.label()
    here.clock.advance_s((3 * WEEK_MS + 2 * HOUR_MS) / 1000)
    scheduler = here.scheduler()
    assert scheduler.step()
    assert not later(scheduler, here.clock, 2000)
    assert [tick.at_ms for tick in here.ticks()] == [SUNDAY_2AM + 3 * WEEK_MS]


def test_a_new_pipeline_has_missed_nothing() -> None:
    here = Installation(SUNDAY_2AM + 1000)
    assert not here.scheduler().step()
    here.label()
    assert not later(here.scheduler(), here.clock, HOUR_MS)


def test_a_tick_whose_command_is_gone_is_known_by_its_decision() -> None:
    here = Installation(SUNDAY_2AM - 1000, at_latest_ms=None)
    here.label()
    assert later(here.scheduler(), here.clock, 1000)
    here.decide()
    other = Installation(SUNDAY_2AM - 1000, at_latest_ms=None)
    other.label()
    where = TopicPartition("decisions", 0)
    for record in here.log.read(where, 0, here.log.bounds(where).end, 10):
        other.log.append([Message("decisions", b"k", record.value)])
    assert not later(other.scheduler(), other.clock, 5000)


def test_at_the_latest_so_long_after_the_last_run() -> None:
    here = Installation(SUNDAY_2AM, schedule=None, at_latest_ms=30 * DAY_MS)
    here.label()
    scheduler = here.scheduler()
    assert not later(scheduler, here.clock, 30 * DAY_MS - 1000)
    assert later(scheduler, here.clock, 1000)
    assert [(tick.at_ms, tick.schedule) for tick in here.ticks()] == [(SUNDAY_2AM + 30 * DAY_MS, AT_LATEST)]
    assert here.decide() == ["triggered"]
    assert not later(scheduler, here.clock, 30 * DAY_MS - 1000)
    assert later(scheduler, here.clock, 1000)
    assert here.decide() == ["not_started"], "the run of the first has not ended"
    assert not later(scheduler, here.clock, 30 * DAY_MS - 1000)
    assert [tick.schedule for tick in scheduler.upcoming()] == [AT_LATEST]
    assert scheduler.upcoming()[0].at_ms == SUNDAY_2AM + 90 * DAY_MS


def test_both_can_be_switched_off() -> None:
    here = Installation(SUNDAY_2AM, schedule=None, at_latest_ms=None)
    here.label()
    assert not later(here.scheduler(), here.clock, 400 * DAY_MS)


def test_a_log_that_is_away_loses_no_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    here = Installation(SUNDAY_2AM - 1000)
    here.label()
    scheduler = here.scheduler()
    scheduler.step()

    def away(_: object) -> list[int]:
        raise LogUnavailableError("away")

    with monkeypatch.context() as patched:
        patched.setattr(here.log, "append", away)
        assert not later(scheduler, here.clock, 5000)
    assert later(scheduler, here.clock, 1000)
    assert [tick.at_ms for tick in here.ticks()] == [SUNDAY_2AM]
