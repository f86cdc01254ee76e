"""Variants: what may be changed, and what is said about the rest."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.cli.variants import parse_variant, valid_keys
from penstock.errors import UsageError
from penstock.spec import Numeric, Pipeline

PIPELINE = Pipeline(name="toy", task="binary", target="y", features=(Numeric("x"),), classes=("0", "1"))


def test_one_change_leaves_the_rest():
    variant = parse_variant("drift.effect_floor=0.05", PIPELINE)
    assert variant.name == "drift.effect_floor=0.05"
    assert variant.changes == {"drift.effect_floor": 0.05}
    assert variant.pipeline.drift.effect_floor == 0.05
    assert variant.pipeline.drift.window == PIPELINE.drift.window
    assert variant.pipeline.gates == PIPELINE.gates


def test_several_changes_of_several_types():
    text = " tier=light , retraining.enabled=false,drift.window=400,gates.min_accuracy=0.7"
    changed = parse_variant(text, PIPELINE).pipeline
    assert (changed.tier, changed.retraining.enabled, changed.drift.window) == ("light", False, 400)
    assert changed.gates.min_accuracy == 0.7


def test_names_are_joined():
    variant = parse_variant("drift.deciding=adwin+likelihood_ratio", PIPELINE)
    assert variant.pipeline.drift.deciding == ("adwin", "likelihood_ratio")
    assert variant.name == "drift.deciding=adwin+likelihood_ratio"


def test_none_clears_what_may_be_empty():
    assert parse_variant("gates.min_accuracy=none", PIPELINE).pipeline.gates.min_accuracy is None
    assert parse_variant("retraining.schedule=none", PIPELINE).pipeline.retraining.schedule is None
    with pytest.raises(UsageError, match="a number wanted"):
        parse_variant("drift.effect_floor=none", PIPELINE)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "write KEY=VALUE"),
        ("drift.effect_floor", "write KEY=VALUE"),
        ("drift.effect_floor=", "write KEY=VALUE"),
        ("drift.effect_floor=0.1,", "write KEY=VALUE"),
        ("drift.effectfloor=0.1", "no setting 'drift.effectfloor'; there are tier, threshold, drift.window"),
        ("name=x", "no setting 'name'"),
        ("drift.window=0.5", "drift.window cannot be '0.5' .a whole number wanted"),
        ("drift.window=1,drift.window=2", "set twice"),
        ("drift.effect_floor=nan", "a finite number"),
        ("drift.effect_floor=inf", "a finite number"),
        ("retraining.enabled=perhaps", "true or false"),
        ("drift.deciding=magic", "adwin.*, or several joined by"),
        ("tier=huge", "light or balanced or full"),
        ("drift.adwin_delta=2", "between 0 and 1"),
        ("threshold=7", "between 0 and 1"),
    ],
)
def test_bad_input_is_one_clear_line(text, said):
    with pytest.raises(UsageError, match=said) as caught:
        parse_variant(text, PIPELINE)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_every_key_reads_its_declared_value_back():
    for key in valid_keys():
        section, _, name = key.rpartition(".")
        value = getattr(getattr(PIPELINE, section) if section else PIPELINE, name)
        said = "none" if value is None else "+".join(value) if isinstance(value, tuple) else value
        assert parse_variant(f"{key}={said}", PIPELINE).pipeline == PIPELINE


@given(st.text(max_size=40))
def test_any_text_is_a_variant_or_a_usage_error(text):
    with suppress(UsageError):
        assert parse_variant(text, PIPELINE).changes
