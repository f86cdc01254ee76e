"""Rules for the whole suite: in CI nothing is skipped, but for tests of data that CI does not have."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from contextlib import ExitStack
from pathlib import Path

import pytest
import structlog

from tests.broker.absence import NO_KAFKA, need_java, no_kafka
from tests.broker.jars import NoBrokerError
from tests.broker.java import JavaBroker
from tests.broker.shared import Kafka, lease

#: Reasons to skip that CI accepts; they are listed at the end of the run all the same.
ACCEPTED = ("PENSTOCK_DATASETS_DIR",)


def pytest_configure(config: pytest.Config) -> None:
    """kafka-python reads its schemas in a way that Python 3.11 warns of and later versions do not."""
    config.addinivalue_line("filterwarnings", "ignore:(read|open)_text is deprecated:DeprecationWarning")


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Generator[Kafka]:
    """A Kafka broker that all tests of the run share (``.bootstrap``): name your pipeline uniquely, never stop it."""
    root = tmp_path_factory.getbasetemp()
    folder = (root.parent if "PYTEST_XDIST_WORKER" in os.environ else root) / "kafka"
    with ExitStack() as stack:
        try:
            broker = stack.enter_context(lease(folder))
        except NoBrokerError as error:
            lacking = str(error)
        else:
            yield broker
            return
    no_kafka(lacking)


@pytest.fixture
def own_broker(tmp_path: Path) -> Generator[Callable[[], JavaBroker]]:
    """Makes brokers (started) that the test may kill, restart and damage; always Java processes, gone at its end."""
    need_java()
    made: list[JavaBroker] = []

    def make() -> JavaBroker:
        try:
            made.append(JavaBroker(tmp_path / f"kafka-{len(made)}"))
        except NoBrokerError as error:
            no_kafka(error)
        made[-1].start()
        return made[-1]

    yield make
    for broker in made:
        broker.kill()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say loudly that Kafka was not tested."""
    skipped = [str(report.longrepr) for report in terminalreporter.getreports("skipped")]
    untested = [text for text in skipped if NO_KAFKA in text]
    if untested:
        why = untested[0].split(NO_KAFKA, 1)[1].strip(" :'\")")
        terminalreporter.section("KAFKA WAS NOT TESTED", sep="!", red=True)
        terminalreporter.line(f"{len(untested)} tests skipped: {NO_KAFKA}: {why}", red=True)


@pytest.fixture(autouse=True)
def _own_logging() -> Generator[None]:
    """A command that a test runs in process sets logging up for its captured streams: not for the tests after it."""
    yield
    structlog.reset_defaults()


def unaccepted(report: pytest.TestReport | pytest.CollectReport) -> str | None:
    """Why this report is a skip that CI must not pass over, or None."""
    if not report.skipped or hasattr(report, "wasxfail") or os.environ.get("CI") != "true":
        return None
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return None if any(word in reason for word in ACCEPTED) else reason


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip into a failure where nothing may be skipped."""
    report = yield
    reason = unaccepted(report)
    if reason is not None:
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped in CI: {reason}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for whole modules."""
    report = yield
    reason = unaccepted(report)
    if reason is not None:
        report.outcome = "failed"
        report.longrepr = f"{collector.nodeid} was skipped in CI: {reason}"
    return report
