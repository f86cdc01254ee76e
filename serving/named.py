"""What a path names: the model of this pipeline, or a version of it. Anything else is a 404 that says so."""

from __future__ import annotations

from fastapi import HTTPException

from serving.deps import ServingDeps
from serving.overview import Overview
from serving.views import VersionView


def check_model(deps: ServingDeps, model_id: str | None) -> None:
    """Raise ``HTTPException`` 404 unless ``model_id`` is None or the pipeline's name."""
    if model_id is not None and model_id != deps.pipeline.name:
        raise HTTPException(404, f"no model {model_id[:80]!r}; the model here is {deps.pipeline.name}")


def known_version(overview: Overview, version: str) -> VersionView:
    """The version that is called so; ``overview.lock`` must be held. Raises ``HTTPException`` 404."""
    view = overview.history.versions.get(version)
    if view is None or view.kind == "none":
        raise HTTPException(404, f"no version {version[:80]!r}; `versioning` lists those that there are")
    return view
