from __future__ import annotations

import pytest

from online import snapshot
from online.committee import Committee
from online.loading import model_loader
from online.prior import PriorModel
from penstock.errors import ArtifactError
from penstock.spec import Numeric, Pipeline

PIPELINE = Pipeline(name="p", task="binary", target="y", classes=("no", "yes"), features=(Numeric("a"),), tier="light")


def test_online_artifacts_are_snapshots():
    committee = Committee(PIPELINE)
    for i in range(20):
        committee.learn_one({"a": float(i % 3)}, "yes" if i % 3 else "no")
    model = model_loader(PIPELINE)("online", snapshot.dump(committee))
    assert model.score_many([{"a": 2.0}]) == committee.score_many([{"a": 2.0}])


def test_the_prior_needs_no_bytes():
    assert isinstance(model_loader(PIPELINE)("prior", b""), PriorModel)


def test_batch_artifacts_go_to_the_batch_loader():
    pytest.importorskip("sklearn")
    with pytest.raises(ArtifactError):
        model_loader(PIPELINE)("batch", b"no such artifact")
