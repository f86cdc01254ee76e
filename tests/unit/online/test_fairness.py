from __future__ import annotations

import numpy as np
import pytest

from online.detectors.base import Batch
from online.detectors.fairness import DemographicParity, EqualOpportunity
from online.fairness import GroupRates, favourable, judge
from penstock.events import Example, Prediction, encode
from penstock.spec import Boolean, Categorical, Date, DriftPolicy, Numeric, Pipeline

POLICY = DriftPolicy(window=200, reference=100)
FEATURES = (Categorical("sex", values=("f", "m")), Numeric("age"), Boolean("new"), Categorical("town"), Date("born"))
PIPELINE = Pipeline(
    name="p",
    task="binary",
    target="y",
    classes=("0", "1"),
    features=FEATURES,
    protected=("sex",),
    favourable="0",
    drift=POLICY,
)
#: About the level at which the policy opens an incident.
LEVEL = 1e-5


def stream(rates, n, seed=1, share=0.5):
    """(group, favoured) of ``n`` records: ``rates`` of groups f and m."""
    rng = np.random.default_rng(seed)
    for _ in range(n):
        group = "m" if rng.random() < share else "f"
        yield group, bool(rng.random() < rates[group])


def run(rates, records, every=100):
    verdicts = []
    for index, (group, good) in enumerate(records, 1):
        rates.add(group, good)
        if index % every == 0:
            verdicts.append(rates.look(every))
    return verdicts


def test_a_pair_is_judged_by_its_log_ratio():
    verdict = judge(["f", "m"], [[400, 500], [300, 500]], [[1600, 2000], [1520, 2000]])
    assert (verdict.group, verdict.other) == ("m", "f")
    assert verdict.ratio == pytest.approx(0.75, abs=0.001)
    assert verdict.before == pytest.approx(0.95, abs=0.001)
    spread = (0.4 / 300 + 0.2 / 400) + (0.24 / 1520 + 0.2 / 1600)
    z = (np.log(0.75) - np.log(0.95)) / np.sqrt(spread)
    normal = pytest.importorskip("scipy.stats").norm
    assert verdict.p_value == pytest.approx(4 * normal.cdf(z), rel=0.05)
    assert verdict.effect == pytest.approx(0.20, abs=0.002)


def test_a_ratio_that_was_allowed_must_not_creep_below_four_fifths():
    verdict = judge(["f", "m"], [[900, 1000], [700, 1000]], [[900, 1000], [740, 1000]])
    assert verdict.limit == 0.85
    assert verdict.effect == pytest.approx(0.85 - 7 / 9, abs=0.001)
    assert verdict.p_value < 1e-3


def test_what_always_was_unequal_is_no_incident():
    unequal = [[900, 1000], [600, 1000]]
    verdict = judge(["f", "m"], unequal, unequal)
    assert (verdict.effect, verdict.p_value) == (0.0, 1.0)


def test_who_loses_an_advantage_is_no_alarm():
    verdict = judge(["f", "m"], [[700, 1000], [700, 1000]], [[630, 1000], [700, 1000]])
    assert verdict.effect == 0.0 or verdict.p_value == 1.0
    verdict = judge(["f", "m"], [[720, 1000], [700, 1000]], [[600, 1000], [700, 1000]])
    assert (verdict.effect, verdict.p_value) == (0.0, 1.0)


def test_groups_that_are_too_small_are_not_judged():
    assert judge(["f", "m"], [[50, 99], [50, 100]], [[50, 100], [50, 100]]) is None
    assert judge(["f", "m"], [[50, 100], [50, 100]], [[50, 100]]) is None
    assert judge([], [], []) is None


@pytest.mark.parametrize("rates", [{"f": 1.0, "m": 1.0}, {"f": 0.0, "m": 0.0}, {"f": 1.0, "m": 0.0}])
def test_extreme_rates_stay_finite(rates):
    for verdict in run(GroupRates(PIPELINE, "sex"), stream(rates, 3000)):
        if verdict is not None:
            assert all(np.isfinite((verdict.ratio, verdict.before, verdict.effect, verdict.p_value)))
            assert 0.0 <= verdict.effect <= 1.0


