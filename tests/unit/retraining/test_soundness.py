"""Models that answer wrongly, or too late, and stores that change what they keep."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from penstock.events import Features, Score
from penstock.models.artifact import MemoryArtifacts, Signer
from penstock.models.model import Model
from penstock.spec import Gates, Numeric, Pipeline
from retraining.soundness import artifact_gate, probe_gate, size_gate, time_gate

PIPELINE = Pipeline(name="p", task="binary", target="y", features=(Numeric("x", 0.0, 1.0),), classes=("0", "1"))
ROWS: list[Features] = [{"x": at / 50} for at in range(50)]


class Answers(Model):
    def __init__(self, answer: Callable[[float], Score]) -> None:
        self.answer = answer

    def score_many(self, rows: Sequence[Features]) -> list[Score]:
        return [self.answer(float(row["x"] or 0.0)) for row in rows]  # type: ignore[arg-type]


def logistic(x: float) -> float:
    return min(1.0, max(0.0, 0.1 + 0.5 * x))


def test_a_sound_model_passes() -> None:
    gate = probe_gate(PIPELINE, Answers(logistic), lambda _: Answers(logistic), b"", ROWS)
    assert (gate.passed, gate.value, gate.threshold) == (True, 0.0, 0.0)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda x: float("nan") if x > 0.9 else 0.5 * x, "are not finite or out of range"),
        (lambda x: 1.5 * x, "are not finite or out of range"),
        (lambda x: {"0": 1.0 - x, "1": x}, "are not finite or out of range"),
        (lambda _: 0.3, "the same score on all 50 rows: it has learned nothing"),
        (lambda x: 1.0 / 0.0 if x < 0.0 else 0.5, "it does not score: ZeroDivisionError"),
    ],
    ids=["nan", "range", "shape", "constant", "raises"],
)
def test_answers_that_are_no_scores_are_refused(answer: Callable[[float], Score], said: str) -> None:
    gate = probe_gate(PIPELINE, Answers(answer), lambda _: Answers(answer), b"", ROWS)
    assert gate.passed is False
    assert said in gate.detail


@pytest.mark.parametrize(
    "wrong",
    [{"a": 0.5, "b": 0.6, "c": 0.1}, {"a": 0.5, "b": 0.5}, {"a": 1.5, "b": -0.5, "c": 0.0}, 0.5],
    ids=["sum", "class", "range", "shape"],
)
def test_a_table_of_classes_must_be_one(wrong: Score) -> None:
    many = replace(PIPELINE, task="multiclass", classes=("a", "b", "c"))
    sound: Score = {"a": 0.2, "b": 0.3, "c": 0.5}
    model = Answers(lambda x: wrong if x > 0.5 else sound)
    assert probe_gate(many, model, lambda _: model, b"", ROWS).passed is False


def test_a_model_that_comes_back_changed_from_its_bytes_is_refused() -> None:
    gate = probe_gate(PIPELINE, Answers(logistic), lambda _: Answers(lambda x: logistic(x) * 0.999), b"", ROWS)
    assert gate.passed is False
    assert "once stored and loaded its scores differ" in gate.detail


class Ticking:
    """A clock that the model moves."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_the_time_of_a_row_is_held_to_the_limit() -> None:
    clock = Ticking()

    class Slow(Answers):
        def score_many(self, rows: Sequence[Features]) -> list[Score]:
            clock.now_s += 0.002 * len(rows)
            return super().score_many(rows)

    gates = [
        time_gate(replace(PIPELINE, gates=Gates(max_p99_ms=limit)), Slow(logistic), ROWS, clock)
        for limit in (1.0, 3.0, None)
    ]
    assert [gate.passed for gate in gates] == [False, True, None]
    assert gates[0].value == pytest.approx(2.0)
    assert "100 rows at once 200 ms, at most 1 ms wanted" in gates[0].detail


def test_one_slow_moment_of_the_machine_refuses_nobody() -> None:
    clock, asked = Ticking(), [0]

    class Interrupted(Answers):
        def score_many(self, rows: Sequence[Features]) -> list[Score]:
            asked[0] += 1
            clock.now_s += 5.0 if 50 < asked[0] < 60 else 0.001
            return super().score_many(rows)

    assert time_gate(PIPELINE, Interrupted(logistic), ROWS, clock).value == pytest.approx(1.0)


def test_where_no_time_passes_nothing_is_measured() -> None:
    gate = time_gate(PIPELINE, Answers(logistic), ROWS, lambda: 0.0)
    assert (gate.value, gate.passed, gate.threshold) == (None, None, 50.0)


def test_sizes() -> None:
    small = replace(PIPELINE, gates=Gates(max_artifact_bytes=10))
    assert size_gate(small, 10).passed
    assert size_gate(small, 11).passed is False


def test_what_the_store_gives_back_must_be_what_was_put() -> None:
    store = MemoryArtifacts(Signer(b"k" * 16))
    ref = store.put(b"model")
    assert artifact_gate(store, ref, b"model").passed
    assert artifact_gate(store, ref).passed
    assert artifact_gate(store, ref, b"other").passed is False
    assert artifact_gate(store, ref._replace(signature="0" * 64)).passed is False
    store._held[ref.uri] = b"m0del"
    gate = artifact_gate(store, ref)
    assert gate.passed is False
    assert "SHA-256 differs" in gate.detail
