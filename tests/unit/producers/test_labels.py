"""Label delays."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import UsageError
from penstock.spec import DAY_MS, Millis, Numeric, Pipeline, Rows
from producers.labels import LabelDelay, RandomDelay, check_delay, parse_delay


@pytest.mark.parametrize(
    ("text", "delay"),
    [
        ("500", Rows(500)),
        ("500rows", Rows(500)),
        ("1 row", Rows(1)),
        ("250ms", Millis(250)),
        ("1.5s", Millis(1500)),
        ("30min", Millis(1_800_000)),
        ("12h", Millis(43_200_000)),
        ("7D", Millis(7 * DAY_MS)),
        ("geometric:300", RandomDelay(Rows(300), "geometric")),
        ("uniform:2h", RandomDelay(Millis(7_200_000), "uniform")),
    ],
)
def test_what_can_be_written(text: str, delay: LabelDelay) -> None:
    assert parse_delay(text) == delay


@pytest.mark.parametrize("text", ["", "soon", "-5", "5 weeks", "normal:5", ":5", "geometric:", "5:5"])
def test_what_cannot(text: str) -> None:
    with pytest.raises(UsageError, match="label delay"):
        parse_delay(text)


@given(st.text(max_size=20))
def test_any_text_is_a_delay_or_a_usage_error(text: str) -> None:
    try:
        delay = parse_delay(text)
    except UsageError:
        return
    mean = delay.mean if isinstance(delay, RandomDelay) else delay
    assert mean.count >= 0


@pytest.mark.parametrize("shape", ["geometric", "uniform"])
@pytest.mark.parametrize("mean", [0, 1, 50])
def test_random_delays_have_their_mean_and_are_never_negative(shape: str, mean: int) -> None:
    rng = random.Random(3)
    delay = RandomDelay(Rows(mean), "geometric" if shape == "geometric" else "uniform")
    draws = [delay.draw(rng) for _ in range(20_000)]
    assert min(draws) >= 0
    assert sum(draws) / len(draws) == pytest.approx(mean, rel=0.05, abs=0.01)
    assert shape == "geometric" or max(draws) <= 2 * mean


@pytest.mark.parametrize("delay", [Millis(2 * DAY_MS), RandomDelay(Millis(2 * DAY_MS))])
def test_a_delay_beyond_the_horizon_is_refused(delay: LabelDelay) -> None:
    pipeline = Pipeline(name="p", task="regression", target="y", features=(Numeric("x"),), horizon_ms=DAY_MS)
    with pytest.raises(UsageError, match="beyond the horizon"):
        check_delay(delay, pipeline)


def test_without_a_horizon_every_delay_is_fine() -> None:
    pipeline = Pipeline(name="p", task="regression", target="y", features=(Numeric("x"),))
    check_delay(Millis(10**15), pipeline)
    with pytest.raises(UsageError, match="negative"):
        check_delay(Rows(-1), pipeline)
