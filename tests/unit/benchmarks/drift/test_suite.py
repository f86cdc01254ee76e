"""Figures of the contestants, and who counts as a rival."""

from __future__ import annotations

import pytest

from benchmarks.drift.contestants import DUMMY, PRODUCT
from benchmarks.drift.moves import error_stream
from benchmarks.drift.scoring import Figures
from benchmarks.drift.suite import Suite, rival


def figures(rate: float, false: float, delay: float | None) -> Figures:
    return Figures(rate, false, delay, delay, 0.5, 10, 10)


def test_a_rival_alarms_falsely_no_more_often_and_finds_about_as_much() -> None:
    contestants = {
        PRODUCT: figures(1.0, 0.1, 200.0),
        "River EDDM": figures(1.0, 29.0, 50.0),
        "River DDM": figures(0.5, 0.0, 60.0),
        "River ADWIN": figures(0.96, 0.1, 240.0),
        "River HDDM-A": figures(1.0, 0.0, 260.0),
        "Frouros ADWIN": figures(1.0, 0.0, 10.0),
    }
    assert rival(contestants) == ("River ADWIN", contestants["River ADWIN"])
    assert rival({PRODUCT: contestants[PRODUCT], "River EDDM": contestants["River EDDM"]}) is None


def test_all_contestants_play_a_stream_and_the_product_finds_a_doubled_error() -> None:
    suite = Suite()
    suite.run([error_stream(0.4, seed=0)], frouros=None, slow_seeds=0)
    found = suite.figures()["error rate"]
    assert {PRODUCT, DUMMY, "River ADWIN", "River EDDM"} <= found.keys()
    assert any(name.startswith(f"{PRODUCT} concept: ") for name in found)
    assert found[PRODUCT].detection_rate == 1.0
    assert found[PRODUCT] == suite.product(["error rate"])
    assert found[PRODUCT].median_delay == pytest.approx(150, abs=150)
    assert all(each.drifts == 1 for each in found.values())
