"""``/api/v1/mlops/``: what people and CI systems ask of retraining, and what they read about it."""

from __future__ import annotations

from fastapi import APIRouter

from serving.access import PREFIX
from serving.deps import ServingDeps
from serving.desk import Desk
from serving.management_changes import change_routes
from serving.management_reads import production_routes, retraining_routes
from serving.overview import Overview


def management_routes(deps: ServingDeps, desk: Desk, overview: Overview) -> APIRouter:
    """All of it. `serving.access.Access` has to be around the app: it says who calls."""
    router = APIRouter(prefix=PREFIX.rstrip("/"), tags=["management"])
    retraining_routes(router, deps, overview)
    production_routes(router, deps, overview)
    change_routes(router, deps, desk, overview)
    return router
