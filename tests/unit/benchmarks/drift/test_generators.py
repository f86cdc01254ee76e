"""Streams of generators: typed rows, equal for equal seeds, changed where they say so."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.drift.generators import GENERATORS, GRADUAL, TAUGHT, concept_stream, fixed
from penstock.contract import check_features, check_outcome


@pytest.mark.parametrize("generator", GENERATORS)
def test_rows_of_a_generator_keep_the_contract_and_repeat_with_the_seed(generator: str) -> None:
    stream = concept_stream(generator, GRADUAL, seed=1)
    for features, outcome in stream.rows[::500]:
        assert check_features(stream.pipeline, features) == features
        assert check_outcome(stream.pipeline, outcome) == outcome
    assert stream.rows == concept_stream(generator, GRADUAL, seed=1).rows


def test_another_concept_decides_between_the_two_changes_only() -> None:
    stream = concept_stream("SEA", 0, seed=0)
    come, gone = (drift.row for drift in stream.drifts)

    def surprises(start: int, stop: int) -> float:
        wrong = [
            (float(features["0"] or 0) + float(features["1"] or 0) > 7) != (outcome == "True")
            for features, outcome in stream.rows[start:stop]
        ]
        return float(np.mean(wrong))

    assert surprises(0, come) < 0.08
    assert surprises(come, gone) > 0.15
    assert surprises(gone, len(stream.rows)) < 0.08


def test_a_fixed_model_meets_the_first_change_only() -> None:
    stream = concept_stream("Sine", GRADUAL, seed=0)
    held = fixed(stream)
    assert held.taught == TAUGHT < held.drifts[0].row
    assert held.drifts == stream.drifts[:1]
    assert len(held.rows) == stream.drifts[1].row > held.drifts[0].window.stop
