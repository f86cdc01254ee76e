"""Where a version came from, as text by name: enough to fit it again from the log, and to say who may answer for it."""

from __future__ import annotations

import platform
from collections.abc import Mapping

import msgspec

from penstock.events import Decision
from penstock.spec import Pipeline
from retraining.dataset import Dataset
from retraining.states import State


def lineage(
    pipeline: Pipeline, state: State, decision: Decision, data: Dataset, provenance: Mapping[str, str]
) -> dict[str, str]:
    """The lineage of what is fitted on ``data`` for the run of ``decision``, decided in ``state``."""
    import sklearn
    import skops

    libraries = {
        "python": platform.python_version(),
        "scikit-learn": sklearn.__version__,
        "skops": skops.__version__,
        "machine": platform.machine(),
    }
    return {
        "pipeline": pipeline.name,
        "run_id": decision.run_id,
        "trigger": decision.trigger,
        "decision": decision.hash,
        "spec_digest": pipeline.state_digest(),
        "data_range": msgspec.json.encode(decision.data).decode(),
        "data_digest": data.digest,
        "data_rows": str(len(data.rows)),
        "seed": str(pipeline.retraining.seed),
        "parent_version": state.champion.version,
        "parent_generation": str(state.champion.generation),
        "libraries": msgspec.json.encode(libraries).decode(),
        **provenance,
    }
