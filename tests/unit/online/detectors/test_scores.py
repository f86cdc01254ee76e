"""Drift of scores and decisions, falls of confidence, rises of entropy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy.stats import ks_2samp

from online.detectors.base import Batch
from online.detectors.scores import ServedScores
from online.detectors.served import Served, served
from penstock.events import Finding, Prediction
from penstock.spec import DriftPolicy, Numeric, Pipeline

CLASSES = {"binary": ("no", "yes"), "multiclass": ("a", "b", "c"), "regression": ()}


def pipeline(task: Any = "binary", **policy: Any) -> Pipeline:
    return Pipeline(
        name="p",
        task=task,
        target="y",
        classes=CLASSES[task],
        features=(Numeric("x"),),
        drift=DriftPolicy(**{"window": 400, "reference": 400, **policy}),
    )


def said(i: int, task: str, score: Any, version: str = "v1") -> Served:
    decision = {
        "binary": lambda: "yes" if score >= 0.5 else "no",
        "multiclass": lambda: max(score, key=score.__getitem__),
        "regression": lambda: score,
    }[task]()
    score = score if task == "multiclass" else float(score)
    many = score if task == "multiclass" else None
    prediction = Prediction(
        id=f"r{i}",
        entity="e",
        event_time_ms=i,
        features={},
        version=version,
        generation=1,
        decision=decision,
        score=None if many else score,
        scores=many,
    )
    return served(prediction, task)


def feed(detector: ServedScores, stream: list[Served], start: int = 0) -> list[list[Finding]]:
    looks = [stream[i : i + 100] for i in range(start, len(stream), 100)]
    return [detector.update(Batch([one.time_ms for one in look], [{}] * len(look), look)) for look in looks]


def last(task: str, scores: list[Any], version: str = "v1") -> dict[str, Finding]:
    stream = [said(i, task, score, version) for i, score in enumerate(scores)]
    return {finding.detector: finding for finding in feed(ServedScores(pipeline(task)), stream)[-1]}


def test_what_is_kept_of_a_prediction() -> None:
    sure = said(7, "binary", 1.0)
    assert (sure.confidence, sure.entropy, sure.decision, sure.time_ms) == (1.0, 0.0, "yes", 7)
    assert said(0, "binary", 0.5).entropy == pytest.approx(1.0)
    three = said(0, "multiclass", {"a": 0.5, "b": 0.5, "c": 0.0})
    assert (three.score, three.confidence, three.decision) == (None, 0.5, "a")
    assert three.entropy == pytest.approx(math.log(2) / math.log(3))
    number = said(0, "regression", 1e300)
    assert (number.score, number.confidence, number.entropy) == (1e150, None, None)


def test_scores_that_moved_are_found_dated_and_drawn() -> None:
    rng = np.random.default_rng(1)
    scores = [*rng.beta(2, 2, 900), *rng.beta(4, 2, 300)]
    found = last("binary", scores)
    score, decision = found["score"], found["decision"]
    truth = ks_2samp(scores[:400], scores[-400:], method="asymp")
    assert score.kind == decision.kind == "prediction"
    assert score.statistic == pytest.approx(truth.statistic, abs=1e-12)
    assert score.p_value == pytest.approx(truth.pvalue, abs=1e-6)
    assert score.since_event_time_ms == pytest.approx(900, abs=60)
    assert score.histogram is not None
    assert score.measures.keys() == {"psi", "wasserstein", "jensen_shannon"}
    approved = np.array(scores) >= 0.5
    assert decision.reference_mean == approved[:400].mean()
    assert decision.current_mean == approved[-400:].mean()
    assert decision.effect == pytest.approx(abs(approved[:400].mean() - approved[-400:].mean()))
    assert decision.p_value < 1e-6


def test_a_fall_of_confidence_is_found_and_a_rise_is_not_one() -> None:
    rng = np.random.default_rng(1)
    sure, unsure = rng.beta(0.3, 0.3, 800).tolist(), rng.beta(3, 3, 400).tolist()
    found = last("binary", sure + unsure)
    assert {name for name in ("confidence", "entropy") if found[name].p_value < 1e-9} == {"confidence", "entropy"}
    assert found["confidence"].kind == found["entropy"].kind == "uncertainty"
    assert (found["confidence"].reference_mean or 0) > (found["confidence"].current_mean or 1)
    assert found["entropy"].since_event_time_ms == pytest.approx(800, abs=60)
    other = last("binary", unsure * 2 + sure[:400])
    assert other["confidence"].effect == other["entropy"].effect == 0.0
    assert other["entropy"].p_value > 0.99


def test_decided_classes_are_compared_by_total_variation() -> None:
    rng = np.random.default_rng(1)

    def draw(shares: list[float]) -> dict[str, float]:
        top = rng.choice(3, p=shares)
        return {name: 0.8 if i == top else 0.1 for i, name in enumerate("abc")}

    found = last(
        "multiclass",
        [draw([0.6, 0.3, 0.1]) for _ in range(800)]
        + [draw([0.2, 0.3, 0.5])] * 0
        + [draw([0.2, 0.3, 0.5]) for _ in range(400)],
    )
    assert found.keys() == {"decision", "confidence", "entropy"}
    assert found["decision"].effect == pytest.approx(0.4, abs=0.08)
    assert found["decision"].reference_mean is None
    assert found["confidence"].p_value > 0.1


def test_a_regression_has_scores_alone() -> None:
    rng = np.random.default_rng(1)
    assert last("regression", rng.normal(size=1200).tolist()).keys() == {"score"}


def test_an_online_champion_is_compared_with_the_window_before_and_never_alarms() -> None:
    rng = np.random.default_rng(1)
    learning = [0.5 + (score - 0.5) * i / 3000 for i, score in enumerate(rng.beta(0.5, 0.5, 3000))]
    stream = [said(i, "binary", score, "online") for i, score in enumerate(learning)]
    found = [finding for look in feed(ServedScores(pipeline()), stream) for finding in look]
    assert found
    assert {finding.p_value for finding in found} == {1.0}
    final = next(finding for finding in reversed(found) if finding.detector == "score")
    assert final.statistic == pytest.approx(ks_2samp(learning[-800:-400], learning[-400:]).statistic)


def test_another_version_starts_afresh() -> None:
    rng = np.random.default_rng(1)
    stream = [said(i, "binary", score) for i, score in enumerate(rng.beta(2, 2, 900))]
    stream += [said(900 + i, "binary", score, "v2") for i, score in enumerate(rng.beta(5, 1, 900))]
    looks = feed(ServedScores(pipeline()), stream)
    assert looks[8]
    assert looks[9:13] == [[]] * 4
    assert min(finding.p_value for finding in looks[-1]) > 1e-4


@pytest.mark.parametrize("score", [0.0, 1.0, 0.5])
def test_constant_scores_are_silent(score: float) -> None:
    found = last("binary", [score] * 1200)
    assert all((finding.effect, finding.p_value) == (0.0, 1.0) for finding in found.values())


def test_what_lasts_is_the_new_normal_but_for_a_fixed_reference() -> None:
    rng = np.random.default_rng(1)
    stream = [said(i, "binary", s) for i, s in enumerate([*rng.beta(2, 5, 800), *rng.beta(5, 2, 2400)])]
    renewed = feed(ServedScores(pipeline()), stream)[-1]
    fixed = feed(ServedScores(pipeline(reference_mode="fixed")), stream)[-1]
    assert max(finding.effect for finding in renewed) < 0.15
    assert max(finding.effect for finding in fixed) > 0.5


def test_state_and_restore_anywhere() -> None:
    rng = np.random.default_rng(1)
    stream = [said(i, "binary", s) for i, s in enumerate([*rng.beta(2, 5, 800), *rng.beta(5, 2, 1200)])]
    stream += [said(2000 + i, "binary", s, "online") for i, s in enumerate(rng.beta(2, 2, 1000))]
    whole = feed(ServedScores(pipeline()), stream)
    for cut in (0, 3, 6, 11, 19, 27):
        first, second = ServedScores(pipeline()), ServedScores(pipeline())
        found = feed(first, stream[: 100 * cut])
        second.restore(first.state())
        assert second.state() == first.state()
        assert found + feed(second, stream, 100 * cut) == whole
