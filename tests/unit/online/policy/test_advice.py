"""What people read: what, where, how much, against what, since when, what to do."""

from __future__ import annotations

from typing import get_args

from online.policy.advice import ADVICE, detail, moment, reference_of, title
from penstock.events import LATEST_MS, DriftKind
from tests.unit.online.policy.feed import Feed, adwin, finding, ks


def test_every_kind_has_its_advice() -> None:
    assert set(ADVICE) == set(get_args(DriftKind))


def test_a_line_says_what_where_how_much_against_what_since_when_and_what_to_do() -> None:
    moved = ks("x0", 0.2, reference_mean=1.5, current_mean=2.25, measures={"psi": 0.31})
    (drift,) = Feed()(moved, ks("x1", 0.15))
    assert title("loans", drift) == "loans: warning covariate drift opened in x0, x1"
    assert detail(drift) == (
        "ks of x0: effect 0.200, mean 1.5 → 2.25, psi 0.31, p 1e-09; ks of x1: effect 0.150, p 1e-09; "
        "against the reference window, since 1970-01-01T00:00:00Z. Health 0.92 (good). "
        "Inputs moved: check the listed features at their source; retrain if the error follows."
    )


def test_a_rise_of_the_error_names_the_version_and_the_drop() -> None:
    (drift,) = Feed()(adwin("champion", 0.06), stage="learner")
    assert title("loans", drift) == "loans: critical concept drift opened in champion"
    assert "against the error before the change. Served performance down by 0.060. Health 0.76 (warning)." in detail(
        drift
    )


def test_counts_of_groups_are_for_machines() -> None:
    unfair = finding("fairness", 0.1, feature="sex", measures={"n:f": 500.0, "rate:f": 0.5})
    (drift,) = Feed()(unfair)
    assert "fairness_test of sex: effect 0.100, rate:f 0.5, p 1e-09; against the limit" in detail(drift)


def test_many_features_are_counted_not_listed() -> None:
    (drift,) = Feed()(*(ks(f"x{i}", 0.2) for i in range(8)))
    assert title("loans", drift).endswith("in x0, x1, x2, x3, x4 and 3 more")
    assert "\n" not in detail(drift)


def test_the_reference_is_what_the_evidence_states() -> None:
    assert reference_of("covariate", "the first 1000 predictions") == "the first 1000 predictions"
    assert reference_of("fairness", "") == "the limit"


def test_moments_outside_the_calendar() -> None:
    assert moment(LATEST_MS + 1) == f"{LATEST_MS + 1} ms"
    assert moment(-1) == "1969-12-31T23:59:59Z"
