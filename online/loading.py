"""From a verified artifact's bytes to a model that scores."""

from __future__ import annotations

from online import snapshot
from online.prior import PriorModel
from penstock.events import ModelKind
from penstock.models.model import Model
from penstock.models.slot import Loader
from penstock.spec import Pipeline


def model_loader(pipeline: Pipeline) -> Loader:
    """The loader of this pipeline's artifacts, by kind.

    It raises ``ArtifactError`` for bytes that do not load or do not fit the pipeline.
    """

    def load(kind: ModelKind, data: bytes) -> Model:
        if kind == "online":
            return snapshot.load(pipeline, data)
        if kind == "batch":
            # Imported on first use: it needs libraries that only installations with batch models have.
            from online.batch import load_batch

            return load_batch(pipeline, data)
        return PriorModel(pipeline)

    return load
