"""The domain classifier: what single features do not show."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from online.detectors.base import Batch
from online.detectors.population import DomainClassifier
from penstock.events import Features, Finding
from penstock.spec import Categorical, DriftPolicy, Numeric, Pipeline


def pipeline(numbers: int = 4, categories: int = 0, **policy: Any) -> Pipeline:
    return Pipeline(
        name="p",
        task="binary",
        target="y",
        classes=("0", "1"),
        features=(
            *(Numeric(f"x{i}") for i in range(numbers)),
            *(Categorical(f"c{i}") for i in range(categories)),
        ),
        drift=DriftPolicy(**policy),
    )


def feed(detector: DomainClassifier, rows: list[Features], start: int = 0, look: int = 100) -> list[Finding]:
    found: list[Finding] = []
    for i in range(start, len(rows), look):
        found += detector.update(Batch(range(i, i + look), rows[i : i + look]))
    return found


def numbers(values: np.ndarray) -> list[Features]:
    return [{f"x{i}": float(v) for i, v in enumerate(row)} for row in values]


def correlated(rng: np.random.Generator, n: int, share: float) -> np.ndarray:
    values = rng.normal(size=(n, 4))
    values[:, 1] = share * values[:, 0] + np.sqrt(1 - share**2) * values[:, 1]
    return values


def test_a_change_of_correlation_alone_is_found_and_dated() -> None:
    rng = np.random.default_rng(1)
    rows = numbers(np.concatenate((correlated(rng, 3000, 0.0), correlated(rng, 1000, 0.7))))
    found = feed(DomainClassifier(pipeline()), rows)
    assert [finding.kind for finding in found] == ["population"] * 5
    assert min(finding.p_value for finding in found[:3]) > 0.01
    last = found[-1]
    assert last.p_value < 1e-9
    assert last.effect == pytest.approx(2 * (last.statistic - 0.5))
    assert last.effect > 0.2
    assert last.since_event_time_ms == pytest.approx(3000, abs=150)


def test_a_change_of_how_categories_go_together_is_found() -> None:
    rng = np.random.default_rng(1)
    left, noise = rng.integers(0, 3, 4000), rng.integers(0, 3, 4000)
    right = np.where((np.arange(4000) >= 3000) & (rng.random(4000) < 0.6), left, noise)
    rows: list[Features] = [{"c0": f"a{a}", "c1": f"b{b}"} for a, b in zip(left, right, strict=True)]
    assert feed(DomainClassifier(pipeline(0, 2)), rows)[-1].p_value < 1e-9


def test_p_values_of_stationary_streams_are_none_too_small() -> None:
    p_values = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        found = feed(DomainClassifier(pipeline(3, window=200, reference=200)), numbers(rng.normal(size=(2400, 3))))
        p_values += [finding.p_value for finding in found]
    assert len(p_values) == 252
    assert np.mean(np.array(p_values) <= 0.1) < 0.15
    assert min(p_values) > 1e-4


def test_one_feature_or_none_is_no_population() -> None:
    rows = numbers(np.zeros((3000, 1)))
    assert feed(DomainClassifier(pipeline(1)), rows) == []


@pytest.mark.parametrize("kind", ["constant", "missing", "names", "huge"])
def test_odd_data_gives_half_an_area(kind: str) -> None:
    made: dict[str, Any] = {
        "constant": lambda _: {"x0": 1.0, "x1": -0.0, "c0": "a"},
        "missing": lambda _: {"x0": None, "x1": None, "c0": None},
        "names": lambda i: {"x0": 1.0, "x1": None, "c0": f"value {i}"},
        "huge": lambda i: {"x0": (-1) ** i * 1e150, "x1": 1e-300, "c0": "a"},
    }
    found = feed(DomainClassifier(pipeline(2, 1)), [made[kind](i) for i in range(3000)])
    assert len(found) == 3
    assert all(finding.statistic == pytest.approx(0.5, abs=0.03) and finding.p_value > 0.001 for finding in found)


def test_three_hundred_features_are_bounded() -> None:
    rng = np.random.default_rng(2)
    rows = numbers(rng.normal(size=(800, 300)))
    (found,) = feed(DomainClassifier(pipeline(300, window=400, reference=400)), rows)
    assert found.p_value > 0.001


def test_what_lasts_is_the_new_normal_but_for_a_fixed_reference() -> None:
    rng = np.random.default_rng(2)
    rows = numbers(np.concatenate((correlated(rng, 800, 0.0), correlated(rng, 2400, 0.9))))
    renewed = feed(DomainClassifier(pipeline(window=400, reference=400)), rows)
    fixed = feed(DomainClassifier(pipeline(window=400, reference=400, reference_mode="fixed")), rows)
    assert renewed[-1].p_value > 0.001
    assert fixed[-1].p_value < 1e-6


def test_what_a_single_feature_explains_opens_nothing_and_becomes_the_reference() -> None:
    rng = np.random.default_rng(2)
    values = rng.normal(size=(3000, 4))
    values[1200:, 0] += 2.0
    detector, found = DomainClassifier(pipeline(window=400, reference=400)), []
    for i in range(0, 3000, 100):
        detector.explain(1300 <= i < 2000, 100)
        found += detector.update(Batch(range(i, i + 100), numbers(values[i : i + 100])))
    assert max(finding.effect for finding in found) > 0.7, "it is reported"
    assert min(finding.p_value for finding in found) > 0.001, "and opens nothing, then or later"
    assert found[-1].effect < 0.2


def test_state_and_restore_anywhere() -> None:
    rng = np.random.default_rng(3)
    spec = pipeline(4, window=300, reference=300)
    rows = numbers(np.concatenate((correlated(rng, 900, 0.0), correlated(rng, 900, 0.8))))
    whole = feed(DomainClassifier(spec), rows)
    assert len(whole) == 7
    for cut in (0, 2, 4, 10):
        first, second = DomainClassifier(spec), DomainClassifier(spec)
        found = feed(first, rows[: 100 * cut])
        second.restore(first.state())
        assert second.state() == first.state()
        assert found + feed(second, rows, 100 * cut) == whole
