"""The page of a backtest: one static file, no script, nothing fetched. Every name in it is escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Any

from penstock.cli.curves import WINDOW, quality_curves
from penstock.cli.evaluation import History
from penstock.cli.html_chart import Drift, Lane, Mark, run_chart, sample
from penstock.spec import Pipeline

KINDS = (
    "served, online, batch: scores made at request time, each on the rows where the model scored. baseline: a guess "
    "without a model. committee, member: tested on each label as it came and then trained on it, "
    "so without the delay of labels."
)
VARIANTS = {
    "name": "variant",
    "method": "how",
    "incidents": "incidents",
    "critical": "critical",
    "found": "found",
    "missed": "missed",
    "false_incidents": "false",
    "median_delay": "median delay (rows)",
    "f1": "F1",
    "retrainings": "retrainings",
    "promotions": "promotions",
    "accuracy": "accuracy",
    "log_loss": "log loss",
    "mae": "MAE",
    "elapsed_s": "seconds",
}
MODELS = {
    "name": "model",
    "kind": "kind",
    "rows": "rows",
    "accuracy": "accuracy",
    "log_loss": "log loss",
    "mae": "MAE",
}
INCIDENTS = {
    "position": "row",
    "closed_position": "closed at",
    "level": "level",
    "kind": "kind",
    "detector": "detector",
    "feature": "feature",
    "statistic": "statistic",
    "p_value": "p-value",
}
RETRAININGS = {
    "position": "row",
    "effective_position": "in force from",
    "trigger": "trigger",
    "decision": "decision",
    "version": "version",
    "reason": "reason",
}


def page(pipeline: Pipeline, history: History, report: Mapping[str, Any], compared: Mapping[str, Any]) -> str:
    """The whole page, well-formed as XML too. ``compared``: `penstock.cli.compare.comparison`, with its ``models``."""
    title = f"Backtest of {pipeline.name}"
    variants = compared["variants"]
    style = files("penstock.cli").joinpath("html_report.css").read_text(encoding="utf-8")
    body = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{escape(_headline(report))}</p>",
        "<h2>Quality and alarms over the stream</h2>",
        _figure(pipeline, history, report, variants),
        "<h2>Variants</h2>",
        f"<p>{escape(_explained(compared, report))}</p>",
        _table("Variants of the pipeline over the same rows", VARIANTS, [_variant(entry) for entry in variants]),
        "<h2>Models</h2>",
        f"<p>{escape(KINDS)}</p>",
        _table("Models on the same stream", MODELS, compared["models"]),
        "<h2>Incidents of the pipeline as declared</h2>",
        _table("Incidents", INCIDENTS, report["drift"]),
        "<h2>Retrainings of the pipeline as declared</h2>",
        _table("Retrainings", RETRAININGS, report["retrainings"]),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en" xmlns="http://www.w3.org/1999/xhtml"><head><meta charset="utf-8"/>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\"/>"
        f"<title>{escape(title)}</title><style>{style}</style></head><body><main>{''.join(body)}</main></body></html>\n"
    )


def _headline(report: Mapping[str, Any]) -> str:
    said = f"{report['events']:,} rows, {report['labelled']:,} of them labelled"
    if report["dead_letters"]:
        said += f", {report['dead_letters']:,} broke their contract"
    names = {"accuracy": "accuracy", "baseline_accuracy_delayed": "last known label", "log_loss": "log loss"}
    names |= {"mae": "mean absolute error", "r2": "R²"}
    found = [f"{name} {_said(report[key])}" for key, name in names.items() if report.get(key) is not None]
    return f"{said}. As declared: {', '.join(found)}." if found else f"{said}."


def _explained(compared: Mapping[str, Any], report: Mapping[str, Any]) -> str:
    how = (
        "run: the whole pipeline over the history. refold: the evidence would be that of a run above, so only the "
        "alarm policy ran again."
    )
    if report["true_drifts"] is None:
        return f"No true drifts are known. {how}"
    return (
        f"A true drift is found by an incident at most {compared['found_within_rows']:,} rows after it was complete; "
        f"other incidents are false. {how}"
    )


def _figure(
    pipeline: Pipeline, history: History, report: Mapping[str, Any], variants: Sequence[Mapping[str, Any]]
) -> str:
    unit = "mean absolute error" if pipeline.task == "regression" else "accuracy"
    unit = f"{unit} over the last {WINDOW} labelled rows"
    curves = quality_curves(pipeline, history)
    drifts = [
        Drift(item["row"], f"{item['kind']}{' (back)' if item['back'] else ''} at {item['row']:,}")
        for item in report["true_drifts"] or []
    ]
    lanes = [
        Lane(f"Incidents: {entry['name']}", [_incident(item) for item in entry["incidents"]]) for entry in variants
    ]
    lanes.insert(1, Lane("Retrainings and promotions, as declared", _model_marks(variants[0])))
    chart = run_chart(f"Backtest of {pipeline.name}", curves, drifts, lanes, report["events"], unit)
    legend = [(sample(index), curve.name) for index, curve in enumerate(curves)]
    legend += [(sample("drift"), "true drift")] if drifts else []
    legend += [
        (sample("warning"), "incident, warning"),
        (sample("critical"), "incident, critical"),
        (sample("retraining"), "retraining started"),
        (sample("promotion"), "promotion"),
    ]
    items = "".join(f"<li>{drawing}{escape(name)}</li>" for drawing, name in legend)
    return f'<figure>{chart}<figcaption><ul class="legend">{items}</ul></figcaption></figure>'


def _incident(item: Mapping[str, Any]) -> Mark:
    what = f"{item['kind']} drift" + (f" of {item['feature']}" if item["feature"] else "")
    return Mark(
        item["position"], item["level"], f"row {item['position']:,}: {what} ({item['detector']}, {item['level']})"
    )


def _model_marks(entry: Mapping[str, Any]) -> list[Mark]:
    marks = [
        Mark(item["position"], "retraining", f"row {item['position']:,}: {item['trigger']} → {item['decision']}")
        for item in entry["retrainings"]
    ]
    return marks + [
        Mark(item["position"], "promotion", f"row {item['position']:,}: {item['version']} promoted")
        for item in entry["promotions"]
    ]


def _variant(entry: Mapping[str, Any]) -> dict[str, Any]:
    counts = {key: len(entry[key]) for key in ("incidents", "retrainings", "promotions")}
    return {**entry, **(entry["detection"] or {}), **counts}


def _table(caption: str, columns: Mapping[str, str], rows: Sequence[Mapping[str, Any]]) -> str:
    """A table of the columns that any row fills."""
    shown = [key for key in columns if any(row.get(key) is not None for row in rows)]
    if not shown:
        return "<p>None.</p>"
    kinds = {key: _kind(next(row[key] for row in rows if row.get(key) is not None)) for key in shown}
    head = "".join(f'<th scope="col"{kinds[key]}>{escape(columns[key])}</th>' for key in shown)
    lines = []
    for row in rows:
        first, *rest = [(kinds[key], escape(_said(row.get(key)))) for key in shown]
        cells = "".join(f"<td{kind}>{text}</td>" for kind, text in rest)
        lines.append(f'<tr><th scope="row"{first[0]}>{first[1]}</th>{cells}</tr>')
    name = escape(caption)
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{name}"><table><caption>{name}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def _kind(value: object) -> str:
    return ' class="number"' if isinstance(value, int | float) else ""


def _said(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
