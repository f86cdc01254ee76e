"""The learner object that all loops share, and the bytes of its input."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from benchmarks.solo import solo_learner
from benchmarks.stream import open_source
from consumers.learner import Learner
from penstock.clock import SystemClock
from penstock.models.artifact import DirectoryArtifacts, Signer
from penstock.models.snapshots import BudgetedSnapshots
from penstock.spec import Pipeline
from penstock.topology import physical_name

SIGNER = Signer(b"only for benchmarks")


def spec(pipeline: str, partitions: int = 1) -> Pipeline:
    """The spec of the events, under the run's name."""
    return replace(open_source(pipeline).pipeline, tier="light", partitions=partitions)


def examples_topic(pipeline: str) -> str:
    """Where the examples are."""
    return physical_name(pipeline, "examples")


def new_learner(pipeline: str, model: str, folder: Path) -> Learner:
    """A fresh learner: metrics, detectors, and snapshots within their budget, stored in ``folder``."""
    publisher = BudgetedSnapshots(DirectoryArtifacts(folder / "artifacts", SIGNER), SystemClock())
    return solo_learner(spec(pipeline), model, publisher)
