"""To which incident a signal belongs: whether what it does is a drift that is told already."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from online.policy.incident import Incident
from online.policy.merging import Signal, SignalKey, alone, key_of
from online.policy.thresholds import Thresholds
from penstock.events import DriftKind, Evidence

#: What also joins an incident of another kind about the same version: a fall of the metric follows a rise of the error.
JOINED_BY: Final[dict[DriftKind, DriftKind]] = {"concept": "performance"}
FOLLOWERS: Final = frozenset(JOINED_BY.values())
#: A rise of the error that is this many times the greatest so far is another drift, however young its incident.
WORSE = 2.0


class Span(NamedTuple):
    """Records of a stage over all its partitions: those counted so far, and those of a window of each."""

    seen: int
    window: int


def may_join(held: Incident, key: SignalKey) -> bool:
    """Whether signals like this one are ever part of such an incident."""
    return key.kind in (held.kind, JOINED_BY.get(held.kind))


def is_young(held: Incident, span: Span, windows: int = 1) -> bool:
    """Whether the incident opened at most so many windows ago."""
    return span.seen - held.opened_at <= windows * span.window


def renewed_signals(incidents: Iterable[Incident], evidence: Evidence, thresholds: Thresholds) -> set[SignalKey]:
    """The signals that ``evidence`` sees differ from another reference than the one with which their incident began.

    The change must be dated after the incident's window; each incident notes the references that are new to it.
    """
    renewed: set[SignalKey] = set()
    mine = [held for held in incidents if held.stage == evidence.stage]
    for finding in evidence.findings:
        key, signal = key_of(finding), alone(finding)
        for held in mine:
            course = held.courses.get(key)
            if course is None or not course.has_other_reference(evidence.partition, finding.reference_mean):
                continue
            dated = finding.since_event_time_ms is not None
            if dated and not _dated_within(held, signal) and thresholds.significant(signal):
                renewed.add(key)
    return renewed


def is_news(held: Incident, key: SignalKey, signal: Signal, span: Span, floor: float, renewed: bool) -> bool:
    """Whether a signal of the incident moves anew, at a change after the incident's window.

    ``renewed``: it differs from another reference than the one with which the incident began. A date alone says
    nothing: while a change lasts, the window moves on, and what is dated is its beginning.
    """
    if is_young(held, span):
        return False
    course = held.courses.get(key)
    rises = course is not None and course.rises_again(signal.effect, floor)
    return renewed or (rises and not _dated_within(held, signal))


def takes(held: Incident, key: SignalKey, signal: Signal, span: Span, floor: float) -> bool:
    """Whether a signal that is not in the incident, or that fired, is the same drift."""
    if held.kind != key.kind:
        # A metric over a window sees a change for one window more than the error does.
        same = any((own.kind, own.subject) == (held.kind, key.subject) for own in held.quiet)
        undated = signal.finding.since_event_time_ms is None
        return same and (_dated_within(held, signal) or (undated and is_young(held, span, windows=2)))
    if is_young(held, span):
        return not _is_worse(held, key, signal, floor)
    return _dated_within(held, signal) or (held.claims(key) and not signal.fired)


def _dated_within(held: Incident, signal: Signal) -> bool:
    since = signal.finding.since_event_time_ms
    return since is not None and since <= held.settled_ms


def _is_worse(held: Incident, key: SignalKey, signal: Signal, floor: float) -> bool:
    """Whether a detector fires at a change after the opening that is much greater than all so far."""
    since, greatest = signal.finding.since_event_time_ms, held.greatest(key)
    later = signal.fired and since is not None and since > held.opened_ms
    return later and held.claims(key) and signal.effect >= max(WORSE * greatest, greatest + floor)
