"""The retrainer: the one writer of decisions."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.events import (
    Alert,
    CancelCommand,
    Decision,
    Drift,
    Metrics,
    OutcomeCommand,
    PauseCommand,
    RetrainCommand,
    TickCommand,
)
from penstock.runtime.stage import Input, Output
from penstock.spec import Pipeline
from retraining.alarms import on_drift
from retraining.asking import on_cancel, on_pause, on_retrain, on_tick
from retraining.audit import answers
from retraining.progress import Progress
from retraining.promotion import on_checked
from retraining.rollout import on_outcome
from retraining.rollout_steps import ROLLOUT_STEPS, on_asked
from retraining.slots import announced
from retraining.states import State, chained, fold
from retraining.triggers import on_enough, on_waiting
from retraining.watching import on_condition

_SEVERITY = {
    "paused": "info",
    "resumed": "info",
    "cancelled": "info",
    "triggered": "info",
    "promoted": "info",
    "rejected": "warning",
    "failed": "warning",
    "rolled_back": "warning",
    "refused": "warning",
    "awaiting_approval": "warning",
}


class Retrainer:
    """Turns drift, metrics, commands and outcomes into decisions, and decisions into model records.

    Its state is the fold of ``decisions``: before any input, `fold` gets every decision of the topic, from the first.
    `observe` may then get metrics and drift records that were consumed earlier, so that a drift point may lie before
    the start of this process, and warnings from before it count.
    """

    def __init__(self, pipeline: Pipeline, partition: int = 0) -> None:
        self._pipeline = pipeline
        self._partition = partition
        self.progress = Progress(pipeline)
        self.state = State()

    def fold(self, decision: Decision) -> None:
        """Take a decision of the log into account. Raises ``BrokenChainError``."""
        self.state = fold(self.state, decision)

    def observe(self, event: Metrics | Drift) -> None:
        """Take what was consumed before this process started into account; nothing is decided."""
        if isinstance(event, Drift):
            self.progress.observe_drift(event)
        else:
            self.progress.observe(event)

    def process(self, inputs: Sequence[Input]) -> list[Output]:
        """Decide on each input; a decision is applied when it is emitted."""
        outputs: list[Output] = []
        for item in inputs:
            for decision in answers(self.state, self.progress, item.event, self._drafts(item.event)):
                outputs.extend(self._decide(decision))
            outputs.extend(self._advance())
        return outputs

    def _drafts(self, event: object) -> list[Decision]:
        if isinstance(event, Metrics):
            self.progress.observe(event)
            return []
        if isinstance(event, OutcomeCommand):
            decide = on_outcome if event.step == "fit" else on_checked
            return decide(self.state, self.progress, event)
        decision: Decision | None = None
        if isinstance(event, Drift):
            self.progress.observe_drift(event)
            decision = on_drift(self._pipeline, self.state, self.progress, event)
        elif isinstance(event, RetrainCommand):
            decision = on_retrain(self._pipeline, self.state, self.progress, event)
        elif isinstance(event, TickCommand):
            decision = on_tick(self._pipeline, self.state, self.progress, event)
        elif isinstance(event, PauseCommand):
            decision = on_pause(self.state, self.progress, event)
        elif isinstance(event, CancelCommand):
            decision = on_cancel(self.state, self.progress, event)
        else:
            decision = on_asked(self._pipeline, self.state, self.progress, event)
        return [decision] if decision else []

    def _advance(self) -> list[Output]:
        """Take every step that is due, until none is."""
        outputs: list[Output] = []
        while True:
            for step in (on_waiting, on_enough, *ROLLOUT_STEPS, on_condition):
                decision = step(self._pipeline, self.state, self.progress)
                if decision is not None:
                    outputs.extend(self._decide(decision))
                    break
            else:
                return outputs

    def _decide(self, draft: Decision) -> list[Output]:
        before, decision = self.state, chained(self.state, draft)
        self.state = fold(before, decision)
        outputs = [Output("decisions", decision.run_id or decision.trigger, decision)]
        outputs.extend(Output("models", record.slot, record) for record in announced(before, self.state))
        if decision.step in _SEVERITY:
            alert = _alert(decision)
            outputs.append(Output("alerts", alert.id, alert))
        return outputs


def _alert(decision: Decision) -> Alert:
    subject = f"{decision.version} {decision.step}" if decision.version else f"Retraining {decision.step}"
    return Alert(
        id=f"{decision.run_id or 'retraining'}-{decision.step}-{decision.seq}",
        severity="warning" if _SEVERITY[decision.step] == "warning" else "info",
        title=subject,
        detail=decision.reason,
        at_ms=decision.event_time_ms,
        source="retrainer",
        incident=f"rollback-{decision.seq}" if decision.step == "rolled_back" else "",
    )
