"""A drop of the served performance: seen where it is real, and hardly ever where chance alone is at work."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import hypergeom

from online.performance_drop import ALPHA, ServedPerformance, hypergeometric
from penstock.events import ScoreBlock
from penstock.spec import Numeric, Pipeline, RetrainingPolicy, Task

LOOK = 100


def pipeline(drop: float | None = 0.05, task: Task = "binary") -> Pipeline:
    classes = {"binary": ("0", "1"), "multiclass": ("a", "b", "c"), "regression": ()}[task]
    policy = RetrainingPolicy(performance_drop=drop)
    return Pipeline(name="p", task=task, target="y", features=(Numeric("x"),), classes=classes, retraining=policy)


def served(counts: list[int], drop: float | None = 0.05, generation: int = 0) -> ServedPerformance:
    """After looks with so many right answers each."""
    performance = ServedPerformance(pipeline(drop))
    for look, correct in enumerate(counts, 1):
        performance.add(ScoreBlock(n=LOOK, correct=correct), generation, 0, look * LOOK)
    return performance


def test_a_lasting_drop_is_found_and_dated() -> None:
    before = served([85] * 30)
    assert before.drop is None
    after = served([85] * 30 + [70] * 10)
    assert after.drop is not None
    assert (after.drop.figure, after.drop.before, after.drop.rows) == ("accuracy", 0.85, 1000)
    assert after.drop.now == pytest.approx(0.70)
    assert after.since is not None
    assert 3300 <= after.since <= 3700


def test_a_small_drop_needs_a_long_window() -> None:
    assert served([85] * 100 + [78] * 5).drop is None
    found = served([85] * 100 + [78] * 40).drop
    assert found is not None
    assert found.rows >= 2000


def test_what_is_above_the_limit_is_never_a_drop_and_the_switch_is_off() -> None:
    assert served([85] * 200 + [81] * 60).drop is None
    assert served([85] * 30 + [20] * 10, drop=None).drop is None


def test_a_generation_is_judged_by_its_own_level() -> None:
    performance = served([95] * 30)
    for look in range(31, 71):
        performance.add(ScoreBlock(n=LOOK, correct=80), 1, 0, look * LOOK)
        assert performance.drop is None
    performance.add(ScoreBlock(n=LOOK, correct=10), 0, 0, 7100)  # labels of the old one that came late
    assert performance.drop is None


def test_too_few_rows_say_nothing() -> None:
    assert served([90] * 4 + [10] * 5).drop is None


def test_f1_falls_where_accuracy_hardly_does() -> None:
    """A rare class that is no longer found."""
    performance = ServedPerformance(pipeline())
    for look in range(1, 61):
        found = 5 if look <= 40 else 1
        counts = {"0": (94, 95 - found, 94 - found), "1": (6, 6, found)}
        performance.add(ScoreBlock(n=LOOK, correct=99 - 6 + found - 4, class_counts=counts), 0, 0, look * LOOK)
    assert performance.drop is not None
    assert performance.drop.figure == "F1"
    assert performance.drop.before == pytest.approx(5 / 6, abs=0.01)


def test_the_macro_f1_of_several_classes() -> None:
    performance = ServedPerformance(pipeline(task="multiclass"))
    for look in range(1, 81):
        bad = look > 40
        counts = {"a": (90, 90, 88), "b": (5, 5, 0 if bad else 4), "c": (5, 5, 4)}
        performance.add(ScoreBlock(n=LOOK, correct=96 - 4 * bad, class_counts=counts), 0, 0, look * LOOK)
    assert performance.drop is not None
    assert performance.drop.figure == "F1"


def test_the_error_of_a_regression() -> None:
    rng = np.random.default_rng(1)
    for scale, found in ((1.3, True), (1.0, False)):
        performance = ServedPerformance(pipeline(task="regression"))
        for look in range(1, 81):
            errors = np.abs(rng.normal(scale=scale if look > 40 else 1.0, size=LOOK))
            block = ScoreBlock(n=LOOK, absolute_error=float(errors.sum()), squared_error=float((errors * errors).sum()))
            performance.add(block, 0, 0, look * LOOK)
        assert (performance.drop is not None) == found


def test_the_chance_is_exact() -> None:
    rng = np.random.default_rng(2)
    for _ in range(200):
        total = int(rng.integers(2, 3000))
        right, drawn = (int(x) for x in rng.integers(0, total + 1, size=2))
        x = int(rng.integers(max(0, drawn - total + right), min(drawn, right) + 1))
        assert hypergeometric(x, drawn, right, total) == pytest.approx(hypergeom.cdf(x, total, right, drawn), rel=1e-9)


def test_noise_alone_is_an_alarm_in_at_most_one_stream_of_a_hundred() -> None:
    """200 streams of 15,000 rows whose accuracy never changes. The size of a fall alone would alarm in many of them."""
    rng = np.random.default_rng(3)
    by_size = alarms = 0
    for right in rng.binomial(LOOK, 0.7, size=(200, 150)):
        # Any fall counts, so that chance alone is judged: the limit of 5 % makes it rarer still.
        performance = ServedPerformance(pipeline(0.0))
        falls = found = False
        for look, correct in enumerate(right.tolist(), 1):
            performance.add(ScoreBlock(n=LOOK, correct=correct), 0, 0, look * LOOK)
            found = found or performance.drop is not None
            falls = falls or (look >= 10 and right[: look - 5].mean() - right[look - 5 : look].mean() > 5.0)
        alarms += found
        by_size += falls
    assert alarms / 200 <= ALPHA
    assert by_size / 200 > 0.3


def test_a_real_drop_is_found_soon() -> None:
    """By a third of the rows that the window has, in nearly all streams: 85 % become 75 % after 5,000 rows."""
    rng = np.random.default_rng(4)
    delays = []
    for _ in range(60):
        right = [*rng.binomial(LOOK, 0.85, size=50).tolist(), *rng.binomial(LOOK, 0.75, size=30).tolist()]
        performance = ServedPerformance(pipeline())
        for look, correct in enumerate(right, 1):
            performance.add(ScoreBlock(n=LOOK, correct=correct), 0, 0, look * LOOK)
            if performance.drop is not None:
                delays.append(look * LOOK - 5000)
                break
    assert len(delays) >= 58
    assert 0 < float(np.median(delays)) <= 1000
