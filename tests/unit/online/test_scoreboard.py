from __future__ import annotations

from itertools import pairwise

import pytest

from online.scoreboard import CHAMPION, MISSING, POOLED, Scoreboard
from online.tally import BIN_EDGES, BIN_TENTHS, BINS, tally_of
from penstock.events import Example, Prediction
from penstock.spec import Boolean, Categorical, Numeric, Pipeline

FEATURES = (Categorical("city", values=("paris",)), Boolean("new"), Numeric("a"))
PIPELINE = Pipeline(
    name="p", task="binary", target="y", classes=("no", "yes"), features=FEATURES, segments=("city", "new")
)
MULTI = Pipeline(name="m", task="multiclass", target="y", classes=("a", "b", "c"), features=(Numeric("x"),))
REGRESSION = Pipeline(name="r", task="regression", target="y", features=(Numeric("x"),))


def example(city, value="yes", *, new=True, score=0.8, version="v1", role="champion", shadow=None):
    prediction = Prediction(
        id="i",
        entity="e",
        event_time_ms=0,
        features={"city": city, "new": new, "a": 1.0},
        version=version,
        generation=0,
        decision="yes",
        role=role,
        score=score,
        shadow=shadow or {},
    )
    return Example(id="i", prediction=prediction, value=value, label_time_ms=1)


def test_versions_and_what_was_served():
    board = Scoreboard(PIPELINE)
    board.add(example("paris", shadow={"online": 0.3}))
    board.add(example("paris", version="online", score=0.9, shadow={"v1": 0.1}))
    board.add(example("paris", "no", version="v7", role="canary"))
    blocks, _ = board.flush()
    assert list(blocks) == [CHAMPION, "online", "v1", "v7"]
    assert [block.n for block in blocks.values()] == [2, 2, 2, 1]
    assert blocks[CHAMPION].correct == 2
    assert blocks["online"].correct == blocks["v1"].correct == 1
    assert (blocks[CHAMPION].no_change_n, blocks[CHAMPION].no_change_correct) == (1, 1)
    assert (blocks["v7"].no_change_n, blocks["v7"].no_change_correct) == (1, 0)
    assert board.flush() == ({}, {})


def test_segments_hold_what_was_served():
    board = Scoreboard(PIPELINE)
    for city, new in [("paris", True), ("rome", False), (None, None), ("paris", False)]:
        board.add(example(city, new=new))
    board.add(example("paris", role="canary"))
    _, segments = board.flush()
    assert {name: {value: block.n for value, block in values.items()} for name, values in segments.items()} == {
        "city": {MISSING: 1, "paris": 2, "rome": 1},
        "new": {MISSING: 1, "false": 2, "true": 1},
    }


def test_a_segment_of_a_hundred_thousand_values_stays_small():
    board = Scoreboard(PIPELINE)
    names = set()
    for look in range(10):
        for index in range(1000):
            board.add(example(f"city-{look * 1000 + index}"))
        names |= set(board.flush()[1]["city"])
    assert len(names) == 20  # declared and never seen: paris; pooled: the rest
    assert POOLED in names


def test_restored_it_goes_on_in_the_same_way():
    cities = ["paris", "rome", None, *(f"c{i}" for i in range(30))]
    rows = [example(city, "yes" if i % 3 else "no", shadow={"v0": 0.2}) for i, city in enumerate(cities)]
    whole, first, second = (Scoreboard(PIPELINE) for _ in range(3))
    for row in rows:
        whole.add(row)
    for row in rows[:20]:
        first.add(row)
    second.restore(first.state())
    assert second.state() == first.state()
    for row in rows[20:]:
        second.add(row)
    assert second.state() == whole.state()
    assert second.flush() == whole.flush()
    assert second.state() == whole.state()


def test_other_segments_than_before_start_afresh():
    board = Scoreboard(PIPELINE)
    board.add(example("paris"))
    fewer = Scoreboard(Pipeline(name="p", task="binary", target="y", classes=("no", "yes"), features=FEATURES))
    fewer.restore(board.state())
    assert fewer.flush()[1] == {}
    more = Scoreboard(PIPELINE)
    more.restore(fewer.state())
    more.add(example("rome"))
    assert list(more.flush()[1]["city"]) == ["rome"]


@pytest.mark.parametrize(
    ("pipeline", "rows"),
    [
        (PIPELINE, [(0.2, "no"), (0.9, "yes"), (0.5, "no")]),
        (MULTI, [({"a": 0.2, "b": 0.3, "c": 0.5}, "c"), ({"a": 0.6, "b": 0.3, "c": 0.1}, "b")]),
        (REGRESSION, [(1.0, 2.5), (3.0, 2.0), (0.1, 7.0)]),
    ],
    ids=["binary", "multiclass", "regression"],
)
def test_a_tally_is_restored_bit_by_bit(pipeline, rows):
    whole, restored = tally_of(pipeline), tally_of(pipeline)
    whole.add(*rows[0], None)
    restored.restore(whole.state())
    for (_, previous), (score, value) in pairwise(rows):
        whole.add(score, value, previous)
        restored.add(score, value, previous)
    assert restored.block() == whole.block()
    assert restored.state() == whole.state()


@pytest.mark.parametrize("pipeline", [PIPELINE, MULTI, REGRESSION], ids=lambda p: p.task)
def test_a_score_of_another_task_is_a_bug(pipeline):
    wrong = 0.5 if pipeline is MULTI else {"a": 1.0}
    with pytest.raises(TypeError):
        tally_of(pipeline).add(wrong, "yes", None)


def test_bins_are_whole_tenths():
    assert BINS == 80 == len(BIN_TENTHS)
    assert list(BIN_EDGES) == sorted(BIN_EDGES)
    assert all(edge in BIN_EDGES for edge in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9))
    assert (BIN_TENTHS[0], BIN_TENTHS[-1]) == (0, 9)