def test_a_fall_is_found_and_ends():
    fair, unfair = {"f": 0.8, "m": 0.78}, {"f": 0.8, "m": 0.6}
    records = [*stream(fair, 6000), *stream(unfair, 1500, seed=2), *stream(fair, 4000, seed=3)]
    verdicts = run(GroupRates(PIPELINE, "sex"), records)
    significant = [
        (index + 1) * 100 for index, v in enumerate(verdicts) if v and v.p_value <= LEVEL and v.effect >= 0.05
    ]
    assert 6000 < significant[0] <= 7200
    assert significant[-1] < 9500
    assert verdicts[-1].p_value > 1e-3


def test_what_lasts_becomes_the_reference():
    fair, lower = {"f": 0.9, "m": 0.9}, {"f": 0.9, "m": 0.6}
    verdicts = run(GroupRates(PIPELINE, "sex"), [*stream(fair, 6000), *stream(lower, 6000, seed=4)])
    assert min(v.p_value for v in verdicts[60:80] if v) <= LEVEL
    assert verdicts[-1].p_value > 1e-3


def test_stationary_streams_are_silent():
    for seed in range(2):
        for share in (0.5, 0.1):
            rates = {"f": 0.8, "m": 0.76}
            for verdict in run(GroupRates(PIPELINE, "sex"), stream(rates, 8000, seed=seed, share=share)):
                assert verdict is None or verdict.p_value > LEVEL or verdict.effect < 0.05


def test_numbers_are_judged_by_quarters_and_values_beyond_eight_together():
    ages = GroupRates(PIPELINE, "age")
    for index in range(2000):
        ages.add(20 + index % 40, True)
    assert list(ages.counts()) == ["…30", "30…40", "40…49", "49…"] or len(ages.counts()) == 4
    towns = GroupRates(PIPELINE, "town")
    for index in range(100_000):
        towns.add(f"t{index}", index % 2 == 0)
    assert list(towns.counts()) == [*(f"t{100 + index}" for index in range(8)), "(other)"] or len(towns.counts()) <= 9
    assert towns.look(100) is None


def test_constant_and_missing_numbers_are_no_trouble():
    for value in (7, None):
        rates = GroupRates(PIPELINE, "age")
        for _ in range(2000):
            rates.add(value, True)
        assert rates.look(100) is None
        assert len(rates.counts()) == (value is not None)


def test_the_positive_class_is_the_favourable_one_unless_said_otherwise():
    assert favourable(PIPELINE) == "0"
    assert favourable(Pipeline(name="q", task="binary", target="y", classes=("0", "1"), features=FEATURES)) == "1"
    assert favourable(Pipeline(name="r", task="regression", target="y", features=FEATURES)) is None


def batches(records, size=100):
    rows = [({"sex": group, "age": 30, "new": True, "town": "x"}, "0" if good else "1") for group, good in records]
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        yield Batch(range(len(part)), [row for row, _ in part], decisions=[decision for _, decision in part])


def test_a_finding_has_counts_and_rates_of_the_groups():
    detector = DemographicParity(PIPELINE)
    for batch in batches([*stream({"f": 0.9, "m": 0.9}, 3000), *stream({"f": 0.9, "m": 0.6}, 1200)]):
        findings = detector.update(batch)
    (finding,) = findings
    assert (finding.detector, finding.kind, finding.feature) == ("demographic_parity", "fairness", "sex")
    assert finding.p_value < LEVEL
    measures = finding.measures
    assert measures["n:f"] + measures["n:m"] == 1200
    assert measures["disparate_impact"] == pytest.approx(measures["rate:m"] / measures["rate:f"])
    assert measures["demographic_parity_difference"] == pytest.approx(measures["rate:f"] - measures["rate:m"])
    assert measures["groups_too_small"] == 0
    assert "null" not in encode(finding).decode()


