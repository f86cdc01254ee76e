"""What the benchmark of adaptation counts, on answers made by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.adaptation import WINDOW, Told, _first, _rolling, summary


def told(number: int, ended: str, better: bool | None, served: int, batch: int | None) -> Told:
    recovery = {"served": served, "online": 500, "batch": batch}
    return Told(number, "SEA, abrupt", "v1", True, ended, better, recovery)


def test_figures_count_drifts_and_leave_out_what_is_not_defined() -> None:
    figures = summary(
        [told(0, "promoted", True, 300, 900), told(1, "rejected", None, 500, None), told(2, "", False, 700, 100)]
    )
    assert [figures[name] for name in ("drifts", "found", "ended", "promoted", "better", "compared")] == [
        3,
        3,
        2,
        1,
        1,
        2,
    ]
    assert figures["recovery_served"] == {"n": 3, "median": 500.0, "p90": 660.0}
    assert figures["recovery_batch"]["n"] == 2


def test_recovery_is_the_end_of_the_first_good_window_after_the_drift() -> None:
    hits = [1.0] * 1000 + [0.0] * 200 + [1.0] * 800
    rolling = _rolling(hits, 1000)
    assert rolling[0] == pytest.approx((WINDOW - 200) / WINDOW)
    assert _first(rolling, 1.0) == 200 + WINDOW
    assert _first(rolling, 2.0) == WINDOW + len(rolling), "never: as many rows as were left"


def test_a_window_without_scores_is_no_recovery() -> None:
    hits = [math.nan] * 400 + [1.0] * 400
    rolling = _rolling(hits, 0)
    assert np.isnan(rolling[0])
    assert _first(rolling, 0.9) > WINDOW
