"""Variants of a pipeline over one history: each as cheaply as its answer allows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, TypeAlias

from penstock.cli.context import table
from penstock.cli.detection import detection
from penstock.cli.evaluation import History, read_history
from penstock.cli.recorded_evidence import RecordedEvidence, recorded_evidence
from penstock.cli.report import build_report
from penstock.cli.rss import own_peak_mb
from penstock.cli.variants import Variant
from penstock.cli.virtual import run_virtual
from penstock.events import Drift
from penstock.spec import Pipeline
from producers.drifts import TrueDrift
from producers.schedule import Tick

Ticks: TypeAlias = Callable[[], Iterator[Tick]]
Drifts: TypeAlias = Callable[[int], Sequence[TrueDrift] | None]
Method: TypeAlias = Literal["run", "refold"]
#: What an incident keeps in a comparison.
INCIDENT = ("position", "closed_position", "kind", "level", "detector", "feature")
QUALITY = ("accuracy", "balanced_accuracy", "kappa", "log_loss", "mae", "rmse")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a variant came to: its ``history`` and the ``report`` made of it.

    ``method``: ``run`` (the whole pipeline in virtual time) or ``refold`` (the evidence of a run before it, through the
    incidents stage alone).
    """

    variant: Variant
    method: Method
    history: History
    report: dict[str, Any]
    elapsed_s: float


@dataclass(frozen=True, slots=True)
class _Run:
    """A run that others may be refolded from."""

    evidence: RecordedEvidence
    history: History


def run_variants(variants: Sequence[Variant], ticks: Ticks, drifts: Drifts) -> Iterator[Outcome]:
    """The outcome of each variant over the same ``ticks``, in order; ``drifts`` are those known in so many rows.

    A variant whose evidence would be that of a run before it is refolded from there; its incidents, retrainings,
    promotions and scores are those that a run of its own would have.
    """
    runs: list[_Run] = []
    for variant in variants:
        started = time.perf_counter()
        method: Method = "refold"
        history = _refolded(runs, variant.pipeline)
        elapsed_s = time.perf_counter() - started
        if history is None:
            method = "run"
            log = run_virtual(variant.pipeline, ticks(), lambda _: None).system.log
            elapsed_s = time.perf_counter() - started
            history = read_history(log, variant.pipeline)
            if variant is not variants[-1]:
                runs.append(_Run(recorded_evidence(log, variant.pipeline), history))
        known = drifts(len(history.rows.appended_ms))
        report = build_report(variant.pipeline, history, known, elapsed_s, own_peak_mb())
        yield Outcome(variant, method, history, report, elapsed_s)


def _refolded(runs: Sequence[_Run], pipeline: Pipeline) -> History | None:
    for run in runs:
        drift: list[tuple[int, Drift]] | None = run.evidence.refold(pipeline)
        if drift is not None:
            return replace(run.history, drift=drift)
    return None


def comparison(outcomes: Sequence[Outcome], within: int) -> dict[str, Any]:
    """The report's ``comparison``: what was counted as found, and one entry per variant."""
    return {"found_within_rows": within, "variants": [_entry(outcome, within) for outcome in outcomes]}


def _entry(outcome: Outcome, within: int) -> dict[str, Any]:
    report = outcome.report
    drifts = report["true_drifts"]
    incidents = [{key: incident[key] for key in INCIDENT} for incident in report["drift"]]
    found = None
    if drifts is not None:
        true = [TrueDrift(**drift) for drift in drifts]
        found = asdict(detection([incident["position"] for incident in incidents], true, within))
    # A trigger that started nothing carries no run of its own.
    started = [run for run in report["retrainings"] if run["decision"] != "not_started"]
    return {
        "name": outcome.variant.name,
        "changes": dict(outcome.variant.changes),
        "method": outcome.method,
        "elapsed_s": outcome.elapsed_s,
        "incidents": incidents,
        "critical": sum(incident["level"] == "critical" for incident in incidents),
        "detection": found,
        "retrainings": [{key: run[key] for key in ("position", "decision", "trigger")} for run in started],
        "promotions": [{key: item[key] for key in ("position", "version")} for item in report["promotions"]],
        **{key: report.get(key) for key in QUALITY},
    }


def comparison_text(compared: dict[str, Any]) -> str:
    """The variants as a table for people."""
    known = any(entry["detection"] for entry in compared["variants"])
    columns = ["variant", "how", "incidents", "critical", "retrainings", "promotions", "accuracy", "log_loss", "mae"]
    if known:
        columns[4:4] = ["found", "missed", "false", "median_delay", "f1"]
    rows: list[Mapping[str, object]] = [_row(entry) for entry in compared["variants"]]
    filled = [column for column in columns if any(row.get(column) is not None for row in rows)]
    return table(rows, filled)


def _row(entry: dict[str, Any]) -> dict[str, object]:
    found = entry["detection"] or {}
    return {
        "variant": entry["name"],
        "how": entry["method"],
        "incidents": len(entry["incidents"]),
        "critical": entry["critical"],
        "found": found.get("found"),
        "missed": found.get("missed"),
        "false": found.get("false_incidents"),
        "median_delay": found.get("median_delay"),
        "f1": _short(found.get("f1")),
        "retrainings": len(entry["retrainings"]),
        "promotions": len(entry["promotions"]),
        **{key: _short(entry[key]) for key in ("accuracy", "log_loss", "mae")},
    }


def _short(value: float | None) -> str | None:
    return None if value is None else f"{value:.4g}"
