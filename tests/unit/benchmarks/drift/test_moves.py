"""Streams whose errors or features change."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.drift.moves import MOVES, covariate_stream, error_stream


def test_the_error_rate_changes_where_it_says() -> None:
    stream = error_stream(0.4, seed=3)
    (drift,) = stream.drifts
    wrong = [(answer >= 0.5) != (y == "1") for answer, (_, y) in zip(stream.answers or [], stream.rows, strict=True)]
    assert np.mean(wrong[: drift.row]) == pytest.approx(0.2, abs=0.03)
    assert np.mean(wrong[drift.row :]) == pytest.approx(0.4, abs=0.03)


@pytest.mark.parametrize("move", MOVES)
def test_one_feature_moves_from_the_drift_on_and_the_streams_of_two_moves_are_independent(move: str) -> None:
    stream = covariate_stream(move, seed=0)
    (drift,) = stream.drifts
    assert drift.window.stop <= len(stream.rows)
    others = [name for name in MOVES if name != move]
    assert covariate_stream(others[0], seed=0).rows[0] != stream.rows[0]
    names = {features["c9"] for features, _ in stream.rows[: drift.row]}
    assert names == set("abcdefgh")
    assert None not in {features["x0"] for features, _ in stream.rows[: drift.row]}


def test_a_correlation_leaves_each_feature_as_it_was() -> None:
    stream = covariate_stream("correlation 0 to 0.8", seed=0)
    pairs = np.array([[features["x0"], features["x1"]] for features, _ in stream.rows], dtype=np.float64)
    later = pairs[stream.drifts[0].row :]
    assert float(np.mean(later[:, 0] * later[:, 1])) == pytest.approx(0.8, abs=0.08)
    assert later.std(axis=0) == pytest.approx([1.0, 1.0], abs=0.06)
