from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import pytest

from penstock.errors import SpecError
from penstock.spec import (
    DAY_MS,
    Boolean,
    Categorical,
    DriftPolicy,
    Gates,
    Millis,
    Numeric,
    Pipeline,
    RetrainingPolicy,
    Rollout,
    Rows,
    load_pipeline,
)

FEATURES = (Numeric("amount"), Categorical("purpose"))


def pipeline(**changes: Any) -> Pipeline:
    """A small binary pipeline."""
    fields: dict[str, Any] = {
        "name": "loans",
        "task": "binary",
        "target": "default",
        "classes": ("0", "1"),
        "features": FEATURES,
    }
    return Pipeline(**{**fields, **changes})


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"name": "Loans"}, "Loans"),
        ({"name": ""}, "name"),
        ({"name": "a" * 64}, "name"),
        ({"features": ()}, "no features"),
        ({"features": (Numeric("x"), Boolean("x"))}, "'x'"),
        ({"target": "amount"}, "'amount'"),
        ({"classes": ("0",)}, "classes"),
        ({"classes": ("0", "0")}, "classes"),
        ({"task": "guess"}, "task 'guess' is not one of binary, multiclass, regression"),
        ({"tier": "fast"}, "tier 'fast' is not one of light, balanced, full"),
        ({"task": "regression"}, "classes"),
        ({"task": "multiclass", "classes": ()}, "classes"),
        ({"protected": ("age",)}, "'age'"),
        ({"partitions": 0}, "partitions"),
        ({"threshold": 0.0}, "threshold"),
        ({"threshold": 1.0}, "threshold"),
        ({"label_delay": Rows(-1)}, "label_delay"),
        ({"label_delay": Millis(8 * DAY_MS)}, "horizon"),
        ({"horizon_ms": -1}, "horizon_ms"),
    ],
)
def test_a_contradiction_is_refused_by_name(changes: dict[str, Any], names: str) -> None:
    with pytest.raises(SpecError, match=names):
        pipeline(**changes)


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (lambda: Numeric("x", 2, 1), "feature x"),
        (lambda: DriftPolicy(window=0), "window"),
        (lambda: DriftPolicy(look_every=0), "look_every"),
        (lambda: DriftPolicy(adwin_delta=1.0), "adwin_delta"),
        (lambda: DriftPolicy(false_incidents_per_50k=0.0), "false_incidents"),
        (lambda: DriftPolicy(prior_floor=1.5), "prior_floor"),
        (lambda: DriftPolicy(critical_feature_share=-0.1), "critical_feature_share"),
        (lambda: DriftPolicy(psi_warning=-0.1), "psi_warning"),
        (lambda: RetrainingPolicy(collect_rows=0), "collect_rows"),
        (lambda: RetrainingPolicy(trials=0), "trials"),
        (lambda: RetrainingPolicy(tuning_s=0.0), "tuning_s"),
        (lambda: RetrainingPolicy(tuning_s=float("nan")), "tuning_s"),
        (lambda: RetrainingPolicy(effect_rows=-1), "effect_rows"),
        (lambda: RetrainingPolicy(comparison_share=1.0), "comparison_share"),
        (lambda: RetrainingPolicy(warnings=0), "warnings"),
        (lambda: RetrainingPolicy(warnings_window_ms=0), "warnings_window_ms"),
        (lambda: RetrainingPolicy(performance_drop=-0.1), "performance_drop"),
        (lambda: RetrainingPolicy(drift_score=1.1), "drift_score"),
        (lambda: RetrainingPolicy(drift_score=float("nan")), "drift_score"),
        (lambda: RetrainingPolicy(drift_score_ms=-1), "drift_score_ms"),
        (lambda: RetrainingPolicy(drifted_share=30.0), "drifted_share"),
        (lambda: RetrainingPolicy(schedule="0 25 * * 0"), "schedule hour '25'"),
        (lambda: RetrainingPolicy(schedule="weekly"), "schedule 'weekly' has 1 fields"),
        (lambda: RetrainingPolicy(at_latest_ms=0), "at_latest_ms"),
        (lambda: RetrainingPolicy(new_rows=0), "new_rows"),
        (lambda: RetrainingPolicy(daily_runs=0), "daily_runs"),
    ],
)
def test_a_policy_that_cannot_be_is_refused_by_name(make: Any, names: str) -> None:
    with pytest.raises(SpecError, match=names):
        make()


def test_a_delay_in_time_gets_a_horizon_and_an_early_bound() -> None:
    in_time = pipeline(label_delay=Millis(1000))
    assert (in_time.horizon_ms, in_time.early_bound_ms) == (7 * DAY_MS, DAY_MS)
    in_rows = pipeline(label_delay=Rows(100))
    assert (in_rows.horizon_ms, in_rows.early_bound_ms) == (None, None)
    own = pipeline(label_delay=Millis(1000), horizon_ms=2000, early_bound_ms=0)
    assert (own.horizon_ms, own.early_bound_ms) == (2000, 0)


def test_features_are_found_by_name() -> None:
    assert pipeline().feature("purpose") == Categorical("purpose")
    with pytest.raises(StopIteration):
        pipeline().feature("colour")


