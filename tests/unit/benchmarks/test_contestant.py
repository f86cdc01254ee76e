"""A contestant is a process that answers, and whose failure is told."""

from __future__ import annotations

import pytest

from benchmarks.contestant import Contestant


def test_it_answers_until_it_is_left() -> None:
    with Contestant("statistics") as contestant:
        assert contestant.ask("mean", data=[1, 2, 3]) == 2
        assert contestant.ask("median", data=[5, 1, 9]) == 5


def test_what_fails_in_it_is_raised_with_its_last_words() -> None:
    with pytest.raises(RuntimeError, match="mean requires at least one data point"), Contestant("statistics") as one:
        one.ask("mean", data=[])
