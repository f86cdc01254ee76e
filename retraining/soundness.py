"""Whether a candidate answers at all as it should: on probe rows, from its stored bytes, and in time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from penstock.errors import ArtifactError
from penstock.events import Features, GateResult, Score
from penstock.models.artifact import ArtifactRef, ArtifactStore
from penstock.models.model import Model
from penstock.models.probe import largest_difference, probe_rows
from penstock.spec import Pipeline

#: Probabilities of a multiclass score add up to 1 as far as this.
_SUM_TOLERANCE = 1e-6
#: Rows that are scored one by one, and how often: the least of the rounds is what the model costs, not the machine.
TIMED_ROWS, ROUNDS = 200, 3
_TIMED_BATCH = 100


def probe_gate(
    pipeline: Pipeline, model: Model, load: Callable[[bytes], Model], blob: bytes, rows: Sequence[Features]
) -> GateResult:
    """Is every answer a score, do answers differ, and does the stored model give the same ones?

    ``model`` and what ``load`` makes of ``blob`` score the pipeline's probe rows (values beyond the declared ranges,
    missing and unseen ones among them) and ``rows``, on which a constant model has learned nothing. ``value`` counts
    the answers that are not as they should be.
    """
    asked = [*probe_rows(pipeline), *rows]
    try:
        scores = model.score_many(asked)
        again = load(blob).score_many(asked)
        apart = largest_difference(scores, again)
    except Exception as error:  # noqa: BLE001 - a model may fail in any way; each is a verdict on it
        return _probed(float(len(asked)), f"it does not score: {type(error).__name__}: {error}")
    wrong = sum(not _sound(pipeline, score) for score in scores)
    if wrong:
        return _probed(float(wrong), f"{wrong} of {len(asked)} scores are not finite or out of range")
    own = scores[len(asked) - len(rows) :]
    if own and all(score == own[0] for score in own):
        return _probed(float(len(own)), f"the same score on all {len(own)} rows: it has learned nothing")
    if apart != 0.0:
        return _probed(1.0, f"once stored and loaded its scores differ by up to {apart:.3g}")
    return _probed(0.0, f"{len(asked)} rows scored; the same once stored and loaded")


def _probed(value: float, detail: str) -> GateResult:
    return GateResult(name="probe_rows", value=value, threshold=0.0, passed=value == 0.0, detail=detail)


def _sound(pipeline: Pipeline, score: Score) -> bool:
    if isinstance(score, dict):
        values = list(score.values())
        known = pipeline.task == "multiclass" and set(score) == set(pipeline.classes)
        return known and all(0.0 <= value <= 1.0 for value in values) and abs(sum(values) - 1.0) <= _SUM_TOLERANCE
    if pipeline.task == "regression":
        return math.isfinite(score)
    return pipeline.task == "binary" and 0.0 <= score <= 1.0


def size_gate(pipeline: Pipeline, size_bytes: int) -> GateResult:
    """Is the artifact small enough to be fetched and held by everyone who serves?"""
    most = pipeline.gates.max_artifact_bytes
    detail = f"artifact of {size_bytes} bytes, at most {most} wanted"
    return GateResult(
        name="artifact_bytes", value=float(size_bytes), threshold=float(most), passed=size_bytes <= most, detail=detail
    )


def artifact_gate(artifacts: ArtifactStore, ref: ArtifactRef, blob: bytes | None = None) -> GateResult:
    """Does the store give back, whole and signed, what was put there (``blob`` None: whatever ``ref`` names)?

    ``value`` is 1 for yes.
    """
    try:
        held = artifacts.get(ref.uri, ref.digest, ref.signature)
        if blob is not None and held != blob:
            raise ArtifactError(f"artifact {ref.uri}: the store holds other bytes than were put there")
    except ArtifactError as error:
        return GateResult(name="artifact_intact", value=0.0, threshold=1.0, passed=False, detail=str(error))
    detail = f"SHA-256 and signature of {len(held)} stored bytes are right"
    return GateResult(name="artifact_intact", value=1.0, threshold=1.0, passed=True, detail=detail)


def time_gate(
    pipeline: Pipeline, model: Model, rows: Sequence[Features], monotonic_s: Callable[[], float]
) -> GateResult:
    """The 99th percentile of scoring one row, in ms, as ``monotonic_s`` measures it on this machine.

    Where that clock stands still while a row is scored (virtual time), nothing was measured and nothing is applied.
    """
    limit = pipeline.gates.max_p99_ms
    asked = [rows[index % len(rows)] for index in range(TIMED_ROWS)]
    model.score_many(asked[:_TIMED_BATCH])
    rounds = []
    for _ in range(ROUNDS):
        spent = []
        for row in asked:
            began_s = monotonic_s()
            model.score_many([row])
            spent.append(monotonic_s() - began_s)
        rounds.append(float(np.quantile(spent, 0.99)))
    began_s = monotonic_s()
    model.score_many(asked[:_TIMED_BATCH])
    batch_ms = (monotonic_s() - began_s) * 1000.0
    p99_ms = min(rounds) * 1000.0
    if p99_ms == 0.0:
        return GateResult(name="p99_ms", value=None, threshold=limit, passed=None, detail="not measured: virtual time")
    wanted = "" if limit is None else f", at most {limit:.4g} ms wanted"
    detail = f"p99 of one row {p99_ms:.3g} ms, {_TIMED_BATCH} rows at once {batch_ms:.3g} ms{wanted}"
    passed = None if limit is None else p99_ms <= limit
    return GateResult(name="p99_ms", value=p99_ms, threshold=limit, passed=passed, detail=detail)
