"""The runner of effects: fits and registrations, outside the fold and outside transactions.

Everything it does is keyed by the run's id and may be repeated: the fit is deterministic, artifacts are named by their
content, the registry looks up before it creates, and of two outcomes of one run the first wins.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple, cast

import structlog

from penstock.clock import Clock
from penstock.contract import decoder_for
from penstock.errors import (
    ArtifactError,
    ClusterError,
    LogUnavailableError,
    OffsetOutOfRangeError,
    PenstockError,
    RegistryError,
)
from penstock.events import Alert, Command, Decision, OutcomeCommand, encode
from penstock.log.port import Log, Message
from penstock.models.artifact import ArtifactStore
from penstock.models.registry import Registry
from penstock.models.slot import ONLINE
from penstock.spec import Pipeline
from retraining.backend import FitBackend, local
from retraining.candidates import chosen_settings, recorded_settings
from retraining.dataset import read_dataset
from retraining.fitting import Fit, fit_run
from retraining.provenance import provenance
from retraining.registration import completed
from retraining.states import SCORED, State, fold
from retraining.warm_start import ONLINE_COPY, BaseSource, newest_base, no_base, recorded_base

FIRST_RETRY_S = 1.0
LONGEST_RETRY_S = 60.0
_POLL = 500

_log = structlog.get_logger("penstock.retraining.effects")


class Work(NamedTuple):
    """A fit that has to be done: the decision that asks for it, and the state right after it."""

    decision: Decision
    state: State


def pending(decisions: Sequence[Decision], commands: Sequence[Command]) -> Work | None:
    """The fit that has neither an outcome in ``commands`` nor one in ``decisions`` (all of them, from the first)."""
    state, collected = State(), None
    for decision in decisions:
        state = fold(state, decision)
        if decision.step == "collected":
            collected = decision
    finished = {command.run_id for command in commands if isinstance(command, OutcomeCommand)}  # checks have other ids
    if collected is None or state.run is None or state.run.phase != "fitting" or state.run.id in finished:
        return None
    return Work(collected, state)


class EffectRunner:
    """Follows ``decisions`` and ``commands`` and does what they ask for, one thing per `step`.

    Belongs to one thread at a time. ``step`` blocks for a fit (seconds), or up to ``wait_s`` where nothing is to do.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        log: Log,
        artifacts: ArtifactStore,
        registry: Registry,
        clock: Clock,
        backend: FitBackend = local,
        code: Callable[[], Mapping[str, str]] = lambda: provenance(Path.cwd()),
    ) -> None:
        self._pipeline = pipeline
        self._log = log
        self._artifacts = artifacts
        self._registry = registry
        self._clock = clock
        self._backend = backend
        self._code = code
        self._decisions = decoder_for("decisions", pipeline)
        self._commands = decoder_for("commands", pipeline)
        self._examples = decoder_for("examples", pipeline)
        self._tail = log.tail(["decisions", "commands"], from_start=True)
        self._state = State()
        self._collected: Decision | None = None
        self._finished: set[str] = set()
        self._aliases: tuple[str, str | None] = (ONLINE, None)
        self._aliases_done: tuple[str, str | None] = (ONLINE, None)
        self._champions: list[str] = []
        self._archived: frozenset[str] = frozenset()
        self._fit: tuple[str, Fit] | None = None
        self._alerted = ""
        self._failures = 0
        self._not_before_s = 0.0

    def step(self, wait_s: float = 0.0) -> bool:
        """Read what is new and do one piece of work; True when something was done.

        1. A fit that has no outcome yet. 2. The registry's aliases. An unavailable log, registry or cluster is
        tried again later, after 1 s, 2 s, 4 s … up to a minute.
        """
        if self._clock.monotonic_s() < self._not_before_s:
            return False
        try:
            self._follow(wait_s)
            done = self._step_fit() or self._step_aliases()
        except (RegistryError, LogUnavailableError, ClusterError) as error:
            self._failures += 1
            delay = min(LONGEST_RETRY_S, FIRST_RETRY_S * 2.0 ** (self._failures - 1))
            self._not_before_s = self._clock.monotonic_s() + delay
            _log.warning("effect postponed", error=str(error), retry_in_s=delay, failures=self._failures)
            return False
        self._failures = 0
        return done

    def close(self) -> None:
        """Stop following the log. Idempotent."""
        self._tail.close()

    @property
    def busy(self) -> bool:
        """Is anything known to be left to do (work that waits for a retry included)?"""
        return self._work() is not None or self._aliases != self._aliases_done

    def run(self, work: Work) -> OutcomeCommand:
        """Do the fit of ``work`` and say what came of it.

        Raises:
            RegistryError, LogUnavailableError, ClusterError: nothing is lost; the same call may be repeated.
        """
        decision = work.decision
        if self._fit is None or self._fit[0] != decision.run_id:
            # Kept until the outcome is written, so that a registry that is away does not cost another fit.
            self._fit = (decision.run_id, self._fitted(work))
        try:
            fit = self._registered(work, self._fit[1])
        except RegistryError as error:
            self._alert(decision, "the registration of run {} waits for the model registry", error)
            raise
        return OutcomeCommand(
            id=f"{decision.run_id}-fit",
            run_id=decision.run_id,
            step="fit",
            at_ms=decision.event_time_ms,
            error=fit.error,
            candidates=list(fit.results),
            gates=list(fit.gates),
            winner=fit.winner,
            rows_train=fit.rows_train,
            rows_compared=fit.rows_compared,
            model=fit.model,
            lineage=dict(fit.lineage),
        )

    def _registered(self, work: Work, fit: Fit) -> Fit:
        """``fit`` with the lineage that it was registered with; one whose card cannot be stored has failed.

        An earlier try may have registered its model and been cut off before it wrote the outcome. Its search may have
        had more time, or less: then the model that it registered is made again, by the settings that it recorded.
        """
        if fit.registration is None or fit.subject is None:
            return fit
        held = self._registry.versions()
        own = next((version for version in held if version.run_id == fit.registration.run_id), None)
        try:
            if own is not None and own.artifact != fit.registration.artifact:
                fit = self._fitted(work, recorded_settings(own.lineage))
            if fit.registration is None or fit.subject is None or (own and own.artifact != fit.registration.artifact):
                return Fit(error="another model was registered for this run before, and it cannot be made again")
            registration = completed(self._pipeline, fit.registration, fit.subject, held, self._artifacts)
        except ArtifactError as error:
            return Fit(error=str(error))
        # Of a run that is registered already, the registry's word stands: one version has one lineage and one card.
        return fit._replace(lineage=self._registry.register(registration).lineage)

    def _fitted(self, work: Work, settings: Mapping[str, str] | None = None) -> Fit:
        data = work.decision.data
        if data is None:
            return Fit(error="the decision names no data")
        try:
            dataset = read_dataset(self._log, data, self._examples)
            return fit_run(
                self._pipeline,
                work.state,
                work.decision,
                dataset,
                self._artifacts,
                self._backend,
                monotonic_s=self._clock.monotonic_s,
                bases=self._bases(settings),
                settings=settings,
                provenance=self._code(),
            )
        except ClusterError as error:
            self._alert(work.decision, "the fit of run {} waits for its cluster", error)
            raise
        except (OffsetOutOfRangeError, ArtifactError) as error:
            return Fit(error=str(error))
        except (ValueError, ArithmeticError, MemoryError) as error:
            # What estimators raise on data they cannot learn from. Anything else is a bug and must be loud.
            _log.exception("fit failed", run_id=work.decision.run_id)
            return Fit(error=f"the fit failed: {type(error).__name__}: {error}")

    def _bases(self, settings: Mapping[str, str] | None) -> BaseSource:
        """What a copy of the online model starts from: the snapshot that ``settings`` name, or without them any."""
        if settings is None:
            return partial(newest_base, self._pipeline, self._log, self._artifacts)
        if ONLINE_COPY not in settings:
            return no_base
        base = recorded_base(self._pipeline, self._artifacts, chosen_settings(settings, ONLINE_COPY))
        return lambda *_: base

    def _alert(self, decision: Decision, title: str, error: PenstockError) -> None:
        """Tell once per run that it has to wait."""
        if self._alerted == decision.run_id:
            return
        alert = Alert(
            id=f"{decision.run_id}-waits",
            severity="warning",
            title=title.format(decision.run_id),
            detail=str(error),
            at_ms=self._clock.now_ms(),
            source="retrainer",
        )
        self._log.append([Message("alerts", alert.id.encode(), encode(alert))])
        self._alerted = decision.run_id

    def _step_fit(self) -> bool:
        work = self._work()
        if work is None:
            return False
        outcome = self.run(work)
        self._log.append([Message("commands", outcome.id.encode(), encode(outcome))])
        self._finished.add(outcome.run_id)
        self._fit = None
        return True

    def _work(self) -> Work | None:
        run = self._state.run
        if self._collected is None or run is None or run.phase != "fitting" or run.id in self._finished:
            return None
        return Work(self._collected, self._state)

    def _step_aliases(self) -> bool:
        wanted = self._aliases
        if wanted == self._aliases_done:
            return False
        champion, challenger = wanted
        # The online model is no registered version: while it serves, nobody bears the alias.
        self._registry.set_alias("champion", None if champion == ONLINE else champion)
        self._registry.set_alias("challenger", challenger)
        self._aliases_done = wanted
        # The champion and the one before it are not archived; a rollback takes an archived one back.
        for version in self._champions:
            archived = version not in self._champions[-2:]
            if archived != (version in self._archived):
                self._registry.archive(version, archived)
                self._archived = self._archived ^ {version}
        return True

    def _follow(self, wait_s: float) -> None:
        while records := self._tail.poll(_POLL, wait_s):
            wait_s = 0.0
            for record in records:
                if record.topic == "decisions":
                    self._learn(cast(Decision, self._decisions(record.value)))
                else:
                    command = self._commands(record.value)
                    if isinstance(command, OutcomeCommand):
                        self._finished.add(command.run_id)

    def _learn(self, decision: Decision) -> None:
        self._state = fold(self._state, decision)
        if decision.step == "collected":
            self._collected = decision
        if decision.step in ("promoted", "rolled_back") and decision.version != ONLINE:
            self._champions = [*(v for v in self._champions if v != decision.version), decision.version]
        run = self._state.run
        challenger = run.version if run and run.phase in SCORED else None
        self._aliases = (self._state.champion.version, None if challenger in (ONLINE, None, "") else challenger)
