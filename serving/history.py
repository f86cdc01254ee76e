"""What was decided: runs, versions and the switch, folded from ``decisions`` for the management API and the page.

The retrainer alone knows what a decision means for the next one. This is a reading of its record for people, so it
never refuses: a step that it does not know is shown under its name and changes nothing else.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from itertools import islice
from typing import Literal

import msgspec

from penstock.events import Decision
from penstock.models.slot import ONLINE
from penstock.topology import DAY_MS
from serving.views import Happened, Part, RunView, Span, Switch, VersionView

MOST_DECISIONS = 10_000
MOST_RUNS = 2_000
MOST_VERSIONS = 2_000
MOST_ANSWERS = 5_000

#: How ids of audit entries of this API begin. Their decisions are of no interest here, and there are many.
ACCESS = "access-"
#: After these a run is over.
ENDS = ("promoted", "rejected", "failed", "cancelled")

_PARTS: dict[str, Part] = {
    "trained": "made",
    "registered": "made",
    "awaiting_approval": "waiting",
    "approved": "waiting",
    "shadow": "shadow",
    "canary": "canary",
    "promoted": "champion",
    "rolled_back": "champion",
}


class History:
    """Folds decisions in order. Not thread-safe.

    Beyond its limits the oldest are forgotten here (the log keeps them); counters count all. ``changed`` holds the
    keys of the versions that changed since the caller last cleared it. ``last_run`` is the start of the newest run,
    ``ended_at`` how many rows were labelled when one last ended.
    """

    def __init__(self) -> None:
        self.runs: OrderedDict[str, RunView] = OrderedDict()
        self.versions: OrderedDict[str, VersionView] = OrderedDict(
            {
                ONLINE: VersionView(
                    version=ONLINE,
                    kind="online",
                    status="champion",
                    seq=-1,
                    spans=[Span(part="champion", from_ms=None)],
                )
            }
        )
        self.decisions: deque[Decision] = deque(maxlen=MOST_DECISIONS)
        self.switch = Switch()
        self.champion = ONLINE
        self.generation = 0
        self.going_on: str | None = None
        self.ended_at: int | None = None
        self.last_run: Happened | None = None
        self.outcomes: Counter[str] = Counter()
        self.triggers: Counter[str] = Counter()
        self.not_started: Counter[str] = Counter()
        self.refused = 0
        self.changed: set[str] = {ONLINE}
        self._started: deque[int] = deque(maxlen=1000)
        self._answers: OrderedDict[str, Decision] = OrderedDict()

    def take(self, decision: Decision, at_ms: int) -> None:
        """Take the next decision into account, which was appended at ``at_ms``."""
        if decision.command.startswith(ACCESS):
            return
        self.decisions.append(decision)
        self._answered(decision)
        if decision.step in ("paused", "resumed"):
            paused = decision.step == "paused"
            self.switch = Switch(paused=paused, by=decision.by, reason=decision.reason, at_ms=at_ms)
        elif decision.step == "not_started":
            self.not_started[trigger_kind(decision.trigger)] += 1
        elif decision.step == "refused":
            self.refused += 1
        elif decision.step != "recorded":
            self._run(decision, at_ms)
            self._version(decision, at_ms)

    def answer(self, trigger: str) -> Decision | None:
        """What was decided first on a trigger (``command:<id>``, ``drift:<id>``); None: nothing yet (or long ago).

        A command that was only ``recorded``, while what it names is being looked at, has its answer when that is known.
        """
        return self._answers.get(trigger)

    def run_going_on(self) -> RunView | None:
        """The run that has not ended."""
        return self.runs.get(self.going_on) if self.going_on else None

    def waiting(self) -> list[VersionView]:
        """Versions that wait for a person's word."""
        return [view for view in self.versions.values() if view.status == "awaiting_approval"]

    def started_within_day(self, now_ms: int) -> int:
        """How many runs started within 24 hours of event time before ``now_ms``."""
        return sum(started > now_ms - DAY_MS for started in self._started)

    def run_page(self, limit: int, before: int | None) -> tuple[list[RunView], int | None]:
        """Runs that started before decision ``before``, newest first, and where the next page begins."""
        found = list(islice((run for run in reversed(self.runs.values()) if _is_before(run.seq, before)), limit + 1))
        return found[:limit], found[limit - 1].seq if len(found) > limit else None

    def version_page(self, limit: int, before: int | None) -> tuple[list[VersionView], int | None]:
        """Versions that came up before decision ``before``, newest first, and where the next page begins."""
        newest = sorted(self.versions.values(), key=lambda view: -view.seq)
        found = list(islice((view for view in newest if _is_before(view.seq, before)), limit + 1))
        return found[:limit], found[limit - 1].seq if len(found) > limit else None

    def decision_page(self, limit: int, before: int | None) -> tuple[list[Decision], int | None]:
        """Decisions before ``before``, newest first, and where the next page begins."""
        found = list(islice((each for each in reversed(self.decisions) if _is_before(each.seq, before)), limit + 1))
        return found[:limit], found[limit - 1].seq if len(found) > limit else None

    def _answered(self, decision: Decision) -> None:
        for trigger in {decision.trigger, f"command:{decision.command}" if decision.command else ""} - {""}:
            held = self._answers.get(trigger)
            if held is None or is_interim(held):
                self._answers[trigger] = decision
            if len(self._answers) > MOST_ANSWERS:
                self._answers.popitem(last=False)

    def _run(self, decision: Decision, at_ms: int) -> None:
        run = self.runs.get(decision.run_id)
        if decision.step == "triggered" and run is None:
            run = RunView(
                run_id=decision.run_id,
                seq=decision.seq,
                trigger=decision.trigger,
                reason=decision.reason,
                step=decision.step,
                by=decision.by,
                started_ms=decision.event_time_ms,
                started_at_ms=at_ms,
                event_time_ms=decision.event_time_ms,
                at_ms=at_ms,
            )
            self.runs[run.run_id] = run
            self.going_on = run.run_id
            self._started.append(decision.event_time_ms)
            self.last_run = _happened(decision, at_ms)
            self.triggers[trigger_kind(decision.trigger)] += 1
            if len(self.runs) > MOST_RUNS:
                self.runs.popitem(last=False)
        # Other ends are those of a person's promotion or experiment.
        if decision.step == "rolled_back" or (decision.step in ENDS and run is not None):
            self.outcomes[decision.step] += 1
            self.ended_at = decision.labelled
        if run is None:
            return
        run.steps.append(_happened(decision, at_ms))
        run.event_time_ms, run.at_ms, run.labelled = decision.event_time_ms, at_ms, decision.labelled
        if decision.step != "rolled_back":  # that names who serves instead
            run.version = decision.version or run.version
        run.data = decision.data or run.data
        run.gates, run.candidates = decision.gates or run.gates, decision.candidates or run.candidates
        if decision.step == "settled":
            return
        run.step, run.reason = decision.step, decision.reason
        if decision.step in ("rolled_back", *ENDS):
            run.outcome = decision.step
            if self.going_on == run.run_id:
                self.going_on = None

    def _version(self, decision: Decision, at_ms: int) -> None:
        run = self.runs.get(decision.run_id)
        if decision.step == "triggered":
            return
        if decision.step == "settled":
            for former in self.versions.values():
                if former.spans and former.spans[-1].to_ms is None and former.spans[-1].part == "predecessor":
                    _continue(former, None, decision.event_time_ms)
                    self.changed.add(former.version)
        named = decision.version or (run.version if run else "")
        crowned = decision.step in ("promoted", "rolled_back")
        if crowned:
            named = decision.version or (decision.model.version if decision.model else named)
            if not named:
                return
            self._crowned(named, decision, at_ms)
        if not named and decision.step in ENDS:
            named = decision.run_id  # an attempt that came to nothing is told too
        if not named:
            return
        view = self.versions.get(named)
        if view is None:
            view = self._made(named, decision, run)
        self._told(view, decision, at_ms)

    def _made(self, named: str, decision: Decision, run: RunView | None) -> VersionView:
        kind: Literal["none", "batch"] = "none" if named == decision.run_id else "batch"
        view = VersionView(version=named, kind=kind, status="", seq=decision.seq, run_id=decision.run_id)
        if run is not None:
            view.trigger, view.asked_by = run.trigger, run.by
            view.reason = run.steps[0].reason
            view.data, view.gates, view.candidates = run.data, run.gates, run.candidates
            view.steps = run.steps[:-1]  # the last is the decision that is being told
            view.spans = [Span(part="made", from_ms=run.started_ms)]
        self.versions[named] = view
        if len(self.versions) > MOST_VERSIONS:
            oldest = next(name for name in self.versions if name not in (ONLINE, self.champion))
            del self.versions[oldest]
        return view

    def _told(self, view: VersionView, decision: Decision, at_ms: int) -> None:
        crowned = decision.step in ("promoted", "rolled_back")
        view.steps.append(_happened(decision, at_ms))
        view.event_time_ms, view.at_ms = decision.event_time_ms, at_ms
        view.gates, view.candidates = decision.gates or view.gates, decision.candidates or view.candidates
        view.data = decision.data or view.data
        view.lineage = {**view.lineage, **decision.lineage}
        if decision.model is not None and decision.model.version == view.version:
            view.digest = decision.model.digest or view.digest
            view.size_bytes = decision.model.size_bytes or view.size_bytes
        if decision.step == "approved" or (decision.step == "promoted" and decision.by):
            view.approver = decision.by
        # Who serves is told as that, whatever else it takes part in.
        part = _PARTS.get(decision.step) if crowned or view.version != self.champion else None
        share = decision.model.share if decision.model is not None and decision.step == "canary" else None
        if crowned:
            view.generation = decision.generation
        if part is not None:
            _continue(view, part, decision.event_time_ms, share)
            view.status = "champion" if crowned else decision.step
            view.why_status = decision.reason
        elif decision.step in ENDS and view.version != self.champion:
            _continue(view, None, decision.event_time_ms)
            own = decision.run_id == view.run_id  # else it is of an experiment
            view.status, view.why_status = decision.step if own else _at_rest(view), decision.reason
        elif not view.status:
            view.status = decision.step
        self.changed.add(view.version)

    def _crowned(self, named: str, decision: Decision, at_ms: int) -> None:
        """Who serves gives way to ``named``; a canary that was sent back is told as such, and nobody gives way."""
        run = self.runs.get(decision.run_id)
        fallen = run.version if run and decision.step == "rolled_back" else ""
        self.generation = max(self.generation, decision.generation)
        for version in {self.champion, fallen} - {named, ""}:
            view = self.versions.get(version)
            if view is None:
                continue
            _continue(view, "predecessor" if version == self.champion else None, decision.event_time_ms)
            view.status = "rolled_back" if decision.step == "rolled_back" and version != ONLINE else _at_rest(view)
            view.why_status = decision.reason
            view.steps.append(_happened(decision, at_ms))
            self.changed.add(version)
        self.champion = named


