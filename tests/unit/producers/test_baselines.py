"""Floors that `init` derives from the simplest answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.spec import Gates, load_pipeline
from producers.infer import Inferred, infer_pipeline
from producers.template import render


def inferred(folder: Path, targets: list[str]) -> Inferred:
    path = folder / "t.csv"
    lines = [f"{(at * 37) % 101 / 10},{target}" for at, target in enumerate(targets)]
    path.write_text("\n".join(["x,y", *lines]) + "\n")
    return infer_pipeline(path, "y")


def written(folder: Path, found: Inferred) -> Gates:
    path = folder / "t.py"
    path.write_text(render(found))
    pipeline = load_pipeline(path)
    assert pipeline == found.pipeline
    return pipeline.gates


def test_the_most_frequent_class_is_the_floor_where_labels_alternate(tmp_path: Path) -> None:
    found = inferred(tmp_path, ["0", "1", "1", "0", "1"] * 40)
    gates = written(tmp_path, found)
    assert (gates.min_accuracy, gates.min_roc_auc) == (0.6, 0.5)
    assert any("the most frequent class is right in 60.0%" in note for note in found.notes)


def test_the_label_before_is_the_floor_where_labels_stay(tmp_path: Path) -> None:
    gates = written(tmp_path, inferred(tmp_path, (["a"] * 7 + ["b"] * 7 + ["c"] * 7) * 10))
    assert gates.min_accuracy == round(180 / 209, 4)


def test_a_rare_class_has_a_floor_on_its_ranking_instead(tmp_path: Path) -> None:
    gates = written(tmp_path, inferred(tmp_path, (["no"] * 24 + ["yes"]) * 8))
    assert (gates.min_accuracy, gates.min_roc_auc) == (None, 0.5)


def test_numbers_are_to_be_closer_than_the_median_and_the_value_before(tmp_path: Path) -> None:
    steady = written(tmp_path, inferred(tmp_path, [str(at) + ".5" for at in range(200)]))
    assert (steady.min_r2, steady.max_mae) == (0.0, 1.0)
    jumping = written(tmp_path, inferred(tmp_path, [f"{at % 2 * 10}.{at % 7}" for at in range(200)]))
    assert jumping.max_mae == pytest.approx(5.0, abs=0.1)


def test_numbers_that_overflow_set_no_ceiling(tmp_path: Path) -> None:
    gates = written(tmp_path, inferred(tmp_path, ["1e308", "-1e308", "0.5", "1.5"] * 50))
    assert gates.max_mae is None or gates.max_mae < float("inf")
