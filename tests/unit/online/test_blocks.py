from __future__ import annotations

import pytest

from online.blocks import FadingBlocks, RollingBlocks, merged
from online.evaluation import measures
from online.tally import block_of, tally_of
from penstock.events import ScoreBlock
from penstock.spec import Numeric, Pipeline

BINARY = Pipeline(name="b", task="binary", target="y", classes=("no", "yes"), features=(Numeric("a"),))
REGRESSION = Pipeline(name="r", task="regression", target="y", features=(Numeric("x"),))


def test_rolling_blocks_hold_the_newest_examples_only():
    rolling = RollingBlocks(250)
    for index in range(10):
        rolling.add({"champion": ScoreBlock(n=100, correct=index), "v1": ScoreBlock(n=100, correct=1)})
    assert rolling.overall()["champion"] == ScoreBlock(n=1000, correct=45)
    assert rolling.rolling()["champion"] == ScoreBlock(n=200, correct=17)
    assert rolling.rolling()["v1"].correct == 2


def test_one_block_larger_than_the_window_is_still_shown():
    rolling = RollingBlocks(50)
    rolling.add({"champion": ScoreBlock(n=100, correct=90)})
    assert rolling.rolling()["champion"].n == 100


def test_merging_with_nothing_changes_nothing():
    block = block_of(BINARY, 0.7, "yes", "no")
    assert merged(ScoreBlock(), block) is merged(block, ScoreBlock()) is block
    assert merged(ScoreBlock(), ScoreBlock()) == ScoreBlock()


def test_fading_blocks_weigh_examples_by_those_that_came_after():
    fading, factor = FadingBlocks(0.9), 0.9
    rows = [(0.8, "yes"), (0.2, "yes"), (0.6, "no"), (0.9, "yes")]
    for score, outcome in rows:
        fading.add({"champion": block_of(BINARY, score, outcome, "yes")})
    weights = [factor**age for age in (3, 2, 1, 0)]
    found = fading.faded()["champion"]
    assert found.n == pytest.approx(sum(weights))
    assert found.correct == pytest.approx(weights[0] + weights[3])
    measured = measures(BINARY, found)
    assert measured["accuracy"] == pytest.approx((weights[0] + weights[3]) / sum(weights))
    assert measured["balanced_accuracy"] == pytest.approx(
        0.5 * (weights[0] + weights[3]) / (weights[0] + weights[1] + weights[3])
    )
    assert measured["no_change_accuracy"] == pytest.approx(1 - weights[2] / sum(weights))


def test_a_regressions_spread_fades_too():
    fading, values = FadingBlocks(0.9), [1.0, 5.0, 2.0, 4.0]
    for value in values:
        fading.add({"champion": block_of(REGRESSION, 3.0, value)})
    weights = [0.9**age for age in (3, 2, 1, 0)]
    mean = sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights)
    found = fading.faded()["champion"]
    assert found.target_mean == pytest.approx(mean)
    assert found.target_squares == pytest.approx(sum(w * (v - mean) ** 2 for w, v in zip(weights, values, strict=True)))


def test_a_factor_of_one_fades_nothing():
    fading, whole = FadingBlocks(1.0), tally_of(BINARY)
    for index in range(300):
        score, outcome = (index % 11) / 10, "yes" if index % 3 else "no"
        whole.add(score, outcome, None)
        fading.add({"champion": block_of(BINARY, score, outcome)})
    expected = measures(BINARY, whole.block())
    assert measures(BINARY, fading.faded()["champion"]) == {
        name: None if value is None else pytest.approx(value) for name, value in expected.items()
    }
