"""The retrainer: the one writer of decisions."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.events import Alert, Decision, Drift, Metrics, OutcomeCommand, RetrainCommand
from penstock.runtime.stage import Input, Output
from penstock.spec import Pipeline
from retraining.progress import Progress
from retraining.promotion import on_checked
from retraining.rollout import on_outcome
from retraining.rollout_steps import ROLLOUT_STEPS, on_asked
from retraining.slots import announced
from retraining.states import State, chained, fold
from retraining.triggers import on_command, on_drift, on_enough, on_outpaced, on_waiting

_SEVERITY = {
    "triggered": "info",
    "promoted": "info",
    "rejected": "warning",
    "failed": "warning",
    "rolled_back": "warning",
    "refused": "warning",
    "cancelled": "info",
    "awaiting_approval": "warning",
}


class Retrainer:
    """Turns drift, metrics, commands and outcomes into decisions, and decisions into model records.

    Its state is the fold of ``decisions``: before any input, `fold` gets every decision of the topic, from the first.
    `observe` may then get metrics records that were consumed earlier, so that a drift point may lie before the start of
    this process; without them the data of a run starts at the first metrics record after it.
    """

    def __init__(self, pipeline: Pipeline, partition: int = 0) -> None:
        self._pipeline = pipeline
        self._partition = partition
        self._progress = Progress()
        self.state = State()

    def fold(self, decision: Decision) -> None:
        """Take a decision of the log into account. Raises ``BrokenChainError``."""
        self.state = fold(self.state, decision)

    def observe(self, metrics: Metrics) -> None:
        """Take metrics that were consumed before this process started into account; nothing is decided."""
        self._progress.observe(metrics)

    def process(self, inputs: Sequence[Input]) -> list[Output]:
        """Decide on each input; a decision is applied when it is emitted."""
        outputs: list[Output] = []
        for item in inputs:
            for decision in self._drafts(item.event):
                outputs.extend(self._decide(decision))
            outputs.extend(self._advance())
        return outputs

    def _drafts(self, event: object) -> list[Decision]:
        if isinstance(event, Metrics):
            self._progress.observe(event)
            return []
        if isinstance(event, OutcomeCommand):
            decide = on_outcome if event.step == "fit" else on_checked
            return decide(self.state, self._progress, event)
        decision: Decision | None = None
        if isinstance(event, Drift):
            self._progress.see(event.event_time_ms, event.record_id)
            decision = on_drift(self._pipeline, self.state, self._progress, event)
        elif isinstance(event, RetrainCommand):
            decision = on_command(self._pipeline, self.state, self._progress, event)
        else:
            decision = on_asked(self._pipeline, self.state, self._progress, event)
        return [decision] if decision else []

    def _advance(self) -> list[Output]:
        """Take every step that is due, until none is."""
        outputs: list[Output] = []
        while True:
            for step in (on_waiting, on_enough, *ROLLOUT_STEPS, on_outpaced):
                decision = step(self._pipeline, self.state, self._progress)
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
    subject = f"{decision.version} {decision.step}" if decision.version else f"Retrain {decision.step}"
    return Alert(
        id=f"{decision.run_id}-{decision.step}-{decision.seq}",
        severity="warning" if _SEVERITY[decision.step] == "warning" else "info",
        title=subject,
        detail=decision.reason,
        at_ms=decision.event_time_ms,
        source="retrainer",
    )
