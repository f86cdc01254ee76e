"""The learner stage with a committee of exactly one member, so that one model's cost can be seen."""

from __future__ import annotations

from dataclasses import replace

from consumers.learner import Learner
from online import pool
from online.detectors.outcomes import OutcomeDetectors
from penstock.models.snapshots import SnapshotPublisher
from penstock.spec import Pipeline

#: Model in the report: member of the pool. All read the same encoded rows, scaled to mean 0 and spread 1.
MODELS = {"logistic": "linear_fast", "tree": "adaptive_tree", "forest": "random_forest"}


def solo_learner(pipeline: Pipeline, model: str, publisher: SnapshotPublisher, partition: int = 0) -> Learner:
    """A learner as production runs it (metrics, detectors, snapshots), but for its committee of the one ``model``.

    The pool's tiers are fixed names; this process's ``light`` tier becomes that one member from here on.
    """
    pool.TIERS["light"] = (MODELS[model],)
    alone = replace(pipeline, tier="light")
    return Learner(alone, partition, publisher, OutcomeDetectors(alone))
