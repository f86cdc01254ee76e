"""The JSON report of ``backtest`` and ``demo``: one object, every key always there, null where it does not apply."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import typer

from online import metrics
from online.policy.merging import alone
from online.policy.thresholds import Thresholds
from online.scoring import decide
from penstock.cli import report_file
from penstock.cli.context import Context
from penstock.cli.evaluation import History, Scored, last_known_labels
from penstock.cli.quality import quality
from penstock.events import Decision, Drift, ModelRecord, Outcome, Score
from penstock.spec import Pipeline
from producers.drifts import TrueDrift

#: Labelled rows after a promotion over which it is judged.
PROMOTION_ROWS = 2000

CLASSIFICATION = (
    "accuracy",
    "balanced_accuracy",
    "kappa",
    "kappa_temporal",
    "f1",
    "roc_auc",
    "log_loss",
    "brier",
    "calibration_error",
)
REGRESSION = ("mae", "rmse", "r2")


def build_report(
    pipeline: Pipeline,
    history: History,
    true_drifts: Sequence[TrueDrift] | None,
    elapsed_s: float,
    peak_rss_mb: float | None,
) -> dict[str, Any]:
    """The report of design section 10, from a run's history. ``elapsed_s`` and ``peak_rss_mb`` were measured."""
    rows = len(history.rows.appended_ms)
    return {
        "pipeline": pipeline.name,
        "task": pipeline.task,
        "events": rows,
        "labelled": len(history.scored),
        "dead_letters": history.dead_letters,
        **_served(pipeline, history),
        **_baselines(pipeline, history),
        **quality(pipeline, history),
        "events_per_second": round(rows / elapsed_s, 1) if elapsed_s > 0 else None,
        "peak_rss_mb": peak_rss_mb,
        "true_drifts": None if true_drifts is None else [drift._asdict() for drift in true_drifts],
        "drift": _incidents(history),
        "alarms": _alarms(pipeline, history),
        "retrainings": _retrainings(history),
        "promotions": promotions(pipeline, history),
        "models": _models(pipeline, history),
    }


def evaluate(pipeline: Pipeline, pairs: Sequence[tuple[Score, Outcome]]) -> dict[str, float | None]:
    """All metrics of the task over (score, outcome) pairs; null where one is not defined (one class, no rows)."""
    if not pairs:
        return dict.fromkeys(REGRESSION if pipeline.task == "regression" else CLASSIFICATION)
    scores, outcomes = [score for score, _ in pairs], [outcome for _, outcome in pairs]
    if pipeline.task == "regression":
        actual, predicted = np.asarray(outcomes, dtype=np.float64), np.asarray(scores, dtype=np.float64)
        return {
            "mae": metrics.mae(actual, predicted),
            "rmse": metrics.rmse(actual, predicted),
            "r2": metrics.r2(actual, predicted),
        }
    classes = len(pipeline.classes)
    codes = metrics.code_of(pipeline, outcomes)
    decided = metrics.code_of(pipeline, [decide(pipeline, score) for score in scores])
    probabilities = metrics.probabilities_of(pipeline, scores)
    accuracy = metrics.accuracy(codes, decided)
    return {
        "accuracy": accuracy,
        "balanced_accuracy": metrics.balanced_accuracy(codes, decided, classes),
        "kappa": metrics.kappa(codes, decided, classes),
        "kappa_temporal": metrics.kappa_temporal(accuracy, metrics.accuracy(codes[:-1], codes[1:])),
        "f1": metrics.f1(codes, decided, classes),
        "roc_auc": metrics.roc_auc(codes, probabilities),
        "log_loss": metrics.log_loss(codes, probabilities),
        "brier": metrics.brier(codes, probabilities),
        "calibration_error": metrics.calibration_error(codes, probabilities),
    }


def _served(pipeline: Pipeline, history: History) -> dict[str, float | None]:
    measured: dict[str, float | None] = dict.fromkeys((*CLASSIFICATION, *REGRESSION))
    measured.update(evaluate(pipeline, [(s.example.prediction.served, s.example.value) for s in history.scored]))
    return measured


