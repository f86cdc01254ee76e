"""Candidates of real fits that must not serve: worse, unfair, too slow, too large, tampered with, of leaked labels."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest

from penstock.events import DataRange, Decision, GateResult
from penstock.models.artifact import ArtifactRef, MemoryArtifacts, Signer
from penstock.spec import Categorical, Gates, Numeric, Pipeline, RetrainingPolicy
from retraining import fitting
from retraining.dataset import Dataset, Row
from retraining.fitting import Fit, champion_of, fit_run
from retraining.states import State

PIPELINE = Pipeline(
    name="p",
    task="binary",
    target="y",
    features=(Numeric("x"), Numeric("z"), Categorical("sex", ("f", "m"))),
    classes=("0", "1"),
    protected=("sex",),
    retraining=RetrainingPolicy(trials=1),
)
KEY = b"k" * 16


def rows_of(chance: Callable[[float, float, str], float], online: Callable[[int], float], count: int = 1000) -> Dataset:
    """Rows whose outcome is 1 with ``chance`` of (x, z, sex); ``online``: what was served, by outcome."""
    rng = np.random.default_rng(11)
    rows = []
    for at in range(count):
        x, z, sex = float(rng.normal()), float(rng.normal()), "fm"[int(rng.integers(2))]
        outcome = int(rng.random() < chance(x, z, sex))
        rows.append(Row(str(at), at, {"x": x, "z": z, "sex": sex}, str(outcome), {"online": online(outcome)}))
    return Dataset(tuple(rows), "d")


def fair(x: float, z: float, sex: str) -> float:
    return 0.95 if x + 0.5 * z > 0.0 else 0.05


def unfair(x: float, z: float, sex: str) -> float:
    return 0.95 if x + 0.5 * z > (1.2 if sex == "f" else -0.8) else 0.05


def knows_nothing(outcome: int) -> float:
    return 0.5


def knows_it_all(outcome: int) -> float:
    return 0.98 if outcome else 0.02


@pytest.fixture(scope="module", autouse=True)
def _equal_rows_are_fitted_once() -> Iterator[None]:
    """The fits are real. Equal rows give equal models, bit for bit, so the second costs nothing."""
    fit, held, patch = fitting.fit_candidates, dict[str, Any](), pytest.MonkeyPatch()

    def once(pipeline: Pipeline, rows: tuple[Row, ...], *given: Any, **named: Any) -> Any:
        key = str([(row.features, row.outcome) for row in rows])
        if key not in held:
            held[key] = fit(pipeline, rows, *given, **named)
        return held[key]

    patch.setattr(fitting, "fit_candidates", once)
    yield
    patch.undo()


def fitted(pipeline: Pipeline, data: Dataset, artifacts: MemoryArtifacts | None = None) -> Fit:
    decision = Decision(
        seq=0,
        run_id="r",
        step="collected",
        event_time_ms=0,
        record_id="0",
        trigger="drift:d",
        reason="",
        generation=0,
        data=DataRange(offsets={"0": (0, len(data.rows))}),
    )
    store = artifacts or MemoryArtifacts(Signer(KEY))
    return fit_run(pipeline, State(), decision, data, store, monotonic_s=time.perf_counter)


def refused(fit: Fit) -> list[GateResult]:
    """The gates that refused it; nothing of it may be left to register or announce."""
    assert fit.registration is None
    assert fit.model is None
    return [gate for gate in fit.gates if gate.passed is False]


def test_a_good_candidate_passes_every_gate() -> None:
    gates = Gates(min_accuracy=0.85, min_roc_auc=0.85, min_precision=0.8, min_recall=0.8, min_f1=0.82)
    fit = fitted(replace(PIPELINE, gates=gates), rows_of(fair, knows_nothing))
    assert [gate.name for gate in fit.gates if gate.passed is False] == []
    verdicts = {gate.name: gate.passed for gate in fit.gates}
    for name in ("min_f1", "disparate_impact:sex", "equal_opportunity:sex", "probe_rows", "p99_ms", "artifact_intact"):
        assert verdicts[name] is True
    assert fit.registration is not None


def test_a_worse_candidate_is_refused() -> None:
    (gate,) = refused(fitted(PIPELINE, rows_of(fair, knows_it_all)))
    assert gate.name == "improvement_over_online"
    assert gate.value is not None
    assert gate.value < 0.0


def test_a_candidate_below_a_floor_is_refused() -> None:
    gates = Gates(min_accuracy=0.99, min_f1=0.99)
    failed = refused(fitted(replace(PIPELINE, gates=gates), rows_of(fair, knows_nothing)))
    assert [gate.name for gate in failed] == ["min_accuracy", "min_f1"]


def test_an_unfair_candidate_is_refused() -> None:
    failed = refused(fitted(PIPELINE, rows_of(unfair, knows_nothing)))
    assert "disparate_impact:sex" in [gate.name for gate in failed]
    impact = next(gate for gate in failed if gate.name.startswith("disparate_impact"))
    assert impact.value is not None
    assert impact.value < 0.4
    assert "f: " in impact.detail


def test_a_candidate_that_is_too_slow_is_refused() -> None:
    (gate,) = refused(fitted(replace(PIPELINE, gates=Gates(max_p99_ms=1e-4)), rows_of(fair, knows_nothing)))
    assert gate.name == "p99_ms"
    assert gate.value is not None
    assert gate.value > 1e-4


def test_a_candidate_that_is_too_large_is_refused() -> None:
    (gate,) = refused(fitted(replace(PIPELINE, gates=Gates(max_artifact_bytes=500)), rows_of(fair, knows_nothing)))
    assert gate.name == "artifact_bytes"


@pytest.mark.parametrize("tampering", ["bytes", "signature"])
def test_a_candidate_that_is_tampered_with_is_refused(tampering: str) -> None:
    class Tampering(MemoryArtifacts):
        def put(self, data: bytes) -> ArtifactRef:
            ref = super().put(data)
            if tampering == "signature":
                return ref._replace(signature="0" * 64)
            self._held[ref.uri] = data[:-1] + bytes([data[-1] ^ 1])
            return ref

    (gate,) = refused(fitted(PIPELINE, rows_of(fair, knows_nothing), Tampering(Signer(KEY))))
    assert gate.name == "artifact_intact"


def test_a_candidate_of_leaked_labels_is_refused_before_it_is_fitted() -> None:
    data = rows_of(fair, knows_nothing)
    leaked = tuple(row._replace(features={**row.features, "z": float(str(row.outcome))}) for row in data.rows)
    fit = fitted(PIPELINE, Dataset(leaked, "d"))
    assert [gate.name for gate in refused(fit)] == ["leakage"]
    assert (fit.winner, fit.results) == ("", ())
    assert fit.gates[0].detail.startswith("leakage: the value of feature z alone tells the target")


def test_a_candidate_that_looks_elsewhere_than_the_champion_is_refused() -> None:
    """The champion looked at x and z; now sex counts as well, and the spec allows no such turn."""
    store = MemoryArtifacts(Signer(KEY))
    first = fitted(PIPELINE, rows_of(fair, knows_nothing), store)
    assert first.model is not None
    turned = rows_of(unfair, knows_nothing)
    judged = champion_of(PIPELINE, first.model, store, "")
    assert judged.model is not None
    scores = judged.model.score_many([row.features for row in turned.rows])
    # The online model is worse than either, so that it does not take the slot instead.
    rows = [
        row._replace(scores={"v0": score, "online": 0.02 if row.outcome == "1" else 0.98})
        for row, score in zip(turned.rows, scores, strict=True)
    ]
    champion = msgspec.structs.replace(first.model, slot="champion", version="v0", generation=1)
    for limit, names in ((0.2, ["explanation_drift"]), (1.0, [])):
        fit = fit_run(
            replace(
                PIPELINE,
                gates=Gates(max_explanation_drift=limit, min_disparate_impact=None, min_equal_opportunity=None),
            ),
            replace(State(), champion=champion),
            Decision(
                seq=0, run_id="r", step="collected", event_time_ms=0, record_id="0", trigger="t", reason="",
                generation=1, data=DataRange(offsets={"0": (0, len(rows))}),
            ),
            Dataset(tuple(rows), "d"),
            store,
        )  # fmt: skip
        assert [gate.name for gate in fit.gates if gate.passed is False] == names
