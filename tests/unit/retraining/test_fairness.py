"""Fairness of decisions whose disparity is known."""

from __future__ import annotations

from dataclasses import replace

import pytest

from penstock.events import FeatureValue, GateResult
from penstock.spec import Categorical, Gates, Numeric, Pipeline
from retraining.dataset import Row
from retraining.fairness import fairness_gates, fairness_report

PIPELINE = Pipeline(
    name="p",
    task="binary",
    target="y",
    features=(Numeric("age"), Categorical("sex")),
    classes=("0", "1"),
    protected=("sex",),
)


def decisions(attribute: str, *groups: tuple[FeatureValue, int, int, int, int]) -> tuple[list[Row], list[float]]:
    """Per group: value, rows, favoured; and of these rows deserving, deserving that are favoured."""
    rows, scores = [], []
    for value, count, favoured, deserving, both in groups:
        for at in range(count):
            good = at < deserving
            chosen = at < both or deserving <= at < deserving + favoured - both
            rows.append(Row(str(len(rows)), len(rows), {"age": 1.0, "sex": "x"} | {attribute: value}, "01"[good], {}))
            scores.append(0.9 if chosen else 0.1)
    return rows, scores


def gates_of(pipeline: Pipeline, data: tuple[list[Row], list[float]]) -> dict[str, GateResult]:
    return {gate.name: gate for gate in fairness_gates(pipeline, fairness_report(pipeline, *data))}


def test_ratios_and_counts_are_in_the_evidence() -> None:
    gates = gates_of(PIPELINE, decisions("sex", ("f", 400, 300, 200, 180), ("m", 500, 400, 250, 240)))
    impact, chance, parity = (
        gates[f"{name}:sex"] for name in ("disparate_impact", "equal_opportunity", "demographic_parity")
    )
    assert (impact.value, impact.threshold, impact.passed) == (pytest.approx(0.75 / 0.8), 0.8, True)
    assert (chance.value, chance.threshold, chance.passed) == (pytest.approx(0.9 / 0.96), 0.85, True)
    assert (parity.value, parity.threshold, parity.passed) == (pytest.approx(0.05), None, None)
    assert "m: 400/500, f: 300/400" in impact.detail
    assert "m: 240/250, f: 180/200" in chance.detail


def test_the_favourable_decision_may_be_the_negative_class() -> None:
    data = decisions("sex", ("f", 400, 300, 200, 180), ("m", 500, 100, 250, 50))
    assert gates_of(PIPELINE, data)["disparate_impact:sex"].value == pytest.approx(0.2 / 0.75)
    flipped = gates_of(replace(PIPELINE, favourable="0"), data)
    assert flipped["disparate_impact:sex"].value == pytest.approx(0.25 / 0.8)


def test_a_disparity_beyond_its_limit_is_refused() -> None:
    pipeline = replace(PIPELINE, gates=Gates(max_demographic_parity=0.1))
    gates = gates_of(pipeline, decisions("sex", ("f", 400, 160, 200, 100), ("m", 400, 320, 200, 190)))
    assert {name: gate.passed for name, gate in gates.items()} == {
        "demographic_parity:sex": False,
        "disparate_impact:sex": False,
        "equal_opportunity:sex": False,
    }


def test_what_chance_may_have_made_is_said_to_be_so() -> None:
    gates = gates_of(PIPELINE, decisions("sex", ("f", 110, 30, 40, 20), ("m", 110, 40, 40, 20)))
    impact = gates["disparate_impact:sex"]
    assert impact.value == pytest.approx(0.75)
    assert impact.passed is None
    assert "too small to tell it from chance" in impact.detail


def test_a_group_that_is_too_small_is_named_and_not_judged() -> None:
    gates = gates_of(PIPELINE, decisions("sex", ("f", 99, 0, 29, 0), ("m", 400, 300, 200, 180)))
    for name in ("disparate_impact:sex", "equal_opportunity:sex"):
        assert (gates[name].value, gates[name].passed) == (None, None)
        assert "fewer than two groups are large enough" in gates[name].detail
    assert "too small to judge f: 99" in gates["disparate_impact:sex"].detail
    assert "too small to judge f: 29" in gates["equal_opportunity:sex"].detail
    third = gates_of(
        PIPELINE, decisions("sex", ("f", 99, 0, 29, 0), ("m", 400, 300, 200, 180), ("n", 400, 290, 200, 180))
    )
    assert third["disparate_impact:sex"].passed is True
    assert "too small to judge f: 99" in third["disparate_impact:sex"].detail


def test_where_nobody_is_favoured_there_is_no_ratio() -> None:
    impact = gates_of(PIPELINE, decisions("sex", ("f", 200, 0, 50, 0), ("m", 200, 0, 50, 0)))["disparate_impact:sex"]
    assert (impact.value, impact.passed) == (None, None)
    assert "nobody is favoured" in impact.detail


def test_numbers_are_grouped_by_quarters_and_missing_ones_are_of_no_group() -> None:
    pipeline = replace(PIPELINE, protected=("age",))
    ages = [(float(age), 110, 80, 60, 50) for age in (25, 35, 45, 55)]
    (report,) = fairness_report(pipeline, *decisions("age", *ages, (None, 50, 0, 25, 0)))
    assert [(group.name, group.rows) for group in report.groups] == [("45…", 220), ("35…45", 110), ("…35", 110)]
    assert report.selection.ratio == pytest.approx(1.0)


def test_an_exempt_attribute_is_reported_with_the_reason() -> None:
    pipeline = replace(PIPELINE, gates=Gates(exempt={"sex": "the law says so"}))
    gates = gates_of(pipeline, decisions("sex", ("f", 400, 100, 200, 60), ("m", 400, 320, 200, 190)))
    impact = gates["disparate_impact:sex"]
    assert (impact.value, impact.threshold, impact.passed) == (pytest.approx(0.3125), 0.8, None)
    assert impact.detail.endswith("not applied: the law says so")


def test_a_regression_decides_nothing() -> None:
    regression = replace(PIPELINE, task="regression", classes=())
    assert fairness_report(regression, [Row("1", 1, {"age": 1.0, "sex": "f"}, 1.0, {})], [1.0]) == []