def _baselines(pipeline: Pipeline, history: History) -> dict[str, float | None]:
    outcomes = [item.example.value for item in history.scored]
    known = last_known_labels(history)
    empty: dict[str, float | None] = dict.fromkeys(
        ("baseline_accuracy", "baseline_accuracy_delayed", "majority_accuracy", "baseline_mae", "baseline_rmse")
    )
    if len(outcomes) < 2:
        return empty
    if pipeline.task == "regression":
        values = np.asarray(outcomes, dtype=float)
        steps = np.diff(values)
        return {
            **empty,
            "baseline_mae": float(np.abs(steps).mean()),
            "baseline_rmse": float(np.sqrt((steps * steps).mean())),
        }
    same = [before == after for before, after in pairwise(outcomes)]
    pairs = [(guess, outcome) for guess, outcome in zip(known, outcomes, strict=True) if guess is not None]
    counts = {name: outcomes.count(name) for name in dict.fromkeys(outcomes)}
    return {
        **empty,
        "baseline_accuracy": sum(same) / len(same),
        "baseline_accuracy_delayed": sum(g == o for g, o in pairs) / len(pairs) if pairs else None,
        "majority_accuracy": max(counts.values()) / len(outcomes),
    }


def _incidents(history: History) -> list[dict[str, Any]]:
    incidents: dict[str, dict[str, Any]] = {}
    for timestamp_ms, drift in history.drift:
        if drift.status == "opened":
            incidents[drift.id] = _incident(history, timestamp_ms, drift)
        elif drift.id in incidents:
            entry = incidents[drift.id]
            if drift.status == "escalated":
                entry["level"] = drift.level
            else:
                entry["closed_position"] = history.rows.position(timestamp_ms)
    return list(incidents.values())


def _incident(history: History, timestamp_ms: int, drift: Drift) -> dict[str, Any]:
    return {
        "id": drift.id,
        "position": history.rows.position(timestamp_ms),
        "evidence_position": history.rows.by_id.get(drift.record_id),
        "closed_position": None,
        "kind": drift.kind,
        "level": drift.level,
        "detector": drift.detector,
        "feature": drift.feature,
        "statistic": drift.statistic,
        "p_value": drift.p_value,
        "drift_score": drift.drift_score,
        "performance_drop": drift.performance_drop,
    }


def _alarms(pipeline: Pipeline, history: History) -> list[dict[str, Any]]:
    raw: list[dict[str, Any]] = []
    thresholds = Thresholds(pipeline)
    for timestamp_ms, evidence in history.evidence:
        position = history.rows.position(timestamp_ms)
        raw.extend(
            {
                "position": position,
                "evidence_position": history.rows.by_id.get(evidence.record_id),
                "kind": finding.kind,
                "detector": finding.detector,
                "feature": finding.feature,
                "statistic": finding.statistic,
                "p_value": finding.p_value,
            }
            for finding in evidence.findings
            if thresholds.opens(alone(finding))
        )
    return raw


def _retrainings(history: History) -> list[dict[str, Any]]:
    runs: dict[str, dict[str, Any]] = {}
    for timestamp_ms, decision in history.decisions:
        position = history.rows.position(timestamp_ms)
        if decision.step in ("settled", "paused", "resumed"):
            continue
        apart = decision.step in ("not_started", "rolled_back", "refused")
        entry = runs.setdefault(
            decision.trigger if apart else decision.run_id,
            {
                "position": position,
                "effective_position": None,
                "trigger": decision.trigger,
                "decision": decision.step,
                "version": None,
                "reason": decision.reason,
            },
        )
        entry["decision"] = decision.step
        entry["reason"] = decision.reason
        entry["version"] = decision.version or entry["version"]
        if decision.step in ("promoted", "rolled_back"):
            entry["effective_position"] = position
    return list(runs.values())


