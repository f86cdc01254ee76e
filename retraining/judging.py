"""All gates of one contender, in one place: a run judges by it, and so does `penstock gate` afterwards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from penstock.events import GateResult, Score
from penstock.models.model import Model
from penstock.spec import Pipeline
from retraining.dataset import Row
from retraining.explanation import Explanation, explain, explanation_gate
from retraining.fairness import AttributeReport, fairness_gates, fairness_report
from retraining.figures import Figure, figures
from retraining.floors import floor_gates
from retraining.gates import Comparison, improvement_gate
from retraining.soundness import probe_gate, size_gate, time_gate


class Contender(NamedTuple):
    """A fitted model that wants to serve: its artifact's bytes, and what makes a model of such bytes."""

    name: str
    model: Model
    blob: bytes
    load: Callable[[bytes], Model]


class Champion(NamedTuple):
    """Who serves now, as far as it can be asked: ``model`` None where it cannot, and ``why_not``."""

    version: str
    model: Model | None
    why_not: str = ""


class Judgement(NamedTuple):
    """The verdicts and what they were made of."""

    gates: list[GateResult]
    figures: dict[str, Figure]
    fairness: list[AttributeReport]
    explanation: Explanation | None = None
    champion_explanation: Explanation | None = None

    @property
    def passed(self) -> bool:
        """Was no gate failed?"""
        return passed(self.gates)


def passed(gates: Sequence[GateResult]) -> bool:
    """Was none failed? What is only reported (None) refuses nobody."""
    return all(gate.passed is not False for gate in gates)


def judge(
    pipeline: Pipeline,
    rows: Sequence[Row],
    comparison: Comparison,
    contender: Contender,
    against: Sequence[str],
    chosen_from: int,
    champion: Champion,
    monotonic_s: Callable[[], float],
) -> Judgement:
    """Judge ``contender`` on ``rows``, none of which it was fitted on.

    ``comparison`` holds its losses there beside those of ``against``, whom it must beat; ``chosen_from`` candidates
    were tried on the same rows. Time is measured by ``monotonic_s``; all else depends on the arguments alone.
    """
    features = [row.features for row in rows]
    probed = probe_gate(pipeline, contender.model, contender.load, contender.blob, features)
    gates = [improvement_gate(pipeline, comparison, contender.name, other, chosen_from) for other in against]
    if not probed.passed:
        return Judgement([*gates, probed, size_gate(pipeline, len(contender.blob))], {}, [])
    scores = contender.model.score_many(features)
    found = figures(pipeline, scores, rows)
    fairness = fairness_report(pipeline, rows, scores)
    mine = explain(pipeline, contender.model, features)
    theirs = None if champion.model is None else explain(pipeline, champion.model, features)
    gates += [
        *floor_gates(pipeline, found),
        *fairness_gates(pipeline, fairness),
        explanation_gate(pipeline, mine, theirs, champion.why_not),
        probed,
        time_gate(pipeline, contender.model, features, monotonic_s),
        size_gate(pipeline, len(contender.blob)),
    ]
    return Judgement(gates, found, fairness, mine, theirs)


def judge_recorded(
    pipeline: Pipeline,
    rows: Sequence[Row],
    scores: Sequence[Score | None],
    comparison: Comparison,
    name: str,
    against: Sequence[str],
) -> Judgement:
    """Judge what serves already by the scores that were recorded: it must be better and fair.

    Absolute floors are reported only: to refuse it for its quality would keep what is worse.
    """
    gates = [improvement_gate(pipeline, comparison, name, other, 1) for other in against]
    known = [(row, score) for row, score in zip(rows, scores, strict=True) if score is not None]
    kept, answered = [row for row, _ in known], [score for _, score in known]
    found = figures(pipeline, answered, kept) if kept else {}
    fairness = fairness_report(pipeline, kept, answered) if kept else []
    floors = floor_gates(pipeline, found, applied=False)
    return Judgement([*gates, *floors, *fairness_gates(pipeline, fairness)], found, fairness)
