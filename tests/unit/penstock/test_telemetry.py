from __future__ import annotations

import json

import pytest
import structlog
from prometheus_client import generate_latest

from penstock.settings import Settings
from penstock.telemetry import HELP, CounterName, GaugeName, HistogramName, Telemetry, configure_logging


@pytest.fixture
def log_lines(capsys: pytest.CaptureFixture[str]) -> object:
    """Restores structlog's defaults: its configuration is global."""
    yield capsys
    structlog.reset_defaults()


def test_every_metric_is_described() -> None:
    assert set(HELP) == {*CounterName, *GaugeName, *HistogramName}
    assert all(about.endswith(".") for about, _ in HELP.values())


def test_counts_gauges_and_durations_are_exposed() -> None:
    telemetry = Telemetry()
    telemetry.count(CounterName.RECORDS, 3, stage="joiner")
    telemetry.gauge(GaugeName.GENERATION, 2)
    telemetry.observe(HistogramName.BATCH_SECONDS, 0.5, stage="joiner")
    text = generate_latest(telemetry.registry).decode()
    assert 'penstock_records_total{stage="joiner"} 3.0' in text
    assert "penstock_generation 2.0" in text
    assert 'penstock_batch_seconds_sum{stage="joiner"} 0.5' in text


def test_a_wrong_label_is_an_error() -> None:
    with pytest.raises(ValueError, match="label"):
        Telemetry().count(CounterName.RECORDS, topic="requests")


def test_two_processes_in_one_do_not_share_metrics() -> None:
    one, other = Telemetry(), Telemetry()
    one.count(CounterName.COMMITS, stage="x")
    assert 'stage="x"' not in generate_latest(other.registry).decode()


def test_json_lines(log_lines: pytest.CaptureFixture[str]) -> None:
    configure_logging(Settings(log_json=True))
    structlog.get_logger().info("swapped", version="v1")
    structlog.get_logger().debug("hidden")
    (line,) = log_lines.readouterr().err.splitlines()
    entry = json.loads(line)
    assert (entry["event"], entry["version"], entry["level"]) == ("swapped", "v1", "info")


@pytest.mark.parametrize("as_json", [True, False])
def test_tracebacks_never_show_local_variables(as_json: bool, log_lines: pytest.CaptureFixture[str]) -> None:
    configure_logging(Settings(log_json=as_json))
    secret = "salary" + "=12345"
    try:
        _ = len(secret) / 0
    except ZeroDivisionError:
        structlog.get_logger().exception("failed")
    shown = log_lines.readouterr().err
    assert "ZeroDivisionError" in shown
    assert "12345" not in shown