def promotions(pipeline: Pipeline, history: History) -> list[dict[str, Any]]:
    """Each promotion, and how the promoted model and its predecessor did on the same labelled rows after it."""
    promoted = [(t, d) for t, d in history.decisions if d.step == "promoted" and d.model is not None]
    return [_promotion(pipeline, history, timestamp_ms, decision) for timestamp_ms, decision in promoted]


def _promotion(pipeline: Pipeline, history: History, timestamp_ms: int, decision: Decision) -> dict[str, Any]:
    predecessor = decision.model.predecessor if decision.model else None
    name = predecessor.version if isinstance(predecessor, ModelRecord) else None
    rows = [s for s in history.scored if s.example.prediction.generation == decision.generation]
    rows = [s for s in rows if name is None or name in s.example.prediction.shadow][:PROMOTION_ROWS]
    served = evaluate(pipeline, [(s.example.prediction.served, s.example.value) for s in rows])
    shadow = [] if name is None else [(s.example.prediction.shadow[name], s.example.value) for s in rows]
    before = evaluate(pipeline, shadow)
    return {
        "position": history.rows.position(timestamp_ms),
        "version": decision.version,
        "predecessor": name,
        "rows": len(rows),
        "served_accuracy": served.get("accuracy"),
        "predecessor_accuracy": before.get("accuracy"),
        "served_log_loss": served.get("log_loss"),
        "predecessor_log_loss": before.get("log_loss"),
        "served_mae": served.get("mae"),
        "predecessor_mae": before.get("mae"),
    }


def _models(pipeline: Pipeline, history: History) -> list[dict[str, Any]]:
    scores: dict[str, list[tuple[Score, Outcome]]] = {}
    for item in history.scored:
        for version, score in _scores_of(item):
            scores.setdefault(version, []).append((score, item.example.value))
    models = []
    for version in sorted(scores):
        measured = evaluate(pipeline, scores[version])
        models.append(
            {
                "version": version,
                "kind": "online" if version == "online" else "batch",
                "rows": len(scores[version]),
                "accuracy": measured.get("accuracy"),
                "log_loss": measured.get("log_loss"),
                "mae": measured.get("mae"),
            }
        )
    return models


def _scores_of(item: Scored) -> list[tuple[str, Score]]:
    prediction = item.example.prediction
    return [(prediction.version, prediction.served), *prediction.shadow.items()]


def summary(report: dict[str, Any]) -> str:
    """A few lines for people."""
    quality = (
        f"accuracy {report['accuracy']:.3f} (no-change baseline {report['baseline_accuracy']:.3f}), "
        f"log loss {report['log_loss']:.3f}"
        if report["accuracy"] is not None and report["baseline_accuracy"] is not None
        else f"MAE {report['mae']:.4g} (no-change baseline {report['baseline_mae']:.4g})"
        if report["mae"] is not None and report["baseline_mae"] is not None
        else "no labelled rows"
    )
    lines = [
        f"{report['events']} events, {report['labelled']} labelled, {report['dead_letters']} dead letters; {quality}",
        f"{len(report['drift'])} drift incidents at rows {[d['position'] for d in report['drift']]}"
        + (f"; true drifts at {[d['row'] for d in report['true_drifts']]}" if report["true_drifts"] else ""),
    ]
    for run in report["retrainings"]:
        where = f" from row {run['effective_position']}" if run["effective_position"] is not None else ""
        lines.append(
            f"row {run['position']}: {run['trigger']} → {run['decision']} {run['version'] or ''}{where}: "
            f"{run['reason']}"
        )
    return "\n".join(lines)


def deliver(context: Context, result: dict[str, Any], report: Path | None) -> None:
    """Tell the person, or print the report whole with ``--json``; then write it to its file.

    Raises:
        UsageError: the file cannot be written. The answer stands on standard output all the same.
    """
    context.show(result, summary(result))
    if report is None:
        return
    report_file.write(report, result)
    if not context.as_json:
        typer.echo(f"report: {report}")
