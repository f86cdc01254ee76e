"""What serving is made of, handed in by whoever starts it. Nothing here is global."""

from __future__ import annotations

from dataclasses import dataclass

from penstock.clock import Clock
from penstock.log.port import Log
from penstock.models.slot import ServedModels
from penstock.models.watch import Watch
from penstock.settings import Settings
from penstock.spec import Pipeline
from penstock.telemetry import Telemetry


@dataclass(frozen=True, slots=True)
class ServingDeps:
    """One serving process: it owns ``served`` (its thread applies the ``models`` topic) and shares the rest."""

    pipeline: Pipeline
    log: Log
    served: ServedModels
    telemetry: Telemetry
    clock: Clock
    settings: Settings
    watch: Watch
