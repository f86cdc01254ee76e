from __future__ import annotations

import pytest

from online import snapshot
from online.committee import Committee
from online.lagged import LaggedMembers
from online.recency import LAG_LIMIT
from penstock.spec import Numeric, Pipeline


class _Counting:
    """A member that says how many rows it has learned."""

    def __init__(self) -> None:
        self.rows = 0

    def predict(self, x):
        return (float(self.rows),)

    def learn(self, x, target, output):
        self.rows += 1


def _grown(rows: int) -> LaggedMembers:
    lagged, member = LaggedMembers(), _Counting()
    for learned in range(1, rows + 1):
        member.learn(None, 0.0, ())
        lagged.keep(learned, {0: member})
    return lagged


def _said(lagged: LaggedMembers, learned: int, lag: int | None) -> float | None:
    copies = lagged.at(learned, lag)
    return copies[0].predict(None)[0] if copies else None


def test_a_row_gets_the_copy_of_the_snapshot_that_scored_it():
    lagged = _grown(1000)
    assert _said(lagged, 1000, 600) == 400.0
    assert _said(lagged, 1000, 200) == 800.0
    assert _said(lagged, 1000, 350) == 800.0  # older ones were given up: lags hardly ever grow
    assert _said(lagged, 1000, None) == 800.0


@pytest.mark.parametrize("lag", [0, LAG_LIMIT + 1])
def test_without_a_lag_or_with_one_that_is_not_known_there_is_none(lag):
    assert _said(_grown(400), 400, lag) is None


def test_copies_are_bounded():
    lagged = _grown(LAG_LIMIT * 3)
    assert len(lagged._copies) == LAG_LIMIT // 200 + 1


def _stream(pipeline: Pipeline, rows: int):
    # A level that stays for 60 rows and that no feature tells: who was told the last row knows the next one.
    for row in range(rows):
        positive = row // 60 % 2 == 0
        yield {"x": float(row % 7)}, pipeline.classes[positive]


def test_the_blend_does_not_trust_what_the_scorer_cannot_know():
    pipeline = Pipeline(name="p", task="binary", target="y", classes=("0", "1"), features=(Numeric("x"),), tier="light")
    losses = {}
    for told in (True, False):
        committee, served, loss = Committee(pipeline), None, 0.0
        for features, outcome in _stream(pipeline, 2_000):
            lag = None
            if served is not None:
                score = served.score_one(features)
                loss += (score - (outcome == "1")) ** 2
                lag = committee.learned - served.learned if told else 0
            committee.learn_one(features, outcome, lag)
            if committee.learned % 200 == 0:
                served = snapshot.load(pipeline, snapshot.dump(committee))
        losses[told] = loss
    assert losses[True] < 0.8 * losses[False]


def test_a_committee_that_was_pickled_goes_on_with_the_same_copies():
    pipeline = Pipeline(name="p", task="regression", target="y", features=(Numeric("x"),), tier="light")
    first = Committee(pipeline)
    for row in range(450):
        first.learn_one({"x": float(row % 11)}, float(row % 5), 30)
    second = snapshot.load(pipeline, snapshot.dump(first))
    for row in range(450, 700):
        features, outcome = {"x": float(row % 11)}, float(row % 5)
        assert first.learn_one(features, outcome, 60) == second.learn_one(features, outcome, 60)
