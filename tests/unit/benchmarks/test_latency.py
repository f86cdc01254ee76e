"""Percentiles."""

from __future__ import annotations

import pytest

from benchmarks.latency import percentile


def test_percentiles_of_a_ramp() -> None:
    ramp = [float(value) for value in range(101)]
    assert percentile(ramp, 50) == pytest.approx(50.0)
    assert percentile(ramp, 99) == pytest.approx(99.0)
