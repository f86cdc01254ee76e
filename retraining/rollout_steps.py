"""All that a rollout may do next, and who hears which command."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from penstock.events import (
    ApprovalCommand,
    Decision,
    ExperimentCommand,
    HealthCommand,
    PromoteCommand,
    RollbackCommand,
)
from penstock.spec import Pipeline
from retraining.approval import on_approval, on_unheard
from retraining.experiment import on_experiment, on_experiment_command
from retraining.health import on_health
from retraining.progress import Progress
from retraining.promotion import on_promote, on_rollback
from retraining.rollback import on_left_behind, on_worse
from retraining.rollout import on_losing, on_overtaken, on_ready, on_settled
from retraining.states import State

Step: TypeAlias = Callable[[Pipeline, State, Progress], Decision | None]

#: In this order: who is worse goes before anybody comes.
ROLLOUT_STEPS: Sequence[Step] = (
    on_worse,
    on_left_behind,
    on_overtaken,
    on_losing,
    on_experiment,
    on_unheard,
    on_ready,
    on_settled,
)


def on_asked(pipeline: Pipeline, state: State, progress: Progress, event: object) -> Decision | None:
    """The decision on a command about which version serves; None for any other, and for one that was decided on."""
    match event:
        case PromoteCommand():
            return on_promote(state, progress, event)
        case RollbackCommand():
            return on_rollback(state, progress, event)
        case ExperimentCommand():
            return on_experiment_command(state, progress, event)
        case ApprovalCommand():
            return on_approval(state, progress, event)
        case HealthCommand():
            return on_health(pipeline, state, progress, event)
    return None