@pytest.mark.parametrize(
    "change",
    [
        {"name": "other"},
        {"gates": Gates(min_improvement=0.5)},
        {"retraining": RetrainingPolicy(collect_rows=10)},
        {"drift": DriftPolicy(effect_floor=0.5, quiet_looks=3, false_incidents_per_50k=9.0)},
        {"label_delay": Rows(7)},
        {"time": "when"},
        {"ignored": {"x": "why"}},
        {"protected": ("purpose",)},
        {"favourable": "0"},
        {"segments": ("purpose",)},
    ],
)
def test_thresholds_and_replay_columns_are_not_state(change: dict[str, Any]) -> None:
    assert pipeline(**change).state_digest() == pipeline().state_digest()


def test_favourable_is_a_class_and_segments_are_categories() -> None:
    with pytest.raises(SpecError, match="favourable decision 'good'"):
        pipeline(favourable="good")
    for name in ("amount", "nothing"):
        with pytest.raises(SpecError, match=f"segment '{name}'"):
            pipeline(segments=(name,))


@pytest.mark.parametrize(
    "change",
    [
        {"features": FEATURES[:1]},
        {"features": FEATURES[::-1]},
        {"features": (Numeric("amount"), Boolean("purpose"))},
        {"features": (Numeric("amount", 0, 1), Categorical("purpose"))},
        {"classes": ("1", "0")},
        {"tier": "light"},
        {"entity": "customer"},
        {"horizon_ms": 5},
        {"partitions": 2},
        {"drift": DriftPolicy(window=500)},
        {"drift": DriftPolicy(adwin_delta=0.01)},
    ],
)
def test_what_state_depends_on_changes_the_digest(change: dict[str, Any]) -> None:
    assert pipeline(**change).state_digest() != pipeline().state_digest()


def test_every_field_is_either_state_or_known_not_to_be() -> None:
    """A new field of the spec is state-affecting until somebody decides that it is not: its digest must move."""
    settled = {"label_delay", "label_time", "time_format", "id", "time", "name", "ignored", "protected"}
    settled |= {"retraining", "gates", "rollout", "drift", "favourable", "segments"}
    others = {field.name for field in dataclasses.fields(Pipeline)} - settled
    assert others == {
        *("task", "target", "features", "classes", "entity", "horizon_ms", "early_bound_ms"),
        *("tier", "threshold", "partitions"),
    }


GOOD = """
from penstock.spec import Numeric, Pipeline

pipeline = Pipeline(name="loans", task="regression", target="y", features=(Numeric("x"),))
again = pipeline
"""


def test_a_file_with_one_pipeline_loads(tmp_path: Path) -> None:
    path = tmp_path / "loans.py"
    path.write_text(GOOD, encoding="utf-8")
    assert load_pipeline(path).name == "loans"
    assert [entry.name for entry in tmp_path.iterdir()] == ["loans.py"]


def test_a_file_rewritten_within_its_clock_tick_is_read_again(tmp_path: Path) -> None:
    """Bytecode is found stale by whole seconds and size: it must not be used here."""
    path = tmp_path / "loans.py"
    path.write_text(GOOD, encoding="utf-8")
    os.utime(path, (1, 1))
    assert load_pipeline(path).name == "loans"
    path.write_text(GOOD.replace('"loans"', '"snaol"'), encoding="utf-8")
    os.utime(path, (1, 1))
    assert load_pipeline(path).name == "snaol"


def test_a_file_may_define_its_own_dataclasses_and_functions(tmp_path: Path) -> None:
    path = tmp_path / "loans.py"
    lines = ("from __future__ import annotations", "from dataclasses import dataclass", "@dataclass", "class Own:")
    own = "\n".join((*lines, "    x: int = 1", ""))
    path.write_text(own + GOOD, encoding="utf-8")
    assert load_pipeline(path).name == "loans"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "exactly one Pipeline, found 0"),
        (GOOD + "other = Pipeline(name='b', task='regression', target='y', features=(Numeric('x'),))", "found 2"),
        ("def (", "SyntaxError"),
        ("1 / 0", "ZeroDivisionError"),
        ("import no_such_module_anywhere", "ModuleNotFoundError"),
        ("raise SystemExit('bye')", "SystemExit: bye"),
        ("raise ValueError('two\\nlines')", "ValueError: two lines"),
        (GOOD.replace('"y"', '"x"'), "also a feature"),
        ("x = '\udc80'", "SyntaxError"),
    ],
)
def test_a_file_that_does_not_load_is_one_line_with_its_path(text: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "loans.py"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(SpecError, match=says) as caught:
        load_pipeline(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="penstock init"):
        load_pipeline(tmp_path / "none.py")


@pytest.mark.parametrize(
    "wrong",
    [
        {"canary_share": 1.0},
        {"canary_share": -0.1},
        {"error_rate": 1.1},
        {"latency_s": 0.0},
        {"experiment_rows": 0},
        {"approval_ms": 0},
        {"failures": 0},
        {"canary_rows": 0},
    ],
)
def test_a_rollout_that_cannot_be_is_refused_by_name(wrong: dict[str, float]) -> None:
    with pytest.raises(SpecError, match=next(iter(wrong))):
        Rollout(**wrong)  # type: ignore[arg-type]
