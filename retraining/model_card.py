"""A version's model card in Markdown: what it is for, what it was fitted on, how good and how fair it is, its limits.

The sections follow Mitchell et al., "Model Cards for Model Reporting" (FAT* 2019).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from penstock.events import CandidateResult, GateResult
from penstock.spec import Boolean, Categorical, Date, Feature, Numeric, Pipeline
from retraining.dataset import Row
from retraining.fairness import AttributeReport, Disparity, Group
from retraining.figures import LEVEL
from retraining.judging import Judgement

#: Features that the card lists by importance.
MOST_FEATURES = 12


class DataSummary(NamedTuple):
    """The rows of a fit in a few numbers: event times in ms, and rows per class (none of a regression)."""

    first_ms: int
    last_ms: int
    rows_fitted: int
    rows_compared: int
    classes: Mapping[str, int]


class Subject(NamedTuple):
    """What a card is about. ``settings``: of the model that won, as it was tuned."""

    version: str
    kind: str
    settings: str
    size_bytes: int
    data: DataSummary
    results: Sequence[CandidateResult]
    judgement: Judgement
    lineage: Mapping[str, str]


def summarised(pipeline: Pipeline, earlier: Sequence[Row], later: Sequence[Row]) -> DataSummary:
    """The summary of rows that were split in time."""
    rows = [*earlier, *later]
    counts = Counter(str(row.outcome) for row in rows)
    classes = {} if pipeline.task == "regression" else {name: counts[name] for name in pipeline.classes}
    return DataSummary(rows[0].event_time_ms, rows[-1].event_time_ms, len(earlier), len(later), classes)


def model_card(pipeline: Pipeline, subject: Subject) -> str:
    """The card. Equal arguments give equal text."""
    sections = [
        _heading(pipeline, subject),
        _purpose(pipeline),
        _data(subject),
        _metrics(subject),
        _gates(subject.judgement.gates),
        _fairness(pipeline, subject.judgement.fairness),
        _explanation(subject.judgement),
        _lineage(subject.lineage),
        _limits(pipeline, subject),
    ]
    return "\n\n".join(sections) + "\n"


def _heading(pipeline: Pipeline, subject: Subject) -> str:
    number = subject.lineage.get("semantic_version", "")
    about = f"A {subject.kind.replace('_', ' ')} (`{subject.settings}`), {subject.size_bytes} bytes stored."
    return f"# Model card: {pipeline.name} {subject.version}{f' ({number})' if number else ''}\n\n{about}"


def _purpose(pipeline: Pipeline) -> str:
    target = f"`{pipeline.target}`"
    if pipeline.task == "regression":
        said = f"It predicts the number {target}."
    elif pipeline.task == "binary":
        said = (
            f"It gives the probability that {target} is `{pipeline.positive}`; from {pipeline.threshold:g} on, that is "
            "the decision."
        )
    else:
        said = f"It gives the probability of each class of {target}; the likeliest is the decision."
    rows = [[f"`{feature.name}`", *_described(feature)] for feature in pipeline.features]
    use = f"It is meant for the pipeline `{pipeline.name}`, for rows of these features, and for nothing else."
    return f"## What it is for\n\n{said} {use}\n\n{_table(['feature', 'kind', 'expected'], rows)}"


def _described(feature: Feature) -> list[str]:
    if isinstance(feature, Numeric):
        known = [f"{bound:g}" if bound is not None else "" for bound in (feature.low, feature.high)]
        return ["number", " to ".join(known) if any(known) else "any"]
    if isinstance(feature, Categorical):
        return ["category", ", ".join(feature.values) or "any"]
    if isinstance(feature, Date):
        return ["date", feature.format]
    assert isinstance(feature, Boolean)  # noqa: S101 - the union has no other member
    return ["boolean", "true, false"]


def _data(subject: Subject) -> str:
    data = subject.data
    total = data.rows_fitted + data.rows_compared
    lines = [
        f"{total} labelled rows from {_moment(data.first_ms)} to {_moment(data.last_ms)} (event time), in time order: "
        f"fitted on the first {data.rows_fitted}, judged on the last {data.rows_compared}, which it never saw.",
        f"Range of `examples`: `{subject.lineage.get('data_range', '')}`; SHA-256 of what was read: "
        f"`{subject.lineage.get('data_digest', '')}`.",
    ]
    if data.classes:
        shares = ", ".join(f"`{name}` {count} ({count / total:.1%})" for name, count in data.classes.items())
        lines.append(f"Outcomes: {shares}.")
    return "## Data\n\n" + "\n".join(lines)


def _moment(at_ms: int) -> str:
    try:
        return datetime.fromtimestamp(at_ms / 1000.0, UTC).isoformat(timespec="seconds")
    except (OverflowError, OSError, ValueError):
        return f"{at_ms} ms"


def _metrics(subject: Subject) -> str:
    own = [
        [name, f"{figure.value:.4f}", "" if figure.low is None else f"{figure.low:.4f} to {figure.high:.4f}"]
        for name, figure in subject.judgement.figures.items()
    ]
    names = [name for name in ("log_loss", "accuracy", "mae", "rmse") if _any(subject.results, name)]
    others = [[result.name, *(_number(getattr(result, name)) for name in names)] for result in subject.results]
    return "\n\n".join(
        (
            "## Metrics",
            f"On the {subject.data.rows_compared} rows that it is judged on:",
            _table(["metric", "value", f"{LEVEL:.0%} interval"], own),
            "All that were compared on these rows (what was served by what was recorded then):",
            _table(["model", *names], others),
        )
    )


def _any(results: Sequence[CandidateResult], name: str) -> bool:
    return any(getattr(result, name) is not None for result in results)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _gates(gates: Sequence[GateResult]) -> str:
    words = {True: "passed", False: "failed", None: "reported"}
    rows = [[gate.name, _short(gate.threshold), _short(gate.value), words[gate.passed], gate.detail] for gate in gates]
    return f"## Gates\n\n{_table(['gate', 'threshold', 'value', 'verdict', 'detail'], rows)}"


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _fairness(pipeline: Pipeline, reports: Sequence[AttributeReport]) -> str:
    if not reports:
        why = "it decides nothing" if pipeline.task == "regression" else "the pipeline names no protected attribute"
        return f"## Fairness\n\nNot measured: {why}."
    parts = ["## Fairness"]
    for report in reports:
        rows = [_group_row(group) for group in report.groups]
        headings = ["group", "rows", "favourable", "rate", "outcome favourable", "of these decided so", "rate"]
        parts += [
            f"Groups of `{report.attribute}`; the favourable decision is `{report.favourable}`.",
            _table(headings, rows),
            f"All rows: {_disparity(report.selection)}\nOutcome favourable: {_disparity(report.opportunity)}",
        ]
    return "\n\n".join(parts)


def _group_row(group: Group) -> list[str]:
    return [
        group.name, str(group.rows), str(group.favoured), _number(group.selection_rate),
        str(group.deserving), str(group.deserving_favoured), _number(group.true_positive_rate),
    ]  # fmt: skip


def _disparity(found: Disparity) -> str:
    small = f" Too small to judge: {', '.join(found.too_small)}." if found.too_small else ""
    if found.difference is None:
        return f"fewer than two groups are large enough.{small}"
    ratio = "none (nobody is favoured)" if found.ratio is None else f"{found.ratio:.4f}"
    return f"least rate over greatest {ratio}, difference {found.difference:.4f}, p {found.p_value:.2g}.{small}"


def _explanation(judgement: Judgement) -> str:
    mine, theirs = judgement.explanation, judgement.champion_explanation
    if mine is None:
        return "## Explanation\n\nNot measured."
    shares, others = mine.shares(), theirs.shares() if theirs else {}
    first = sorted(shares, key=lambda name: (-shares[name], name))[:MOST_FEATURES]
    rows = [
        [f"`{name}`", f"{mine.importances[name]:.4g}", f"{shares[name]:.1%}", f"{others[name]:.1%}" if others else ""]
        for name in first
    ]
    about = f"Mean absolute Shapley values of the score on {mine.rows} rows, the greatest first."
    return f"## Explanation\n\n{about}\n\n{_table(['feature', 'importance', 'share', 'champion'], rows)}"


def _lineage(lineage: Mapping[str, str]) -> str:
    rows = [[name, f"`{value}`"] for name, value in sorted(lineage.items())]
    return f"## Lineage\n\n{_table(['what', 'value'], rows)}"


def _limits(pipeline: Pipeline, subject: Subject) -> str:
    said = [
        "It was judged on the rows right after those that it was fitted on; what the world does later, the drift "
        "detectors watch, not this card.",
        "Intervals take rows as independent of each other: where they are not, they are too narrow.",
        "Values outside the expected ones are scored all the same, and nothing here says how well.",
        "Importances say what the score depends on, not what causes the outcome.",
    ]
    for report in subject.judgement.fairness:
        small = sorted({*report.selection.too_small, *report.opportunity.too_small})
        if small:
            said.append(f"Of `{report.attribute}`, these groups were too small to judge: {', '.join(small)}.")
    said += [f"Fairness limits of `{name}` do not apply: {why}." for name, why in pipeline.gates.exempt.items()]
    said += [
        f"Gate {gate.name} was not applied: {gate.detail}." for gate in subject.judgement.gates if _undecided(gate)
    ]
    return "## Limits\n\n" + "\n".join(f"- {line}" for line in said)


def _undecided(gate: GateResult) -> bool:
    """Set by the spec, but without a verdict on these rows."""
    return gate.passed is None and gate.threshold is not None and ":" not in gate.name


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
