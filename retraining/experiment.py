"""A/B of two versions: each answers its share of the entities, both score every row, and the better one serves.

Both are compared on all labelled rows of the experiment, not each on its own: the difference of their losses on the
same row has a far smaller spread. The decision may be looked at after every record (`retraining.sequential`).
"""

from __future__ import annotations

import msgspec

from penstock.events import Decision, ExperimentCommand, Step
from penstock.spec import Pipeline
from retraining.answers import answer, asked, refused, trigger_of, unknown
from retraining.progress import Progress
from retraining.promotion import checked_first
from retraining.sequential import least_gain
from retraining.slots import canary_of, crowned, known
from retraining.states import Experiment, State
from retraining.triggers import draft


def on_experiment_command(state: State, progress: Progress, command: ExperimentCommand) -> Decision | None:
    """Starts an experiment (after the check of its artifact), changes its share, ends it, or ``refused``."""
    if trigger_of(command) in state.seen:
        return None
    what, going_on = asked(command), state.experiment
    if command.share == 0.0:
        if going_on is None or command.version not in ("", going_on.record.version):
            return refused(state, progress, command, f"{what}: no experiment with {command.version} is going on")
        version = going_on.record.version
        return answer(state, progress, command, "cancelled", what, run_id=going_on.id, version=version)
    if command.share >= 1.0:  # what the champion serves is what the next drift is seen by
        return refused(state, progress, command, f"{what}: a share of 1 leaves the champion none; promote it instead")
    if going_on is not None and going_on.record.version == command.version:
        record = msgspec.structs.replace(going_on.record, share=command.share)
        changed = answer(state, progress, command, "canary", what, run_id=going_on.id, version=command.version)
        return msgspec.structs.replace(changed, model=record)
    why_not = _obstacle(state, command.version)
    if why_not:
        return refused(state, progress, command, f"{what}: {why_not}")
    target = canary_of(
        known(state)[command.version], state.champion.generation, f"experiment:{command.id}", command.share
    )
    return checked_first(state, progress, command, "experiment", target)


def _obstacle(state: State, version: str) -> str:
    versions = known(state)
    if state.experiment is not None:
        return f"an experiment with {state.experiment.record.version} is going on; end it with share 0 first"
    if state.run is not None and state.run.canary is not None:
        return f"{state.run.version} is the canary of run {state.run.id}; there is one canary at a time"
    if version == state.champion.version:
        return f"{version} serves already; it needs another version to be compared with"
    return "" if version in versions else unknown(version, list(versions))


def on_experiment(pipeline: Pipeline, state: State, progress: Progress) -> Decision | None:
    """The end of an experiment: the better version serves, or neither is better after so many rows.

    ``promoted``: the other version is surely better. ``rejected``: the champion is, or ``rollout.experiment_rows``
    labelled rows did not show which. ``cancelled``: another champion came to serve meanwhile.
    """
    trial, champion = state.experiment, state.champion
    if trial is None:
        return None
    if trial.generation != champion.generation:
        return _ended(state, progress, trial, f"{champion.version} came to serve meanwhile", "cancelled")
    rivalry = progress.rivalries.between(champion.version, trial.record.version, champion.generation)
    alpha = 1.0 - pipeline.gates.confidence
    if (lower := least_gain(rivalry, alpha)) > 0.0:
        record = crowned(state, known(state).get(trial.record.version, trial.record))
        reason = f"better than {champion.version}: {rivalry.turned().means()}, lower bound of the gain {lower:.4g}"
        won = draft(state, progress, "promoted", run_id=trial.id, trigger=trial.trigger, reason=reason)
        return msgspec.structs.replace(won, version=record.version, generation=record.generation, model=record)
    if (lower := least_gain(rivalry.turned(), alpha)) > 0.0:
        why = f"{champion.version} is better: {rivalry.means()}, lower bound of the difference {lower:.4g}"
        return _ended(state, progress, trial, why)
    rows = progress.labelled - trial.labelled
    if rows >= pipeline.rollout.experiment_rows:
        return _ended(state, progress, trial, f"no winner after {rows} labelled rows; {champion.version} stays")
    return None


def _ended(state: State, progress: Progress, trial: Experiment, why: str, step: Step = "rejected") -> Decision:
    ended = draft(state, progress, step, run_id=trial.id, trigger=trial.trigger, reason=why)
    return msgspec.structs.replace(ended, version=trial.record.version)
