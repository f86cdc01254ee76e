"""Whether the versions that score answer as they should; what fails is answered by another, and told."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, TypeAlias

import msgspec
import structlog

from penstock.events import Alert, Features, HealthCommand, ModelRecord, Prediction, Score
from penstock.models.slot import PRIOR, Loaded, Serving, sound_scores
from penstock.spec import Rollout
from penstock.telemetry import CounterName, Telemetry

#: Calls over which the share of failures is taken, and the least of them that say something.
CALLS = 100
LEAST_CALLS = 20
#: One slow call may be the machine's fault.
SLOW_CALLS = 2

Check: TypeAlias = Literal["failures", "errors", "latency", "load"]
Said: TypeAlias = HealthCommand | Alert

_logger = structlog.get_logger("penstock.models")


@dataclass(slots=True)
class _Answers:
    """How the newest calls of one version in one generation went."""

    failed: deque[bool] = field(default_factory=lambda: deque(maxlen=CALLS))
    in_a_row: int = 0
    slow: int = 0
    why: str = ""


class Watch:
    """Asks models for scores, and notes how that goes: one per process that answers requests.

    A version is unhealthy when more than ``rollout.failures`` calls in a row fail, when more than
    ``rollout.error_rate`` of the newest 100 calls (at least 20) do, or when two calls in a row take more than
    ``rollout.latency_s``. A call is one batch of rows; it fails when the model raises, or a score is not finite. Each
    (version, generation, check) is told once by a process, and under the same id by all. Safe to use from any thread.
    """

    def __init__(self, rollout: Rollout, by: str, monotonic_s: Callable[[], float], telemetry: Telemetry) -> None:
        self._rollout = rollout
        self._by = by
        self._monotonic_s = monotonic_s
        self._telemetry = telemetry
        self._lock = threading.Lock()
        self._generation = -1
        self._answers: dict[str, _Answers] = {}
        self._logged: set[str] = set()
        self._told: set[tuple[str, int, str]] = set()
        self._news: list[Said] = []

    def asking(self, serving: Serving) -> Callable[[Loaded, Sequence[Features]], list[Score] | None]:
        """What asks a model of ``serving`` for its scores; it gives None where the model fails, and never raises."""
        return partial(self._ask, serving.generation)

    def _ask(self, generation: int, loaded: Loaded, rows: Sequence[Features]) -> list[Score] | None:
        started_s, scores, failure = self._monotonic_s(), None, ""
        try:
            scores = sound_scores(loaded, rows)
        except Exception as error:  # a model may fail in any way: another one answers
            failure = f"{type(error).__name__}: {error}"
            if loaded.version not in self._logged:
                self._logged.add(loaded.version)
                _logger.exception("scoring failed", version=loaded.version, generation=generation, rows=len(rows))
        with self._lock:
            self._note(loaded.version, generation, failure, self._monotonic_s() - started_s)
        return scores

    def _note(self, version: str, generation: int, failure: str, took_s: float) -> None:
        if generation != self._generation:
            self._generation, self._answers = generation, {}
        answers, rollout = self._answers.setdefault(version, _Answers()), self._rollout
        answers.failed.append(bool(failure))
        answers.in_a_row = answers.in_a_row + 1 if failure else 0
        answers.slow = answers.slow + 1 if took_s > rollout.latency_s else 0
        answers.why = failure or answers.why
        if answers.in_a_row > rollout.failures:
            self._tell(version, generation, "failures", answers.in_a_row, rollout.failures, answers.why)
        if failure and len(answers.failed) >= LEAST_CALLS:
            share = sum(answers.failed) / len(answers.failed)
            if share > rollout.error_rate:
                self._tell(version, generation, "errors", share, rollout.error_rate, answers.why)
        if answers.slow >= SLOW_CALLS:
            self._tell(version, generation, "latency", took_s, rollout.latency_s, "")

    def _tell(self, version: str, generation: int, check: Check, value: float, limit: float, detail: str) -> None:
        if version != PRIOR:
            command = _health(self._by, version, generation, check, value, limit, detail)
            self._once(version, generation, check, command)

    def _once(self, version: str, generation: int, what: str, said: Said) -> None:
        if (version, generation, what) not in self._told:
            self._told.add((version, generation, what))
            self._news.append(said)

    def answered(self, serving: Serving, predictions: Sequence[Prediction]) -> None:
        """Count those that another version answered instead of the champion."""
        answers = [each.version for each in predictions if each.role == "champion"]
        if not answers or answers[0] == serving.champion.version:  # all are answered by the same one
            return
        version, instead = serving.champion.version, answers[0]
        self._telemetry.count(CounterName.FALLBACKS, len(answers), version=version, answered_by=instead)
        with self._lock:
            noted = self._answers.get(version)
            alert = Alert(
                id=f"fallback-{version}-{serving.generation}-{instead}",
                severity="critical",
                title=f"model {version} cannot score; {instead} answers",
                detail=noted.why if noted else "",
                at_ms=0,
                source=self._by,
            )
            self._once(version, serving.generation, f"by {instead}", alert)

    def news(self, at_ms: int) -> list[Said]:
        """What is to be told since the last call: unhealthy versions, and who answers in whose place."""
        if not self._news:
            return []
        with self._lock:
            news, self._news = self._news, []
        return [msgspec.structs.replace(said, at_ms=at_ms) for said in news]

    def unsaid(self, news: Sequence[Said]) -> None:
        """``news`` could not be written: it is told with the next."""
        with self._lock:
            self._news += news


def topic_of(said: Said) -> str:
    """Where it is told: the retrainer reads ``commands``, people read ``alerts``."""
    return "alerts" if isinstance(said, Alert) else "commands"


def unloadable(record: ModelRecord, why: str, by: str, at_ms: int) -> HealthCommand:
    """``record`` could not be fetched, verified, loaded or warmed up here."""
    command = _health(by, record.version, record.generation, "load", 1.0, 0.0, why)
    return msgspec.structs.replace(command, at_ms=at_ms)


def _health(
    by: str, version: str, generation: int, check: Check, value: float, limit: float, detail: str
) -> HealthCommand:
    return HealthCommand(
        id=f"health-{version}-{generation}-{check}",
        by=by,
        at_ms=0,
        version=version,
        generation=generation,
        check=check,
        value=value,
        limit=limit,
        detail=detail[:500],
    )
