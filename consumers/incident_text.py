"""A report on an incident as people read it: Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from online.policy.advice import moment
from online.policy.health import condition
from penstock.events import Cause, Drift, Happening


def drift_text(
    title: str, opened_ms: int, drift: Drift, answered: Mapping[str, int], timeline: Sequence[Happening]
) -> str:
    """The report on the drift incident whose newest event is ``drift``."""
    since = drift.since_event_time_ms
    facts = [
        ("status", "closed" if drift.status == "closed" else "open"),
        ("level", drift.level),
        ("opened", moment(opened_ms)),
        ("changed since", "unknown" if since is None else f"{moment(since)} (the detector's estimate)"),
        ("compared with", drift.reference or "the reference window"),
        ("drift score", f"{drift.drift_score:.3f}"),
    ]
    if drift.health is not None:
        facts.append(("health", f"{drift.health:.2f} ({condition(drift.health)})"))
    if drift.performance_drop is not None:
        facts.append(("served performance", f"down by {drift.performance_drop:.3f}"))
    parts = [f"# {title}", _facts(facts), "## What moved", _causes(drift.causes)]
    if drift.advice:
        parts += ["## What to do", drift.advice]
    return _document(parts, answered, timeline)


def rollback_text(
    title: str, facts: Sequence[tuple[str, str]], answered: Mapping[str, int], timeline: Sequence[Happening]
) -> str:
    """The report on a rollback."""
    return _document([f"# {title}", _facts(facts)], answered, timeline)


def _document(parts: list[str], answered: Mapping[str, int], timeline: Sequence[Happening]) -> str:
    counts = [f"- {_plain(version)}: {count}" for version, count in sorted(answered.items()) if count]
    lines = [f"- {moment(item.event_time_ms)}: {_plain(item.what)}" for item in timeline]
    parts += ["## Requests answered meanwhile", "\n".join(counts) or "None that was counted yet."]
    return "\n\n".join([*parts, "## Timeline", "\n".join(lines) or "Nothing yet."]) + "\n"


def _facts(facts: Sequence[tuple[str, str]]) -> str:
    return "\n".join(f"- {name}: {_plain(value)}" for name, value in facts)


def _causes(causes: Sequence[Cause]) -> str:
    if not causes:
        return "The record names no causes."
    head = "| signal | detector | effect | p | mean before | mean now | further |\n|---|---|---|---|---|---|---|"
    rows = []
    for cause in causes:
        measures = ", ".join(
            f"{name} {value:.3g}" for name, value in cause.measures.items() if not name.startswith("n:")
        )
        before, now = ("" if mean is None else f"{mean:.4g}" for mean in (cause.reference_mean, cause.current_mean))
        signal = _cell(cause.feature or cause.version or "served answers")
        cells = (signal, _cell(cause.detector), f"{cause.effect:.3f}", f"{cause.p_value:.2g}", before, now, measures)
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join([head, *rows])


def _plain(text: str) -> str:
    """One line: names and reasons come from outside, and must not become headings."""
    return " ".join(text.split())


def _cell(text: str) -> str:
    return _plain(text).replace("|", "\\|")
