"""The fold of evidence into incidents."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from online.policy.advice import ADVICE, STARTED_AFRESH, reference_of
from online.policy.belonging import FOLLOWERS, Span, is_news, is_young, may_join, renewed_signals, takes
from online.policy.condition import Figures, Watch
from online.policy.course import Course
from online.policy.health import drift_score, health, is_served
from online.policy.incident import Incident, Status, head_of
from online.policy.merging import Held, NewestEvidence, Signal, SignalKey, is_look
from online.policy.thresholds import Thresholds, changed, effective
from penstock.events import Drift, DriftCondition, DriftKind, DriftThresholds, Evidence, Level
from penstock.spec import Pipeline


class _State(msgspec.Struct, array_like=True):
    newest: list[Held]
    generations: dict[str, int]
    open: list[Incident]
    changes: DriftThresholds
    watch: Watch = Watch()


class IncidentPolicy:
    """The fold of ``evidence`` into incidents, one kind of drift per incident.

    *Merging.* The newest evidence of each partition of a stage counts (`NewestEvidence`). A signal's merged effect is
    the mean over partitions weighted by their current windows.

    *Opening.* A signal needs significance and an effect (`Thresholds.opens`): a p-value of one partition within the
    level of its kind (`kind_level`, whose bound is over all looks of all partitions together, so the p-value needs no
    correction for their number), and a merged effect of at least the kind's floor. Detectors that decide by themselves
    (``fired``) need the floor only.

    *One drift, one incident.* A signal that moves joins the open incident of its kind if another detector already sees
    the same feature or version there, or within ``drift.window`` records per partition of its opening, or if its change
    began before that time was over. Else it opens another. A served metric that falls joins the incident of the error
    of its version instead, for one window more: it is a mean over one.

    *Another drift of the same signal.* A signal leaves its incident for a new one (or for a young one) at a change
    after the incident's window, if its effect had fallen and rises again (`Course.rises_again`), or if it differs from
    another reference than the one the incident began with: a change that lasted became the reference. An error
    detector that fires at a change after the window, or after the opening with twice the effect of all so far and a
    floor more, closes the old incident and opens a new one.

    *Levels.* `Thresholds.level`, from warning to critical and never back; a rise is an ``escalated`` event.

    *End.* A signal leaves its incident after ``quiet_looks`` looks per partition in a row at which it did not hold it
    open (`Thresholds.holds`, a weaker condition than to open); what it does later is another drift. The incident
    closes when its last signal has left. At the first evidence about a higher generation one such look is enough: what
    started afresh with the new champion closes, what is still seen after it goes on, as an incident of the new
    generation. Evidence about an older generation than its stage's newest is ignored.

    *Changes.* A change of thresholds holds from its offset on: for what opens, and for what stays open.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._name = pipeline.name
        self._newest = NewestEvidence()
        self._open: list[Incident] = []
        self._watch = Watch()
        self._change(DriftThresholds())

    def update(self, evidence: Evidence, offset: int) -> list[Drift]:
        """Take the evidence record at ``offset``; what it opens, escalates and closes, in this order of happening."""
        if evidence.stage == "policy":
            if evidence.change is not None:
                self._change(changed(self._changes, evidence.change))
            return []
        stage, generation = evidence.stage, self._newest.generation(evidence.stage)
        if evidence.generation < generation:
            return []
        self._newest.take(evidence)
        renewed = evidence.generation > generation
        if renewed:
            self._renew(stage, evidence.generation)
        signals = self._newest.signals(stage, self._patience(stage), evidence)
        events = self._open_new(evidence, offset, signals)
        for held in [held for held in self._open if held.stage == stage]:
            events += self._follow(held, evidence, signals, renewed)
        return events

    def watch(self, evidence: Evidence) -> DriftCondition | None:
        """The drift condition at a look of a monitor that was taken; None while all is below the limits, as before."""
        generation = self._newest.generation("monitor")
        if evidence.stage != "monitor" or evidence.generation < generation or not is_look(evidence):
            return None
        signals = self._newest.signals("monitor", self._patience("monitor")).values()
        figures = Figures(drift_score(signals), self._thresholds.drifted_share(signals))
        before, policy, patience = self._watch, self._pipeline.retraining, self._patience("monitor")
        self._watch = before.after(policy, figures, generation, evidence.event_time_ms, patience)
        return self._watch.condition(figures) if before.lasts or self._watch.lasts else None

    def _change(self, changes: DriftThresholds) -> None:
        self._changes = changes
        self._policy = effective(self._pipeline.drift, changes)
        self._thresholds = Thresholds(replace(self._pipeline, drift=self._policy))

    def _patience(self, stage: str) -> int:
        return self._policy.quiet_looks * self._newest.partitions(stage)

    def _quiet_limit(self, held: Incident) -> int:
        # The population is looked at every half window only: one look without a finding of it is not a quiet one.
        cadence = self._policy.window // self._policy.look_every if held.kind == "population" else 0
        return max(self._policy.quiet_looks, cadence) * self._newest.partitions(held.stage)

    def _renew(self, stage: str, generation: int) -> None:
        for held in self._open:
            if held.stage == stage:
                held.generation = generation
                held.quiet = dict.fromkeys(held.quiet, self._quiet_limit(held) - 1)
                held.courses = {key: Course(0.0) for key in held.courses}

    def _open_new(self, evidence: Evidence, offset: int, signals: dict[SignalKey, Signal]) -> list[Drift]:
        events: list[Drift] = []
        renewed = renewed_signals(self._open, evidence, self._thresholds)
        followers = {key: signal for key, signal in signals.items() if key.kind in FOLLOWERS}
        leaders = {key: signal for key, signal in signals.items() if key not in followers}
        for group in (leaders, followers):
            by_kind: dict[DriftKind, dict[SignalKey, Signal]] = {}
            for key, signal in group.items():
                if self._thresholds.opens(signal):
                    if not self._joined(key, signal, evidence.stage, key in renewed):
                        by_kind.setdefault(key.kind, {})[key] = signal
                elif self._thresholds.significant(signal):
                    self._confirm(key, evidence.stage)
            for kind, news in by_kind.items():
                mine = [held for held in self._open if held.kind == kind and held.stage == evidence.stage]
                replaced = [held for held in mine if not held.quiet or any(map(held.claims, news))]
                events += [self._close(held, evidence) for held in replaced]
                events.append(self._open_one(kind, news, evidence, offset))
        return events

    def _joined(self, key: SignalKey, signal: Signal, stage: str, renewed: bool) -> bool:
        """Whether the signal belongs to an open incident; it joins that one if it is not in it yet."""
        span, floor = self._span(stage), self._thresholds.floor(key.kind)
        mine = [held for held in self._open if held.stage == stage and may_join(held, key)]
        left = None if signal.fired else next((held for held in mine if key in held.quiet), None)
        if left is not None:
            if not is_news(left, key, signal, span, floor, renewed):
                return True
            left.leave([key])
        for held in reversed(mine):
            if held is not left and takes(held, key, signal, span, floor):
                held.join(key, signal.effect)
                return True
        return False

    def _confirm(self, key: SignalKey, stage: str) -> None:
        """A detector that may not open an incident joins one about the same version."""
        for held in self._open:
            if held.stage == stage and held.claims(key):
                held.quiet.setdefault(key, 0)

    def _span(self, stage: str) -> Span:
        return Span(self._newest.seen(stage), self._policy.window * self._newest.partitions(stage))

    def _is_young(self, held: Incident) -> bool:
        return is_young(held, self._span(held.stage))

    def _open_one(self, kind: DriftKind, members: dict[SignalKey, Signal], evidence: Evidence, offset: int) -> Drift:
        held = Incident(
            id=f"{self._name}-{kind}-{offset}",
            kind=kind,
            stage=evidence.stage,
            level="warning",
            generation=evidence.generation,
            opened_at=self._newest.seen(evidence.stage),
            opened_ms=evidence.event_time_ms,
            settled_ms=evidence.event_time_ms,
            since=self._since(members),
            reference=reference_of(kind, evidence.reference),
            head=head_of(members.values()),
        )
        for key, signal in members.items():
            held.join(key, signal.effect)
        held.measure(members)
        held.level = self._level_of(held, members)
        self._open.append(held)
        return self._event(held, "opened", evidence, ADVICE[kind])

    def _since(self, members: dict[SignalKey, Signal]) -> int | None:
        """When the change began: the earliest date of its signals.

        Where they give none, that of the newest incident that a signal could still join, were it of its kind: kinds
        that move together mostly have one cause, and what follows from a drift (a retraining) must not date it twice.
        """
        dates = [signal.finding.since_event_time_ms for signal in members.values()]
        dated = [date for date in dates if date is not None]
        if dated:
            return min(dated)
        young = (held.since for held in reversed(self._open) if self._is_young(held))
        return next((date for date in young if date is not None), None)

    def _follow(
        self, held: Incident, evidence: Evidence, signals: dict[SignalKey, Signal], renewed: bool
    ) -> list[Drift]:
        if self._is_young(held):
            held.settled_ms = max(held.settled_ms, evidence.event_time_ms)
        events: list[Drift] = []
        moving = {key: signals[key] for key in held.quiet if key in signals and self._thresholds.holds(signals[key])}
        held.measure(moving)
        for key, course in held.courses.items():
            if key in signals:
                course.take(signals[key].effect, may_fall=not self._is_young(held))
        if held.level == "warning" and self._level_of(held, moving) == "critical":
            held.level = "critical"
            held.head = head_of(moving.values())
            events.append(self._event(held, "escalated", evidence, ADVICE[held.kind]))
        counts = renewed or is_look(evidence)
        held.quiet = {key: 0 if key in moving else looks + counts for key, looks in held.quiet.items()}
        held.leave([key for key, looks in held.quiet.items() if looks >= self._quiet_limit(held)])
        if not held.quiet:
            events.append(self._close(held, evidence, STARTED_AFRESH if renewed else ""))
        return events

    def _level_of(self, held: Incident, moving: dict[SignalKey, Signal]) -> Level:
        return self._thresholds.level(held.performance_drop, held.distance, moving.values())

    def _close(self, held: Incident, evidence: Evidence, advice: str = "") -> Drift:
        self._open = [other for other in self._open if other.id != held.id]
        return self._event(held, "closed", evidence, advice)

    def _event(self, held: Incident, status: Status, evidence: Evidence, advice: str) -> Drift:
        score, condition = self.condition()
        return held.event(status, evidence, self._newest.seen(held.stage), score, condition, advice)

    def condition(self) -> tuple[float, float]:
        """Drift score and health now, over the newest evidence of both stages, in [0, 1]."""
        signals = [
            signal
            for stage in ("monitor", "learner")
            for signal in self._newest.signals(stage, self._patience(stage)).values()
        ]
        drops = [signal.effect for signal in signals if is_served(signal) and self._thresholds.holds(signal)]
        score = drift_score(signals)
        return score, health(score, max(drops, default=0.0))

    def state(self) -> bytes:
        """The newest evidence, generations, open incidents, changed thresholds and what lasts, as MessagePack."""
        newest, generations = self._newest.state()
        return msgspec.msgpack.encode(_State(newest, generations, self._open, self._changes, self._watch))

    def restore(self, state: bytes) -> None:
        """Replace the state by what `state` returned."""
        held = msgspec.msgpack.decode(state, type=_State)
        self._newest = NewestEvidence(held.newest, held.generations)
        self._open = held.open
        self._watch = held.watch
        self._change(held.changes)
