"""Variants over one history. The claim that matters: what is refolded is what a run of its own would have said."""

import math
import random
from dataclasses import fields, replace
from xml.etree import ElementTree

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from penstock.cli.compare import comparison, comparison_text, run_variants
from penstock.cli.compare_models import compared_models
from penstock.cli.evaluation import read_history
from penstock.cli.html_report import page
from penstock.cli.recorded_evidence import recorded_evidence
from penstock.cli.variants import Variant, parse_variant
from penstock.cli.virtual import run_virtual
from penstock.spec import Categorical, DriftPolicy, Gates, Numeric, Pipeline, RetrainingPolicy
from producers.drifts import TrueDrift
from producers.schedule import StreamRow, schedule

XHTML, SVG = "{http://www.w3.org/1999/xhtml}", "{http://www.w3.org/2000/svg}"
ROWS, TURN = 700, 300
PIPELINE = Pipeline(
    name="toy",
    task="binary",
    target="y",
    features=(Numeric("x"), Categorical("c")),
    classes=("0", "1"),
    tier="light",
    drift=DriftPolicy(window=100, reference=100, look_every=25, quiet_looks=4),
    retraining=RetrainingPolicy(
        enabled=False, collect_rows=220, effect_rows=20, cooldown_rows=20, comparison_share=0.5, trial_rows=220
    ),
)
#: Retrained, and whatever was fitted is promoted.
RETRAINED = replace(
    PIPELINE, retraining=replace(PIPELINE.retraining, enabled=True), gates=Gates(min_improvement=-100.0, confidence=0.5)
)


def rows():
    """At row 300 the labels turn round and both features move."""
    random_ = random.Random(3)
    for row in range(ROWS):
        late = row >= TURN
        x = random_.gauss(0.4 if late else 0.0, 1.0)
        c = random_.choice("aab" if late else "abb")
        y = (x > 0) != late if random_.random() < 0.9 else random_.random() < 0.5
        request = msgspec.json.encode({"id": f"r{row}", "features": {"x": x, "c": c}})
        label = msgspec.json.encode({"id": f"r{row}", "value": "1" if y else "0"})
        yield StreamRow(row, f"r{row}", f"r{row}", row * 1000, request, label)


def ticks():
    return schedule(rows(), PIPELINE, seed=1)


def run(pipeline):
    return run_virtual(pipeline, ticks(), lambda _: None).system.log


@pytest.fixture(scope="module")
def still():
    """A run in which nothing is ever promoted."""
    return recorded_evidence(run(PIPELINE), PIPELINE)


@pytest.fixture(scope="module")
def retrained():
    """A run with retraining."""
    return recorded_evidence(run(RETRAINED), RETRAINED)


def is_threshold(name, value):
    changed = replace(PIPELINE, drift=replace(PIPELINE.drift, **{name: value}))
    return changed.state_digest() == PIPELINE.state_digest()


NUMBERS = [field.name for field in fields(DriftPolicy) if isinstance(getattr(PIPELINE.drift, field.name), float | int)]
#: Every number of the policy that is a threshold; no test needs to know which there are.
THRESHOLDS = [name for name in NUMBERS if is_threshold(name, getattr(PIPELINE.drift, name) / 2 or 0.01)]
thresholds = st.fixed_dictionaries(
    {"psi_critical": st.just(0.6)},
    optional={
        name: st.integers(1, 12) if name == "quiet_looks" else st.floats(0.01, 0.6)
        for name in THRESHOLDS
        if name != "psi_critical"
    },
)
FEW = settings(
    max_examples=3,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@FEW
@given(changes=thresholds)
def test_a_refold_is_what_a_run_would_say(still, changes):
    changed = replace(PIPELINE, drift=replace(PIPELINE.drift, **changes))
    assert still.refold(changed) == read_history(run(changed), changed).drift


@FEW
@given(changes=thresholds)
def test_with_retraining_too_or_it_is_refused(retrained, changes):
    changed = replace(RETRAINED, drift=replace(RETRAINED.drift, **changes))
    refolded = retrained.refold(changed)
    if refolded is not None:
        assert refolded == read_history(run(changed), changed).drift


def test_the_thresholds_are_there():
    assert {"effect_floor", "false_incidents_per_50k", "critical_drift_score", "quiet_looks"} <= set(THRESHOLDS)
    assert not {"window", "reference", "look_every", "adwin_delta"} & set(THRESHOLDS)


def test_the_retrained_run_promotes(retrained):
    assert {item.event.generation for item in retrained.inputs} == {0, 1}


def test_the_run_itself_refolds(still, retrained):
    for evidence in (still, retrained):
        refolded = evidence.refold(evidence.pipeline)
        assert refolded
        assert any(drift.level == "critical" for _, drift in refolded)


@pytest.mark.parametrize(
    "text",
    [
        "tier=balanced",
        "threshold=0.4",
        "drift.window=50",
        "drift.look_every=20",
        "drift.adwin_delta=0.01",
        "retraining.enabled=true",
        "gates.min_improvement=0.5",
    ],
)
def test_what_changes_the_evidence_is_never_refolded(still, text):
    assert still.refold(parse_variant(text, PIPELINE).pipeline) is None


def test_other_triggers_want_a_run_of_their_own(retrained):
    """Where nothing can be critical, nothing is retrained, so nothing is promoted."""
    calm = "drift.critical_performance_drop=1,drift.critical_drift_score=1,drift.critical_feature_share=1"
    assert retrained.refold(parse_variant(calm, RETRAINED).pipeline) is None


@pytest.fixture(scope="module")
def outcomes():
    texts = ["drift.effect_floor=0.9", "drift.look_every=50"]
    variants = [Variant("as declared", PIPELINE, {}), *(parse_variant(text, PIPELINE) for text in texts)]
    return list(run_variants(variants, ticks, lambda rows: [TrueDrift(TURN, "concept")] if rows == ROWS else None))


def test_a_comparison(outcomes):
    assert [outcome.method for outcome in outcomes] == ["run", "refold", "run"]
    compared = comparison(outcomes, within=400)
    declared, deaf, _ = compared["variants"]
    assert declared["detection"]["found"] == 1
    assert declared["accuracy"] == deaf["accuracy"]
    assert len(deaf["incidents"]) <= len(declared["incidents"])
    assert all(math.isfinite(entry["elapsed_s"]) for entry in compared["variants"])
    text = comparison_text(compared)
    assert all(outcome.variant.name in text for outcome in outcomes)
    msgspec.json.encode(compared)


def test_the_page_shows_every_variant(outcomes):
    compared = {**comparison(outcomes, within=400), "models": compared_models(outcomes[0].report)}
    text = page(PIPELINE, outcomes[0].history, outcomes[0].report, compared)
    root = ElementTree.fromstring(text)
    assert all(text.count(outcome.variant.name) >= 2 for outcome in outcomes)
    assert len(root.findall(f".//{XHTML}table")) >= 3
    assert len(root.findall(f".//{SVG}polyline")) == 3


def test_without_known_drifts_nothing_is_called_false(outcomes):
    unknown = [replace(outcome, report={**outcome.report, "true_drifts": None}) for outcome in outcomes]
    compared = comparison(unknown, within=400)
    assert compared["variants"][0]["detection"] is None
    assert "false" not in comparison_text(compared)
