"""Models that learn nothing since, watched beside the online model."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from online.detectors.reference_model import EVERY, LEAST_TAUGHT, TAUGHT, ReferenceModels
from online.detectors.significance import REFERENCE_MODEL
from penstock.events import Example, Finding, Outcome, Prediction
from penstock.models import pickles
from penstock.spec import Categorical, DriftPolicy, Numeric, Pipeline, Task

FEATURES = (*(Numeric(f"x{i}") for i in range(4)), Categorical("c"))
CHANGE, ROWS = 3518, 5000


def pipeline(task: Task = "binary", **drift: object) -> Pipeline:
    classes = {"binary": ("0", "1"), "multiclass": ("a", "b", "c"), "regression": ()}[task]
    policy = DriftPolicy(**drift)  # type: ignore[arg-type]
    return Pipeline(name="p", task=task, target="y", classes=classes, features=FEATURES, drift=policy)


def outcome(task: Task, along: float, noise: float, wrong: bool) -> Outcome:
    if task == "regression":
        return along + 0.3 * noise
    if task == "binary":
        return str(int((along > 0.0) != wrong))
    return "c" if wrong else "a" if along < -0.5 else "b" if along < 0.5 else "c"


def examples(task: Task, change: int | None = CHANGE, rows: int = ROWS, seed: int = 0) -> Iterator[Example]:
    """Two of four numbers tell the outcome; from ``change`` on the second tells the opposite, which is a fifth less."""
    rng = np.random.default_rng(seed)
    table, noise = rng.normal(size=(rows, 4)), rng.normal(size=rows)
    for i, (numbers, drawn) in enumerate(zip(table.tolist(), noise.tolist(), strict=True)):
        second = 0.3 if change is None or i < change else -0.3
        value = outcome(task, numbers[0] + second * numbers[1], drawn, wrong=drawn > 1.6)
        features = {**{f"x{j}": number for j, number in enumerate(numbers)}, "c": None if i % 7 == 0 else f"v{i % 3}"}
        prediction = Prediction(
            id=f"{i}",
            entity="e",
            event_time_ms=i,
            features=features,
            version="v",
            generation=0,
            decision="0",
            score=0.1,
        )
        yield Example(id=f"{i}", prediction=prediction, value=value, label_time_ms=i)


def run(detector: ReferenceModels, stream: Iterator[Example]) -> list[tuple[int, Finding]]:
    return [(i, finding) for i, example in enumerate(stream) for finding in detector.update(example, 0.5)]


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_a_change_fires_once_is_dated_and_lasts_at_looks(task: Task) -> None:
    detector = ReferenceModels(pipeline(task))
    ((row, finding),) = run(detector, examples(task))
    assert CHANGE <= row <= CHANGE + 800
    assert (finding.kind, finding.version, finding.fired) == ("concept", REFERENCE_MODEL, True)
    assert finding.since_event_time_ms == pytest.approx(CHANGE, abs=150)
    assert finding.effect > 0.03
    (stands,) = detector.look()
    assert not stands.fired
    assert stands.p_value < 1e-3


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_a_stationary_stream_is_silent(task: Task) -> None:
    assert run(ReferenceModels(pipeline(task)), examples(task, change=None, rows=8000, seed=4)) == []


def test_a_pickle_goes_on_alike() -> None:
    whole, stream = ReferenceModels(pipeline()), list(examples("binary"))
    first = whole
    for i, example in enumerate(stream):
        if i == CHANGE + 33:
            first = pickles.loads(pickles.dumps(whole))
        found = whole.update(example, 0.5)
        if i >= CHANGE + 33:
            assert first.update(example, 0.5) == found
    assert first.look() == whole.look()


def test_memory_is_bounded() -> None:
    detector, sizes = ReferenceModels(pipeline()), []
    for i, example in enumerate(examples("binary", change=None, rows=3 * EVERY + LEAST_TAUGHT), start=1):
        detector.update(example, 0.5)
        if i > TAUGHT and (i - LEAST_TAUGHT) % EVERY == 0:
            sizes.append(len(pickles.dumps(detector)))
    assert len(sizes) == 3
    assert max(sizes[1:]) < 1.1 * sizes[1]


def test_a_promotion_ends_what_was_told_and_keeps_what_watches() -> None:
    detector = ReferenceModels(pipeline())
    run(detector, examples("binary"))
    detector.reset(1)
    (stands,) = detector.look()
    assert stands.p_value > 1e-3


def test_detectors_that_only_report_do_not_watch() -> None:
    assert run(ReferenceModels(pipeline(deciding=())), examples("binary")) == []


def test_one_class_and_numbers_without_end_are_no_trouble() -> None:
    for task, value in (("binary", "1"), ("multiclass", "b"), ("regression", 1e150)):
        detector = ReferenceModels(pipeline(task))  # type: ignore[arg-type]
        for example in examples("binary", rows=2500):
            example.prediction.features.update(x0=None, x1=1e150, x2=-1e150, x3=0.0)
            held = Example(id=example.id, prediction=example.prediction, value=value, label_time_ms=0)
            assert detector.update(held, 0.5) == []
        assert all(np.isfinite(finding.statistic) for finding in detector.look())
