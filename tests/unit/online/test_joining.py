"""The join rule: a predicate of two records and their own partitions, whatever the interleaving."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from online.joining import Join
from penstock.events import Example, Label, Prediction


def prediction(id_: str, time: int, score: float = 0.25) -> Prediction:
    return Prediction(
        id=id_,
        entity=f"e-{id_}",
        event_time_ms=time,
        features={"x": 1.0},
        version="online",
        generation=0,
        decision="0",
        score=score,
    )


def label(id_: str, time: int | None, value: str = "1") -> Label:
    return Label(id=id_, value=value, event_time_ms=time)


NOW = 10**9


def test_a_label_meets_its_prediction() -> None:
    join = Join(None, None)
    assert join.add_prediction(prediction("a", 5), NOW) == []
    (example,) = join.add_label(label("a", 9), NOW)
    assert example == Example(id="a", prediction=prediction("a", 5), value="1", label_time_ms=9)
    assert join.counts == Counter(joined=1)


def test_a_label_before_its_prediction_is_early() -> None:
    join = Join(None, None)
    join.add_label(label("a", 9), NOW)
    (example,) = join.add_prediction(prediction("a", 5), NOW)
    assert (example.revision, example.value) == (0, "1")
    assert join.counts["early"] == 1


def test_the_append_time_stands_in_for_a_labels_time() -> None:
    join = Join(None, None)
    join.add_prediction(prediction("a", 5), NOW)
    assert join.add_label(label("a", None), 77)[0].label_time_ms == 77


def test_a_number_stays_a_number() -> None:
    join = Join(None, None)
    join.add_prediction(prediction("a", 5), NOW)
    value = join.add_label(Label(id="a", value=3), NOW)[0].value
    assert (value, type(value)) == (3.0, float)


def test_later_labels_are_revisions_of_a_prediction_without_features() -> None:
    join = Join(None, None)
    join.add_prediction(prediction("a", 5), NOW)
    join.add_label(label("a", 9, "1"), NOW)
    (second,) = join.add_label(label("a", 10, "0"), NOW)
    (third,) = join.add_label(label("a", 11, "1"), NOW)
    assert [(e.revision, e.value, e.prediction.features) for e in (second, third)] == [(1, "0", {}), (2, "1", {})]
    assert second.prediction.entity == "e-a"
    assert join.counts["revisions"] == 2


def test_revisions_that_came_before_the_prediction_follow_the_pair() -> None:
    join = Join(10, 10)
    join.add_label(label("a", 1, "1"), NOW)
    assert join.add_label(label("a", 2, "0"), NOW) == []
    examples = join.add_prediction(prediction("a", 0), NOW)
    assert [(e.revision, e.value) for e in examples] == [(0, "1"), (1, "0")]


def test_a_repeated_prediction_is_counted_and_the_first_one_is_joined() -> None:
    join = Join(None, None)
    join.add_prediction(prediction("a", 5, 0.25), NOW)
    join.add_prediction(prediction("a", 6, 0.75), NOW)
    assert join.add_label(label("a", 9), NOW)[0].prediction.score == 0.25
    join.add_prediction(prediction("a", 7, 0.75), NOW)
    assert join.counts["repeated_predictions"] == 2


def test_the_horizon_is_measured_by_the_labels_watermark_not_by_its_own_time() -> None:
    join = Join(10, 1000)
    join.add_prediction(prediction("a", 0), NOW)
    assert len(join.add_label(label("a", 500), NOW)) == 1, "nothing before it in its partition was later than 10"


def test_a_label_on_the_horizon_is_in_time_and_one_beyond_is_late() -> None:
    for before, expected in ((10, 1), (11, 0)):
        join = Join(10, 1000)
        join.add_prediction(prediction("a", 0), NOW)
        join.add_label(label("other", before), NOW)
        assert len(join.add_label(label("a", before), NOW)) == expected
        assert join.counts["late"] == 1 - expected
        assert join.counts["unlabelled"] == 1 - expected


def test_a_label_is_late_too_when_its_prediction_comes_after_it() -> None:
    join = Join(10, 1000)
    join.add_label(label("other", 11), NOW)
    join.add_label(label("a", 11), NOW)
    assert join.add_prediction(prediction("a", 0), NOW) == []
    assert join.counts["late"] == 1


def test_watermarks_are_clamped_to_append_time() -> None:
    join = Join(10, 1000)
    join.add_prediction(prediction("a", 0), 0)
    join.add_label(label("from-the-future", 10**12), appended_ms=3)
    assert len(join.add_label(label("a", 4), 5)) == 1


def test_the_early_bound_is_measured_by_the_predictions_watermark() -> None:
    for before, expected in ((15, 1), (16, 0)):
        join = Join(1000, 5)
        join.add_label(label("a", 10), NOW)
        join.add_prediction(prediction("other", before), NOW)
        assert len(join.add_prediction(prediction("a", before), NOW)) == expected
        assert join.counts["orphans"] == 1 - expected


def test_an_evicted_label_is_not_revived_by_its_revision() -> None:
    join = Join(1000, 5)
    join.add_label(label("a", 10), NOW)
    join.add_prediction(prediction("other", 16), NOW)
    join.add_label(label("a", 11), NOW)
    assert join.add_prediction(prediction("a", 16), NOW) == []


def test_memory_is_bounded_when_both_bounds_are_finite() -> None:
    join = Join(100, 100)
    sizes = []
    for i in range(3000):
        join.add_prediction(prediction(f"p{i}", i), NOW)
        if i % 3:
            join.add_label(label(f"p{i}", i), NOW)
        else:
            join.add_label(label(f"lone{i}", i), NOW)
        sizes.append(len(join.state()))
    assert max(sizes[1500:]) <= max(sizes[:1500]) * 1.05
    counts = join.counts
    assert counts["joined"] == 2000
    assert 900 < counts["unlabelled"] <= 1000
    assert 900 < counts["orphans"] <= 1000


def test_lone_records_wait_for_ever_without_bounds() -> None:
    join = Join(None, None)
    join.add_prediction(prediction("a", 0), NOW)
    join.add_label(label("b", 0), NOW)
    for i in range(500):
        join.add_prediction(prediction(f"p{i}", 10**8 + i), NOW)
        join.add_label(label(f"p{i}", 10**8 + i), NOW)
    assert len(join.add_label(label("a", 10**8), NOW)) == 1
    assert len(join.add_prediction(prediction("b", 10**8), NOW)) == 1


IDS = st.sampled_from("abcd")
TIMES = st.integers(-20, 60)
APPENDS = st.lists(st.tuples(IDS, TIMES, st.integers(-5, 60)), max_size=25)
BOUND = st.one_of(st.none(), st.integers(0, 30))


def run(join: Join, predictions: list[tuple[str, int, int]], labels: list[tuple[str, int, int]], order: list[bool]):
    """Feed both partitions, each in its own order, interleaved by ``order``; a restore after every record."""
    found = []
    left, right = list(enumerate(predictions)), list(enumerate(labels))
    choices = iter(order)
    while left or right:
        take_left = bool(left) and (not right or next(choices, True))
        number, (id_, time, appended) = (left if take_left else right).pop(0)
        if take_left:
            found += join.add_prediction(prediction(id_, time, number / 100), appended)
        else:
            found += join.add_label(label(id_, time, str(number)), appended)
        fresh = Join(join._horizon_ms, join._early_bound_ms)
        fresh.restore(join.state())
        assert fresh.counts == join.counts
        join = fresh
    return found, join


def key(example: Example) -> tuple[str, int, str, int, float | None, int]:
    p = example.prediction
    return (example.id, example.revision, str(example.value), example.label_time_ms, p.score, p.event_time_ms)


@settings(max_examples=400, deadline=None)
@given(BOUND, BOUND, APPENDS, APPENDS, st.lists(st.booleans()), st.lists(st.booleans()))
def test_any_interleaving_gives_the_same_examples(horizon, early, predictions, labels, one, other) -> None:
    first, _ = run(Join(horizon, early), predictions, labels, one)
    second, _ = run(Join(horizon, early), predictions, labels, other)
    assert sorted(map(key, first), key=str) == sorted(map(key, second), key=str)


@settings(max_examples=200, deadline=None)
@given(BOUND, BOUND, APPENDS, APPENDS, st.lists(st.booleans()))
def test_a_prediction_and_a_label_are_used_once_at_most(horizon, early, predictions, labels, order) -> None:
    found, join = run(Join(horizon, early), predictions, labels, order)
    firsts = [e for e in found if e.revision == 0]
    assert len({e.prediction.score for e in firsts}) == len(firsts)
    assert len({e.value for e in found}) == len(found)
    if horizon is None or early is None:
        assert len({e.id for e in firsts}) == len(firsts)
    assert join.counts["joined"] == len(firsts)
    assert join.counts["revisions"] == len(found) - len(firsts)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 30), st.integers(0, 30), APPENDS, APPENDS, st.lists(st.booleans()))
def test_ids_used_once_are_joined_by_the_written_rule(horizon, early, predictions, labels, order) -> None:
    predictions = list({id_: (id_, t, a) for id_, t, a in reversed(predictions)}.values())
    labels = list({id_: (id_, t, a) for id_, t, a in reversed(labels)}.values())
    found, _ = run(Join(horizon, early), predictions, labels, order)
    expected = set()
    for i, (id_, time, _a) in enumerate(predictions):
        prediction_mark = max((min(t, a) for _, t, a in predictions[:i]), default=-(10**9))
        for j, (other, label_time, _b) in enumerate(labels):
            label_mark = max((min(t, a) for _, t, a in labels[:j]), default=-(10**9))
            if other == id_ and label_mark <= time + horizon and prediction_mark <= label_time + early:
                expected.add((id_, i / 100, str(j)))
    assert {(e.id, e.prediction.score, e.value) for e in found} == expected
