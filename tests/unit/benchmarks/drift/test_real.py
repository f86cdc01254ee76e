"""Real data that is not there is left out, and says so."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from benchmarks.drift import real
from benchmarks.drift.real import ROWS, START, STRETCHES, real_streams


def test_absent_data_sets_are_skipped_aloud(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PENSTOCK_DATASETS_DIR", str(tmp_path))
    assert list(real_streams()) == []
    said = capsys.readouterr().err
    assert all(f"SKIPPED {name}" in said for name in STRETCHES)


def test_a_data_set_gives_a_concept_drift_and_a_covariate_shift_whose_labels_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PENSTOCK_DATASETS_DIR", str(tmp_path))
    monkeypatch.setattr(real, "STRETCHES", {"bike_demand": (500, "f2")})
    lines = [
        "f0,f1,f2,f3,class",
        *(f"0.{i % 7},0.3,0.{i % 10},0.1,{'high' if i % 3 else 'low'}" for i in range(11_000)),
    ]
    with gzip.open(tmp_path / "bike_demand.csv.gz", "wt") as file:
        file.write("\n".join(lines) + "\n")
    concept, covariate = real_streams()
    for stream in (concept, covariate):
        assert (len(stream.rows), stream.drifts[0].row) == (ROWS, START)
        assert stream.rows[0][0]["f0"] == pytest.approx(0.1 * (500 % 7))
    before, after = covariate.rows[:START], covariate.rows[START:]
    assert concept.rows[:START] == before
    assert [outcome for _, outcome in after] == [
        "high" if (500 + START + i) % 3 else "low" for i in range(ROWS - START)
    ]
    assert min(float(features["f2"] or 0) for features, _ in after) > 0.5
    flipped = [one[1] != other[1] for one, other in zip(concept.rows[START:], after, strict=True)]
    assert 0.3 < sum(flipped) / len(flipped) < 0.6
