"""Drift on demand in a stream."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest

from penstock.contract import decoder_for
from penstock.events import Label, Request, encode
from penstock.spec import Boolean, Categorical, Numeric, Pipeline
from producers.drifts import Injection
from producers.injectors import inject
from producers.schedule import StreamRow

FEATURES = (Numeric("x"), Categorical("c"), Boolean("b"))
BINARY = Pipeline(name="p", task="binary", target="y", features=FEATURES, classes=("no", "yes"))
THREE = Pipeline(name="p", task="multiclass", target="y", features=FEATURES, classes=("a", "b", "c"))
NUMBER = Pipeline(name="p", task="regression", target="y", features=FEATURES)


def stream(pipeline: Pipeline, rows: int = 3000) -> list[StreamRow]:
    rng = random.Random(5)
    made = []
    for index in range(rows):
        features: dict[str, Any] = {
            "x": rng.gauss(10, 2),
            "c": rng.choices(["red", "green", "blue"], [6, 3, 1])[0],
            "b": rng.random() < 0.3,
        }
        if index % 50 == 7:
            features = dict.fromkeys(features)
        value = rng.choice(pipeline.classes) if pipeline.classes else rng.gauss(100, 5)
        id_ = str(index)
        request = encode(Request(id=id_, features=features, event_time_ms=index * 1000))
        label = encode(Label(id=id_, value=value)) if index % 10 != 3 else None
        made.append(StreamRow(index, id_, id_, index * 1000, request, label))
    return made


def features(row: StreamRow) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(row.request)["features"]
    return found


def outcome(row: StreamRow) -> Any:
    return None if row.label is None else msgspec.json.decode(row.label)["value"]


def mean(rows: list[StreamRow], name: str) -> float:
    values = [value for value in (features(row)[name] for row in rows) if value is not None]
    return sum(values) / len(values)


def test_nothing_injected_changes_nothing() -> None:
    rows = stream(BINARY)
    assert list(inject(rows, BINARY, [], seed=1)) == rows


@pytest.mark.parametrize("kind", ["covariate", "concept", "prior"])
def test_rows_before_the_drift_are_untouched_and_all_keep_the_contract(kind: Any) -> None:
    rows = stream(BINARY)
    out = list(inject(rows, BINARY, [Injection(kind, 1500, None if kind == "prior" else "x")], seed=1))
    assert out[:1500] == rows[:1500]
    assert out[1500:] != rows[1500:]
    check_request, check_label = decoder_for("requests", BINARY), decoder_for("labels", BINARY)
    for row in out:
        check_request(row.request)
        if row.label is not None:
            check_label(row.label)
    assert [row.row for row in out] == list(range(len(out)))


def test_covariate_shift_of_a_number_is_two_standard_deviations() -> None:
    rows = stream(BINARY)
    out = list(inject(rows, BINARY, [Injection("covariate", 1500, "x")], seed=1))
    assert mean(out[1500:], "x") - mean(rows[1500:], "x") == pytest.approx(4.0, abs=0.3)
    assert [outcome(row) for row in out] == [outcome(row) for row in rows]
    assert features(out[1507]) == {"x": None, "c": None, "b": None}


def test_covariate_shift_of_a_category_makes_the_rarest_common() -> None:
    out = list(inject(stream(BINARY), BINARY, [Injection("covariate", 1500, "c")], seed=1))
    share = sum(features(row)["c"] == "blue" for row in out[1500:]) / 1500
    assert share == pytest.approx(0.8 + 0.2 * 0.1, abs=0.03)


def test_covariate_shift_of_a_boolean_flips_it() -> None:
    rows = stream(BINARY)
    out = list(inject(rows, BINARY, [Injection("covariate", 1500, "b")], seed=1))
    for before, after in zip(rows[1500:], out[1500:], strict=True):
        value = features(before)["b"]
        assert features(after)["b"] == (None if value is None else not value)


def test_concept_change_flips_the_label_above_the_median_only() -> None:
    rows = stream(BINARY)
    out = list(inject(rows, BINARY, [Injection("concept", 1500, "x")], seed=1))
    flipped = {"yes": "no", "no": "yes", None: None}
    changed = 0
    for before, after in zip(rows[1500:], out[1500:], strict=True):
        assert after.request == before.request
        x = features(before)["x"]
        if x is not None and x > 10.3:
            assert outcome(after) == flipped[outcome(before)]
            changed += outcome(before) is not None
        elif x is None or x < 9.7:
            assert outcome(after) == outcome(before)
    assert changed > 400


def test_concept_change_rotates_classes_and_mirrors_numbers() -> None:
    rows = stream(THREE)
    out = list(inject(rows, THREE, [Injection("concept", 0, "c")], seed=1))
    pairs = {(outcome(a), outcome(b)) for a, b in zip(rows, out, strict=True) if features(a)["c"] == "blue"}
    assert pairs == {("a", "b"), ("b", "c"), ("c", "a"), (None, None)}
    numbers = stream(NUMBER)
    mirrored = list(inject(numbers, NUMBER, [Injection("concept", 0, "b")], seed=1))
    sums = [outcome(a) + outcome(b) for a, b in zip(numbers, mirrored, strict=True) if features(a)["b"] and a.label]
    assert max(sums) - min(sums) < 1e-9
    assert sums[0] == pytest.approx(200, abs=2)


def test_prior_shift_thins_one_class_and_rows_count_on() -> None:
    rows = stream(BINARY)
    out = list(inject(rows, BINARY, [Injection("prior", 1000, None)], seed=1))
    after = [outcome(row) for row in out[1000:] if row.label is not None]
    assert after.count("yes") / len(after) == pytest.approx(1 / 1.2, abs=0.03)
    assert [row.id for row in out] == [str(position) for position in range(len(out))]
    assert out[-1].time_ms == out[-1].row * 1000
    request = msgspec.json.decode(out[-1].request)
    assert (request["id"], request["event_time_ms"]) == (out[-1].id, out[-1].time_ms)
    assert out[-1].label is None or msgspec.json.decode(out[-1].label)["id"] == out[-1].id


def test_a_gradual_change_grows_over_its_width() -> None:
    rows = stream(BINARY)
    out = list(inject(rows, BINARY, [Injection("covariate", 1000, "b", width=1000)], seed=1))
    changed = [a.request != b.request for a, b in zip(rows, out, strict=True)]
    first, second, full = sum(changed[1000:1500]), sum(changed[1500:2000]), sum(changed[2000:2500])
    assert 60 < first < 180 < 300 < second < 430 < full <= 500


def test_a_recurring_change_comes_and_goes() -> None:
    rows = stream(BINARY)
    out = list(inject(rows, BINARY, [Injection("covariate", 1000, "b", period=500)], seed=1))
    same = [a.request == b.request for a, b in zip(rows, out, strict=True)]
    assert all(same[:1000])
    assert all(same[1500:2000])
    assert all(same[2500:])
    assert sum(same[1000:1500]) < 50
    assert sum(same[2000:2500]) < 50


def test_equal_seeds_give_equal_streams_and_others_do_not() -> None:
    changes = [Injection("prior", 500, None, width=300), Injection("covariate", 900, "c")]
    first, again, other = (list(inject(stream(BINARY), BINARY, changes, seed)) for seed in (1, 1, 2))
    assert first == again != other


def test_it_is_lazy_beyond_the_rows_it_looks_at() -> None:
    taken = 0

    def source() -> Any:
        nonlocal taken
        for row in stream(BINARY):
            taken += 1
            yield row

    out = inject(source(), BINARY, [Injection("concept", 10, "x")], seed=1)
    next(out)
    assert taken == 1000


def test_bad_rows_pass_through() -> None:
    bad = StreamRow(
        0, "0", "0", 0, b'{"id":"0","features":{"x":"abc"},"event_time_ms":0}', b'{"id":"0","value":"what"}'
    )
    ragged = StreamRow(1, "1", "1", 1000, b'{"id":"1","features":{},"fields":["a"],"event_time_ms":1000}', None)
    changes = [Injection("covariate", 0, "x"), Injection("concept", 0, "x"), Injection("prior", 0, None)]
    assert list(inject([bad, ragged], BINARY, changes, seed=1)) == [bad, ragged]
