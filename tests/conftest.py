"""Rules for the whole suite: in CI nothing is skipped, but for tests of data that CI does not have."""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest
import structlog

#: Reasons to skip that CI accepts; they are listed at the end of the run all the same.
ACCEPTED = ("PENSTOCK_DATASETS_DIR",)


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
