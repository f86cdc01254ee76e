"""Logging and metrics. Metric names are one closed, typed set, described where they are declared."""

from __future__ import annotations

import logging
import sys
from enum import StrEnum

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from penstock.settings import Settings


class CounterName(StrEnum):
    """Counters (Prometheus adds ``_total``). The text is the help shown by ``/metrics``."""

    RECORDS = "penstock_records"
    DEAD_LETTERS = "penstock_dead_letters"
    COMMITS = "penstock_commits"
    STAGE_EVENTS = "penstock_stage_events"
    HTTP_REQUESTS = "penstock_http_requests"
    PREDICTIONS = "penstock_predictions"
    SWAPS = "penstock_swaps"
    FALLBACKS = "penstock_fallbacks"
    MESSAGES = "penstock_messages"


class GaugeName(StrEnum):
    """Gauges."""

    GENERATION = "penstock_generation"
    CHECKPOINT_BYTES = "penstock_checkpoint_bytes"
    STREAM_CLIENTS = "penstock_stream_clients"


class HistogramName(StrEnum):
    """Histograms, in seconds."""

    BATCH_SECONDS = "penstock_batch_seconds"
    COMMIT_SECONDS = "penstock_commit_seconds"
    HTTP_SECONDS = "penstock_http_seconds"


HELP: dict[str, tuple[str, tuple[str, ...]]] = {
    CounterName.RECORDS: ("Records consumed and committed.", ("stage",)),
    CounterName.DEAD_LETTERS: ("Records that broke their contract.", ("stage",)),
    CounterName.COMMITS: ("Transactions committed.", ("stage",)),
    CounterName.STAGE_EVENTS: (
        "What stages counted: repeats, late, early, orphan labels and the like.",
        ("stage", "what"),
    ),
    CounterName.HTTP_REQUESTS: ("HTTP requests answered.", ("route", "status")),
    CounterName.PREDICTIONS: ("Predictions answered over HTTP.", ("version",)),
    CounterName.SWAPS: ("Model swaps, by outcome.", ("slot", "outcome")),
    CounterName.FALLBACKS: (
        "Requests that another version answered because the champion could not score.",
        ("version", "answered_by"),
    ),
    CounterName.MESSAGES: ("Messages to people, by whether the target took them.", ("target", "outcome")),
    GaugeName.GENERATION: ("Generation of the champion that is served.", ()),
    GaugeName.CHECKPOINT_BYTES: ("Size of the newest checkpoint.", ("stage",)),
    GaugeName.STREAM_CLIENTS: ("Open event streams.", ()),
    HistogramName.BATCH_SECONDS: ("Time to process one batch.", ("stage",)),
    HistogramName.COMMIT_SECONDS: ("Time to commit one transaction.", ("stage",)),
    HistogramName.HTTP_SECONDS: ("Time to answer an HTTP request.", ("route",)),
}


class Telemetry:
    """The metrics of one process, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._counters = {name: Counter(name, *HELP[name], registry=self.registry) for name in CounterName}
        self._gauges = {name: Gauge(name, *HELP[name], registry=self.registry) for name in GaugeName}
        self._histograms = {name: Histogram(name, *HELP[name], registry=self.registry) for name in HistogramName}

    def count(self, name: CounterName, amount: float = 1, **labels: str) -> None:
        """Add ``amount`` (≥ 0) to a counter."""
        counter = self._counters[name]
        (counter.labels(**labels) if labels else counter).inc(amount)

    def gauge(self, name: GaugeName, value: float, **labels: str) -> None:
        """Set a gauge."""
        gauge = self._gauges[name]
        (gauge.labels(**labels) if labels else gauge).set(value)

    def observe(self, name: HistogramName, seconds: float, **labels: str) -> None:
        """Add one observation in seconds."""
        histogram = self._histograms[name]
        (histogram.labels(**labels) if labels else histogram).observe(seconds)


def configure_logging(settings: Settings) -> None:
    """Log lines to standard error: for people by default, JSON by setting."""
    renderer = (
        structlog.processors.JSONRenderer()
        if settings.log_json
        # plain: Rich's tracebacks show local variables, which may be people's data or a key
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, settings.log_level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
