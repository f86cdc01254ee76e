"""A fairness episode in real data: where a logistic regression approves below 0.3, the sexes' ratio falls to 0.82."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from river import linear_model, preprocessing

from online.detectors.base import Batch
from online.detectors.fairness import DemographicParity
from online.policy.fold import IncidentPolicy
from penstock.contract import decoder_for
from penstock.events import Evidence
from penstock.spec import load_pipeline
from producers.rows import table_rows

ROOT = Path(__file__).parents[3]
DATA = Path(os.environ.get("PENSTOCK_DATASETS_DIR", ROOT.parent / "shared" / "data")) / "taiwan_credit.csv.gz"
LOOK = 100


@pytest.mark.data
def test_the_episode_of_taiwan_credit_is_one_incident():
    if not DATA.is_file():
        pytest.skip(f"{DATA} is not there: set PENSTOCK_DATASETS_DIR")
    pipeline = load_pipeline(ROOT / "pipelines" / "taiwan_credit.py")
    numbers = [feature.name for feature in pipeline.features]
    model = preprocessing.StandardScaler() | linear_model.LogisticRegression()
    check_request, check_label = decoder_for("requests", pipeline), decoder_for("labels", pipeline)
    detector, policy = DemographicParity(pipeline), IncidentPolicy(pipeline)
    rows, decisions, events = [], [], []
    for row, each in enumerate(table_rows(pipeline, DATA), 1):
        features = check_request(each.request).features
        numeric = {name: float(features[name]) for name in numbers}
        rows.append(features)
        decisions.append("1" if model.predict_proba_one(numeric).get(True, 0.5) >= pipeline.threshold else "0")
        model.learn_one(numeric, check_label(each.label).value == pipeline.positive)
        if row % LOOK:
            continue
        evidence = Evidence(
            stage="monitor",
            partition=0,
            seen=row,
            record_id=str(row),
            event_time_ms=row,
            generation=0,
            findings=detector.update(Batch(range(LOOK), rows, decisions=decisions)),
        )
        events += [(drift.status, drift.feature, row) for drift in policy.update(evidence, row)]
        rows, decisions = [], []
    assert all(row > 15_000 for _, _, row in events)
    assert [status for status, feature, _ in events if feature == "SEX"] == ["opened", "closed"]
    opened, closed = (row for _, feature, row in events if feature == "SEX")
    assert opened <= 22_000
    assert 24_000 < closed <= 26_000
