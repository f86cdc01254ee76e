"""Sampled Shapley values against exact ones, and the drift between two explanations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.events import Features, Score
from penstock.spec import Gates, Numeric, Pipeline
from retraining.explanation import Explanation, drift, explain, explanation_gate

NAMES = ("a", "b", "c", "d")
PIPELINE = Pipeline(name="p", task="regression", target="y", features=tuple(Numeric(name) for name in NAMES))
ROWS: list[Features] = [
    dict(zip(NAMES, values, strict=True)) for values in np.random.default_rng(5).normal(size=(40, 4)).tolist()
]


class Curved:
    """3a + b·c, and nothing of d."""

    def score_many(self, rows: Sequence[Features]) -> list[Score]:
        return [3.0 * float(row["a"]) + float(row["b"]) * float(row["c"]) for row in rows]  # type: ignore[arg-type]


def exact(model: Curved, rows: Sequence[Features]) -> dict[str, float]:
    """Mean |φ| by the definition: every coalition, every background row."""
    totals = dict.fromkeys(NAMES, 0.0)
    for row in rows:
        worth: dict[frozenset[str], float] = {}
        for size in range(len(NAMES) + 1):
            for coalition in combinations(NAMES, size):
                mixed = [other | {name: row[name] for name in coalition} for other in rows]
                worth[frozenset(coalition)] = float(np.mean(model.score_many(mixed)))  # type: ignore[arg-type]
        for name in NAMES:
            value = 0.0
            for coalition in (held for held in worth if name not in held):
                weight = math.factorial(len(coalition)) * math.factorial(3 - len(coalition)) / math.factorial(4)
                value += weight * (worth[coalition | {name}] - worth[coalition])
            totals[name] += abs(value)
    return {name: total / len(rows) for name, total in totals.items()}


def test_sampled_values_come_close_to_the_exact_ones() -> None:
    found, wanted = explain(PIPELINE, Curved(), ROWS).importances, exact(Curved(), ROWS)
    assert found["d"] == 0.0
    assert sorted(found, key=found.__getitem__, reverse=True)[0] == "a"
    for name in ("a", "b", "c"):
        assert found[name] == pytest.approx(wanted[name], rel=0.35)


def test_the_same_model_drifts_by_nothing_and_equal_calls_are_equal() -> None:
    one, again = explain(PIPELINE, Curved(), ROWS), explain(PIPELINE, Curved(), ROWS)
    assert one == again
    assert drift(one, again).total_variation == 0.0
    assert drift(one, again).rank_correlation == pytest.approx(1.0)


def test_classes_are_averaged_over() -> None:
    class Table:
        def score_many(self, rows: Sequence[Features]) -> list[Score]:
            moves = [0.1 * math.tanh(float(row["a"])) for row in rows]  # type: ignore[arg-type]
            return [{"u": 0.5 + move, "v": 0.5 - move} for move in moves]

    many = replace(PIPELINE, task="multiclass", classes=("u", "v"))
    assert explain(many, Table(), ROWS).shares() == {"a": pytest.approx(1.0), "b": 0.0, "c": 0.0, "d": 0.0}


def test_many_features_cost_no_more_scores() -> None:
    asked: list[int] = []

    class Counting(Curved):
        def score_many(self, rows: Sequence[Features]) -> list[Score]:
            asked.append(len(rows))
            return [0.0] * len(rows)

    names = [f"f{index}" for index in range(150)]
    wide = replace(PIPELINE, features=tuple(Numeric(name) for name in names))
    explain(wide, Counting(), [dict.fromkeys(names, 0.0)] * 500)
    assert sum(asked) <= 20_000


@given(st.lists(st.floats(0.0, 10.0), min_size=4, max_size=4), st.lists(st.floats(0.0, 10.0), min_size=4, max_size=4))
def test_drift_is_symmetric_and_in_the_unit_interval(mine: list[float], theirs: list[float]) -> None:
    one, other = (Explanation(dict(zip(NAMES, values, strict=True)), 1) for values in (mine, theirs))
    found = drift(one, other)
    assert 0.0 <= found.total_variation <= 1.0 + 1e-9
    assert found.total_variation == pytest.approx(drift(other, one).total_variation)


def test_a_model_that_looks_elsewhere_is_refused_where_the_spec_sets_a_limit() -> None:
    mine = Explanation({"a": 0.0, "b": 1.0, "c": 3.0, "d": 0.0}, 8)
    theirs = Explanation({"a": 3.0, "b": 1.0, "c": 0.0, "d": 0.0}, 8)
    limited = replace(PIPELINE, gates=Gates(max_explanation_drift=0.5))
    gate = explanation_gate(limited, mine, theirs, "")
    assert (gate.value, gate.threshold, gate.passed) == (0.75, 0.5, False)
    assert "a moved most, from 75.0% to 0.0%" in gate.detail
    assert explanation_gate(PIPELINE, mine, theirs, "").passed is None
    unknown = explanation_gate(limited, mine, None, "the champion does not load")
    assert (unknown.value, unknown.passed, unknown.detail) == (None, None, "the champion does not load")


def test_a_model_that_looks_at_nothing_is_as_far_as_can_be() -> None:
    nothing = Explanation(dict.fromkeys(NAMES, 0.0), 1)
    something = Explanation(dict.fromkeys(NAMES, 1.0), 1)
    assert drift(nothing, something).total_variation == 1.0
    assert drift(nothing, nothing).total_variation == 0.0
    assert drift(nothing, nothing).rank_correlation is None
