"""Every implementation of the log passes the one suite."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from penstock.clock import Clock
from penstock.log.embedded import EmbeddedLog
from penstock.log.memory import MemoryLog
from penstock.log.port import Log
from penstock.testing import log_conformance
from penstock.testing.log_conformance import Check
from penstock.testing.log_subject import Subject
from tests.conformance import test_kafka_log

IMPLEMENTATIONS = {"memory": MemoryLog, "embedded": EmbeddedLog}
ALL_CHECKS = log_conformance.CHECKS + log_conformance.CLOCK_CHECKS + log_conformance.MAINTENANCE_CHECKS


@pytest.fixture
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Subject:
    name: str = request.param
    numbers = itertools.count()

    def open_memory(clock: Clock) -> Log:
        return MemoryLog(clock)

    def open_embedded(clock: Clock) -> Log:
        return EmbeddedLog(tmp_path / f"{next(numbers)}" / "log.db", "pipe", clock)

    def maintain(log: Log) -> None:
        assert isinstance(log, MemoryLog | EmbeddedLog)
        log.maintain()

    opener = {"memory": open_memory, "embedded": open_embedded}[name]
    return Subject(name, IMPLEMENTATIONS[name], opener, maintain)


def name_of(check: Check) -> str:
    return check.__name__.removeprefix("check_")


@pytest.mark.parametrize("subject", IMPLEMENTATIONS, indirect=True)
@pytest.mark.parametrize("check", ALL_CHECKS, ids=name_of)
def test_conformance(check: Check, subject: Subject) -> None:
    check(subject)


def test_no_implementation_escapes() -> None:
    tested = {*IMPLEMENTATIONS.values(), *test_kafka_log.ADAPTERS.values()}
    assert log_conformance.implementations() == tested


def test_the_suite_has_its_checks() -> None:
    assert len(log_conformance.CHECKS) >= 25
    assert len(log_conformance.CLOCK_CHECKS) == 1
    assert len(log_conformance.MAINTENANCE_CHECKS) == 2
