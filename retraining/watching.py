"""Runs that a lasting condition starts: it is looked at anew with every record, and decided on where something changes.

A condition has a name that holds from its beginning to its end. It starts one run. While something is in the way, that
is one decision, and another when something else is in the way.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import fmean, stdev
from typing import NamedTuple

from online.policy.advice import moment
from penstock.events import DataRange, Decision
from penstock.models.slot import ONLINE
from penstock.spec import Pipeline
from retraining.progress import Progress
from retraining.states import State
from retraining.triggers import labelled_rows, not_started, now_ms, obstacle, started

#: The online model has outpaced a champion when over at least so many looks its loss was lower by this share of the
#: champion's, and the looks' mean difference is this many standard errors from zero. Whether it (or a new model)
#: takes over is for the gates: here a mistake costs a fit.
OUTPACED_LOOKS = 10
OUTPACED_SHARE = 0.05
OUTPACED_ERRORS = 3.0


class Condition(NamedTuple):
    """What holds now: its name, what people read (the same as long as it holds), the data that a run starts with, and
    the figures of this moment.
    """

    trigger: str
    what: str
    data: DataRange
    figures: str = ""


def on_condition(pipeline: Pipeline, state: State, progress: Progress) -> Decision | None:
    """The decision on the first condition that holds and has none yet; None where there is none to make."""
    if labelled_rows(state, progress) == 0:
        return None
    for condition in _conditions(pipeline, state, progress):
        trigger, what, data, figures = condition
        if (trigger, "") in state.told:
            continue
        way = obstacle(pipeline, state, progress)
        if way is None:
            reason = f"{what}: {figures}" if figures else what
            return started(pipeline, state, progress, trigger, reason, data)
        if (trigger, f"{what}: {way.why}") not in state.told:
            return not_started(state, progress, trigger, what, way.why)
    return None


def _conditions(pipeline: Pipeline, state: State, progress: Progress) -> Iterator[Condition]:
    found = (_dropped, _far, _widespread, _outpaced, _grown)
    yield from (condition for each in found if (condition := each(pipeline, state, progress)) is not None)
    yield from _unended(pipeline, state, progress)


def _dropped(pipeline: Pipeline, state: State, progress: Progress) -> Condition | None:
    """What serves has become worse (`online.performance_drop`), from the rows on that show it."""
    performance = progress.performance
    drop, since = performance.drop, performance.since
    if drop is None or since is None or performance.generation != state.champion.generation:
        return None
    what = f"what serves has become worse than it was since its promotion, seen at labelled row {since}"
    figures = f"{drop.figure} {drop.now:.4g} over the newest {drop.rows} rows, "
    figures += f"{drop.before:.4g} over the {drop.rows_before} before"
    data = progress.newest(drop.rows, pipeline.partitions)
    return Condition(f"performance-drop:{since}", what, data, figures)


def _far(pipeline: Pipeline, state: State, progress: Progress) -> Condition | None:
    """The drift score has been too high for too long."""
    policy, condition = pipeline.retraining, progress.condition
    if policy.drift_score is None or condition is None or condition.drift_score_since_ms is None:
        return None
    since = condition.drift_score_since_ms
    if condition.drift_score <= policy.drift_score or now_ms(state, progress) - since < policy.drift_score_ms:
        return None
    what = f"a drift score above {policy.drift_score:g} since {moment(since)}"
    data = progress.since(since, pipeline.partitions)
    return Condition(f"drift-score:{since}", what, data, f"{condition.drift_score:.2f} now")


def _widespread(pipeline: Pipeline, _: State, progress: Progress) -> Condition | None:
    """Too many features have drifted."""
    policy, condition = pipeline.retraining, progress.condition
    if policy.drifted_share is None or condition is None or condition.drifted_share_since_ms is None:
        return None
    since = condition.drifted_share_since_ms
    if condition.drifted_share <= policy.drifted_share:
        return None
    what = f"more than {policy.drifted_share:.0%} of the features drifted since {moment(since)}"
    data = progress.since(since, pipeline.partitions)
    return Condition(f"drifted-features:{since}", what, data, f"{condition.drifted_share:.0%} now")


def _unended(pipeline: Pipeline, state: State, progress: Progress) -> Iterator[Condition]:
    """Warnings that are open for so many labelled rows, none of which a run has started since."""
    wanted = pipeline.retraining.warning_rows
    if wanted is None or labelled_rows(state, progress) - state.started_at < wanted:
        return
    for identity, warned in progress.lasting.items():
        trigger = f"warning:{identity}"
        if warned.generation < state.renewed or (trigger, "") in state.told:
            continue
        if progress.since(warned.event_time_ms, pipeline.partitions).rows < wanted:
            continue
        what = f"warning {identity} is open since {moment(warned.event_time_ms)}, {wanted} labelled rows and more"
        yield Condition(trigger, what, progress.since(warned.since_event_time_ms, pipeline.partitions))


def _outpaced(pipeline: Pipeline, state: State, progress: Progress) -> Condition | None:
    """The online model does better than the batch model that is served, drift alarm or not."""
    if state.champion.version == ONLINE:
        return None
    ended_at = state.ended_at or 0
    looks = [
        look for look in progress.compared if look.generation == state.champion.generation and look.labelled > ended_at
    ]
    if len(looks) < OUTPACED_LOOKS:
        return None
    gains = [look.served - look.online for look in looks]
    gain, served = fmean(gains), fmean(look.served for look in looks)
    if gain < OUTPACED_SHARE * served or gain < OUTPACED_ERRORS * stdev(gains) / math.sqrt(len(gains)):
        return None
    what = f"the online model outpaces {state.champion.version} since labelled row {ended_at}"
    data = progress.newest(pipeline.retraining.collect_rows, pipeline.partitions)
    figures = f"loss {served - gain:.4g} against {served:.4g} over {len(looks)} looks"
    return Condition(f"performance:{ended_at}", what, data, figures)


def _grown(pipeline: Pipeline, state: State, progress: Progress) -> Condition | None:
    """Enough rows were labelled since the last run started."""
    wanted = pipeline.retraining.new_rows
    if wanted is None or labelled_rows(state, progress) - state.started_at < wanted:
        return None
    what = f"{wanted} labelled rows since " + (f"run {state.runs} started" if state.runs else "the beginning")
    return Condition(f"volume:{state.runs}", what, progress.newest(_rows(pipeline), pipeline.partitions))


def _rows(pipeline: Pipeline) -> int:
    return max(pipeline.retraining.trial_rows, pipeline.retraining.collect_rows)