def test_groups_too_small_are_said_so():
    detector = DemographicParity(PIPELINE)
    for batch in batches(stream({"f": 0.9, "m": 0.6}, 3000, share=0.01)):
        (finding,) = detector.update(batch)
    assert (finding.p_value, finding.effect) == (1.0, 0.0)
    assert finding.measures["groups_too_small"] == 1
    assert "rate:m" not in finding.measures
    assert finding.measures["n:m"] > 0


def test_answers_of_others_do_not_count_and_a_promotion_forgets_nothing():
    detector, plain = DemographicParity(PIPELINE), DemographicParity(PIPELINE)
    for batch in batches(stream({"f": 0.9, "m": 0.8}, 3000)):
        others = batch._replace(decisions=[None] * len(batch.rows))
        detector.update(others)
        detector.update(batch)
        plain.update(batch)
        detector.reset()
    assert [each.counts() for each in detector._protected.rates] == [each.counts() for each in plain._protected.rates]


def test_it_is_restored_bit_by_bit():
    first, whole = DemographicParity(PIPELINE), DemographicParity(PIPELINE)
    records = list(batches(stream({"f": 0.9, "m": 0.7}, 4000)))
    for batch in records[:21]:
        assert first.update(batch) == whole.update(batch)
    second = DemographicParity(PIPELINE)
    second.restore(first.state())
    assert second.state() == first.state()
    for batch in records[21:]:
        assert second.update(batch) == whole.update(batch)
    assert second.state() == whole.state()


def test_another_favourable_decision_starts_afresh():
    first = DemographicParity(PIPELINE)
    for batch in batches(stream({"f": 0.9, "m": 0.7}, 2000)):
        first.update(batch)
    other = DemographicParity(
        Pipeline(name="p", task="binary", target="y", classes=("0", "1"), features=FEATURES, protected=("sex",))
    )
    other.restore(first.state())
    assert other._protected.rates[0].counts() == {}


def labelled(group, decision, value):
    prediction = Prediction(
        id="i",
        entity="e",
        event_time_ms=0,
        features={"sex": group, "age": 1, "new": True, "town": "x", "born": "2000-01-01"},
        version="v",
        generation=0,
        decision=decision,
        score=0.5,
    )
    return Example(id="i", prediction=prediction, value=value, label_time_ms=1)


def test_equal_opportunity_looks_at_those_who_deserved_it():
    detector, rng = EqualOpportunity(PIPELINE), np.random.default_rng(5)
    for index in range(4200):
        group, rates = "fm"[index % 2], {"f": 0.9, "m": 0.9 if index < 3000 else 0.6}
        detector.update(labelled(group, "1", "1"))  # rightly refused: of no account
        detector.update(labelled(group, "0" if rng.random() < rates[group] else "1", "0"))
        if index % 100 == 99:
            (finding,) = detector.look()
    assert finding.detector == "equal_opportunity"
    assert finding.p_value < LEVEL
    assert finding.measures["n:f"] + finding.measures["n:m"] == 1200
    assert finding.measures["equal_opportunity_difference"] == pytest.approx(0.3, abs=0.08)
    second = EqualOpportunity(PIPELINE)
    second.restore(detector.state())
    assert second.state() == detector.state()
    assert second.look() == detector.look()


def test_what_cannot_be_judged_has_no_signal():
    regression = Pipeline(name="r", task="regression", target="y", features=FEATURES, protected=("sex",))
    dates = Pipeline(
        name="d", task="binary", target="y", classes=("0", "1"), features=FEATURES, protected=("born",), favourable="0"
    )
    for pipeline in (regression, dates):
        batch = next(batches(stream({"f": 0.9, "m": 0.7}, 100)))
        assert DemographicParity(pipeline).update(batch) == []
