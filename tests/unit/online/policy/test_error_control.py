"""The bound on false incidents, for p-values as bad as they may be, over one partition and twelve."""

from __future__ import annotations

from dataclasses import replace
from math import sqrt

import numpy as np
import pytest

from online.detectors.significance import signal_count
from online.policy.budget import SHARES, outcome_count
from online.policy.fold import IncidentPolicy
from penstock.events import DriftKind, Finding
from penstock.spec import Categorical, DriftPolicy, Numeric, Pipeline
from tests.unit.online.policy.feed import Feed, finding

#: An hourly look needs 50 predictions.
LOOK_EVERY = 50
#: Twenty features, as many looks as there can be, and a bound that can be told from twice of it.
PIPELINE = Pipeline(
    name="loans",
    task="binary",
    target="y",
    classes=("0", "1"),
    features=(*(Numeric(f"x{i}") for i in range(14)), *(Categorical(f"c{i}") for i in range(6))),
    protected=("c0",),
    drift=DriftPolicy(false_incidents_per_50k=2.0, look_every=LOOK_EVERY),
)
PREDICTIONS = 1_000_000
LOOKS = PREDICTIONS // LOOK_EVERY


def false_incidents(kind: DriftKind, signals: int, partitions: int, seed: int) -> int:
    """Incidents that open when every look of every partition has ``signals`` independent uniform p-values.

    Every effect is the greatest there is, so that significance alone decides. Findings that cannot be significant are
    left out, which also keeps them from thinning the merged effects.
    """
    rng = np.random.default_rng(seed)
    feed, opened = Feed(IncidentPolicy(replace(PIPELINE, partitions=partitions))), 0
    for look in range(LOOKS):
        p_values = rng.random(signals)
        found: list[Finding] = [
            finding(kind, 1.0, float(p_values[i]), detector=f"d{i}", since_event_time_ms=look)
            for i in np.flatnonzero(p_values < 0.002)
        ]
        opened += sum(event.status == "opened" for event in feed(*found, partition=look % partitions))
    return opened


@pytest.mark.parametrize("partitions", [1, 12])
@pytest.mark.parametrize("kind", ["covariate", "fairness"])
def test_false_incidents_keep_to_their_share(kind: DriftKind, partitions: int) -> None:
    inputs = kind == "covariate"
    signals = signal_count(PIPELINE) if inputs else outcome_count(PIPELINE)
    share = SHARES["inputs" if inputs else "outcomes"]
    expected = share * PIPELINE.drift.false_incidents_per_50k * PREDICTIONS / 50_000
    found = false_incidents(kind, signals, partitions, seed=7)
    assert 0.4 * expected < found < expected + 3 * sqrt(expected), (found, expected)
