"""How the bound on false incidents is shared out, and the p-value that each kind must reach."""

from __future__ import annotations

from typing import Literal, TypeAlias

from online.detectors.labelled import learner_signal_count
from online.detectors.significance import signal_count, significance_level
from penstock.events import DriftKind
from penstock.spec import Pipeline

#: Whose looks, or whose alarms, share a part of the bound.
Group: TypeAlias = Literal["inputs", "outcomes", "errors"]

#: Parts of ``false_incidents_per_50k``: what is computed from predictions alone, what needs labels, and the detectors
#: that decide by themselves, whose rate is measured and not bounded by a p-value.
SHARES: dict[Group, float] = {"inputs": 0.5, "outcomes": 0.25, "errors": 0.25}

GROUPS: dict[DriftKind, Group] = {
    "covariate": "inputs",
    "schema": "inputs",
    "prediction": "inputs",
    "uncertainty": "inputs",
    "population": "inputs",
    "prior": "outcomes",
    "performance": "outcomes",
    "fairness": "outcomes",
    "concept": "errors",
}

#: p-values of fairness per protected attribute: of all decisions and of those with a favourable label.
FAIRNESS_SIGNALS = 2


def outcome_count(pipeline: Pipeline) -> int:
    """How many p-values of prior, performance and fairness one look has at most."""
    return learner_signal_count(pipeline) + FAIRNESS_SIGNALS * len(pipeline.protected)


def kind_level(pipeline: Pipeline, kind: DriftKind) -> float:
    """The greatest p-value of a signal of ``kind`` that is significant at one look.

    Each group's share of the bound is spread evenly over its p-values and looks, by `significance_level`: the expected
    number of false incidents of a group is at most its share, those of all groups together at most
    ``false_incidents_per_50k`` (linearity of expectation, whatever their dependence, for any number of partitions).
    A concept incident needs a detector that fired; its p-value only says how long the incident lasts.
    """
    group = GROUPS[kind]
    count = outcome_count(pipeline) if group == "outcomes" else signal_count(pipeline)
    return SHARES[group] * significance_level(pipeline.drift, count)