def is_interim(decision: Decision) -> bool:
    """Whether another decision on the same command follows: what it names is being looked at."""
    return decision.step == "recorded" and decision.model is not None


def trigger_kind(trigger: str) -> str:
    """What kind of trigger it was: ``drift``, ``command``, ``schedule`` …"""
    return trigger.partition(":")[0] or "unknown"


def _at_rest(view: VersionView) -> str:
    """What a version is that does not serve, and is part of no run: experiments leave it as it was."""
    if view.version == ONLINE:
        return "shadow"
    return "archived" if any(span.part == "champion" for span in view.spans) else "registered"


def _is_before(seq: int, before: int | None) -> bool:
    return before is None or seq < before


def _happened(decision: Decision, at_ms: int) -> Happened:
    return Happened(
        seq=decision.seq,
        step=decision.step,
        reason=decision.reason,
        event_time_ms=decision.event_time_ms,
        at_ms=at_ms,
        labelled=decision.labelled,
        by=decision.by,
    )


def _continue(view: VersionView, part: Part | None, at_ms: int, share: float | None = None) -> None:
    """End the span that is open at ``at_ms``, and begin one as ``part`` (None: none)."""
    if view.spans and view.spans[-1].to_ms is None:
        last = view.spans[-1]
        if last.part == part and last.share == share:
            return
        view.spans[-1] = msgspec.structs.replace(
            last, to_ms=at_ms if last.from_ms is None else max(at_ms, last.from_ms)
        )
    if part is not None:
        view.spans.append(Span(part=part, from_ms=at_ms, share=share))
