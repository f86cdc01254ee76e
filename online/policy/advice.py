"""What people read about an incident: what, where, how much, against what, since when, and what to do."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import msgspec

from online.policy.health import condition
from penstock.events import EARLIEST_MS, LATEST_MS, Cause, Drift, DriftKind, PolicyChange

ADVICE: Final[dict[DriftKind, str]] = {
    "concept": "The error rose: retrain on examples since the change and compare before promoting.",
    "covariate": "Inputs moved: check the listed features at their source; retrain if the error follows.",
    "prior": "The shares of the labels moved: check how labels are made; recalibrate the threshold, or retrain.",
    "prediction": "The answers moved: see whether the inputs moved too; if not, check the served version.",
    "uncertainty": "The model is less sure: compare with its accuracy once labels are in; retrain if that falls.",
    "schema": "Inputs broke: check the sender of the listed features (missing, out of range or unknown values).",
    "population": "Another population is served: check where the requests come from; retrain on examples since then.",
    "performance": "Served performance fell: retrain on examples since the change, or roll the last promotion back.",
    "fairness": "Groups are treated differently: review decisions by the listed attribute before the next promotion.",
}

#: What an incident is compared with where its evidence does not say.
REFERENCES: Final[dict[DriftKind, str]] = {
    "concept": "the error before the change",
    "performance": "the start of the generation, or a better window after it",
    "prior": "the first labels of the generation",
    "fairness": "the limit",
}

#: Said by an incident that closes because its stage began to look at a higher generation.
STARTED_AFRESH = "Closed by a promotion: its references started afresh, which does not say that the change is over."

#: Features or versions that a line names.
NAMED = 5


def reference_of(kind: DriftKind, stated: str) -> str:
    """What was compared with: what the evidence stated, or what is usual for the kind."""
    return stated or REFERENCES.get(kind, "the reference window")


def title(pipeline: str, drift: Drift) -> str:
    """What happened and where, in one line."""
    places = list(drift.features) or list(dict.fromkeys(cause.version for cause in drift.causes if cause.version))
    more = f" and {len(places) - NAMED} more" if len(places) > NAMED else ""
    where = f" in {', '.join(places[:NAMED])}{more}" if places else ""
    return f"{pipeline}: {drift.level} {drift.kind} drift {drift.status}{where}"


def detail(drift: Drift) -> str:
    """How much, against which reference, since when, and what to do, in one line."""
    causes = "; ".join(_of(cause) for cause in drift.causes[:NAMED])
    since = "" if drift.since_event_time_ms is None else f", since {moment(drift.since_event_time_ms)}"
    drop = "" if drift.performance_drop is None else f" Served performance down by {drift.performance_drop:.3f}."
    health = "" if drift.health is None else f" Health {drift.health:.2f} ({condition(drift.health)})."
    return f"{causes}; against {drift.reference}{since}.{drop}{health} {drift.advice}".strip()


def change_line(change: PolicyChange) -> str:
    """Who set which thresholds, and why, in one line."""
    values = msgspec.structs.asdict(change.thresholds).items()
    parts = ["all back to the pipeline's"] if change.reset else []
    parts += [f"{name} = {value:g}" for name, value in values if value is not None]
    why = f" ({change.reason})" if change.reason else ""
    return f"{', '.join(parts)}; by {change.by}{why}"


def _of(cause: Cause) -> str:
    subject = cause.feature or cause.version
    what = f"{cause.detector} of {subject}" if subject else cause.detector
    means = ""
    if cause.reference_mean is not None and cause.current_mean is not None:
        means = f", mean {cause.reference_mean:.4g} → {cause.current_mean:.4g}"
    measures = "".join(f", {name} {value:.3g}" for name, value in cause.measures.items() if not name.startswith("n:"))
    return f"{what}: effect {cause.effect:.3f}{means}{measures}, p {cause.p_value:.2g}"


def moment(event_time_ms: int) -> str:
    """ISO 8601 in UTC; times that no calendar has, in milliseconds."""
    if not EARLIEST_MS <= event_time_ms <= LATEST_MS:
        return f"{event_time_ms} ms"
    return datetime.fromtimestamp(event_time_ms / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
