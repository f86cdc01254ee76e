"""All detectors of labelled examples together."""

from __future__ import annotations

import math
import random

import pytest

from online.detectors.outcomes import OutcomeDetectors
from penstock.events import Example, Prediction, Score
from penstock.models import pickles
from penstock.spec import Numeric, Pipeline

BINARY = Pipeline(name="p", task="binary", target="y", classes=("0", "1"), features=(Numeric("x"),))
MANY = Pipeline(name="p", task="multiclass", target="y", classes=tuple(map(str, range(1000))), features=(Numeric("x"),))


def example(i: int, decision: str, value: str, score: Score, generation: int = 0) -> Example:
    prediction = Prediction(
        id=f"{i}",
        entity="e",
        event_time_ms=i,
        features={"x": float(i % 7)},
        version="v",
        generation=generation,
        decision=decision,
        score=score if isinstance(score, float) else None,
        scores=score if isinstance(score, dict) else None,
    )
    return Example(id=f"{i}", prediction=prediction, value=value, label_time_ms=i)


def test_one_change_is_told_by_all_of_them_and_a_pickle_goes_on_alike() -> None:
    whole, first, draw, fired = OutcomeDetectors(BINARY), OutcomeDetectors(BINARY), random.Random(1), set()
    for i in range(3600):
        if i == 3350:
            first = pickles.loads(pickles.dumps(first))
        value = str(int(draw.random() < (0.1 if i < 3000 else 0.5)))
        asked = example(i, "0", value, 0.1)
        found = whole.update(asked, 0.1)
        assert first.update(asked, 0.1) == found
        fired |= {(finding.kind, finding.version) for finding in found}
    assert fired == {("concept", "champion"), ("concept", "online"), ("concept", "reference model")}
    looks = whole.look()
    assert first.look() == looks
    assert {finding.kind for finding in looks} == {"concept", "prior", "performance"}
    assert all(finding.p_value < 1e-6 and finding.effect > 0.2 for finding in looks if finding.detector != "adwin")


def test_a_promotion_resets_them_all() -> None:
    detectors = OutcomeDetectors(BINARY)
    for i in range(2500):
        detectors.update(example(i, "0", "0", 0.1), 0.1)
    detectors.reset(1)
    assert {(finding.kind, finding.version) for finding in detectors.look()} == {
        ("concept", "online"),
        ("concept", "reference model"),
    }


@pytest.mark.parametrize("wrong", [True, False])
def test_a_thousand_classes_of_which_one_comes(wrong: bool) -> None:
    detectors = OutcomeDetectors(MANY)
    score = {name: float(name == "7") for name in MANY.classes}
    for i in range(2300):
        assert detectors.update(example(i, "7", "8" if wrong else "7", score), score) == []
    looks = detectors.look()
    assert {finding.kind for finding in looks} == {"concept", "prior", "performance"}
    for finding in looks:
        numbers = (finding.statistic, finding.p_value, *finding.measures.values())
        assert all(math.isfinite(number) for number in numbers)
        assert finding.effect == 0.0
