"""The parts of a report about how good the served scores were: intervals, fading metrics, segments and fairness."""

from __future__ import annotations

from typing import Any

from online.blocks import FadingBlocks, RollingBlocks, merged
from online.evaluation import intervals, measures
from online.scoreboard import CHAMPION, Scoreboard
from penstock.cli.evaluation import History
from penstock.events import Finding, ScoreBlock
from penstock.spec import Pipeline

#: Every metric that has an interval in some task.
WITH_INTERVAL = ("accuracy", "balanced_accuracy", "roc_auc", "log_loss", "brier", "no_change_accuracy", "mae", "rmse")


def quality(pipeline: Pipeline, history: History) -> dict[str, Any]:
    """``confidence_intervals`` ([low, high] at 95 %), ``fading`` (as of the last row), ``segments``, ``fairness``.

    Null: the intervals of other tasks' metrics; ``segments`` and ``fairness`` where the pipeline declares none.
    """
    board, overall, fading = Scoreboard(pipeline), RollingBlocks(1), FadingBlocks()
    segments: dict[str, dict[str, ScoreBlock]] = {name: {} for name in pipeline.segments}
    for index, item in enumerate(history.scored, 1):
        board.add(item.example)
        if index % pipeline.drift.look_every and index < len(history.scored):
            continue
        blocks, parts = board.flush()
        overall.add(blocks)
        fading.add(blocks)
        for name, values in parts.items():
            for value, block in values.items():
                segments[name][value] = merged(segments[name].get(value, ScoreBlock()), block)
    found = intervals(pipeline, overall.overall().get(CHAMPION, ScoreBlock()))
    return {
        "confidence_intervals": {
            name: None if (interval := found.get(name)) is None else list(interval) for name in WITH_INTERVAL
        },
        "fading": measures(pipeline, fading.faded().get(CHAMPION, ScoreBlock())),
        "segments": _segments(pipeline, segments) if segments else None,
        "fairness": _fairness(history) if pipeline.protected else None,
    }


def _segments(pipeline: Pipeline, segments: dict[str, dict[str, ScoreBlock]]) -> dict[str, Any]:
    return {
        name: {value: {"n": block.n, **measures(pipeline, block)} for value, block in sorted(values.items())}
        for name, values in segments.items()
    }


def _fairness(history: History) -> dict[str, Any]:
    """Per attribute and detector: how its groups stand at the last look, and when the worst pair stood worst."""
    found: dict[str, dict[str, Any]] = {}
    for timestamp_ms, evidence in history.evidence:
        for finding in evidence.findings:
            if finding.kind == "fairness" and finding.feature is not None:
                entry = found.setdefault(finding.feature, {}).setdefault(finding.detector, _entry())
                entry |= {"ratio": finding.statistic if _judged(finding) else None, **_measures(finding)}
                least = entry["least_ratio"]
                if _judged(finding) and (least is None or finding.statistic < least):
                    position = history.rows.position(timestamp_ms)
                    entry |= {"least_ratio": finding.statistic, "least_ratio_position": position}
    return found


def _entry() -> dict[str, Any]:
    return {"ratio": None, "least_ratio": None, "least_ratio_position": None}


def _judged(finding: Finding) -> bool:
    return finding.n_reference > 0


def _measures(finding: Finding) -> dict[str, Any]:
    groups: dict[str, dict[str, float]] = {}
    rest: dict[str, float] = {}
    for name, value in finding.measures.items():
        measure, colon, group = name.partition(":")
        if colon:
            groups.setdefault(group, {})[measure] = value
        else:
            rest[name] = value
    return {"groups": groups, "measures": rest}
