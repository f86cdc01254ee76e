"""Real data with a drift injected at a known row; the labels of a covariate shift stay as they are."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import msgspec

from benchmarks.drift.scoring import Change
from benchmarks.drift.streams import Family, Stream
from benchmarks.output import say
from penstock.contract import check_features, check_outcome
from penstock.errors import ContractError, DependencyError
from penstock.events import Features, Label, Outcome, Request
from penstock.spec import Pipeline
from producers.datasets import dataset_path
from producers.drifts import DriftKind, Injection
from producers.injectors import inject
from producers.rows import table_rows
from producers.schedule import StreamRow

#: Beside the checkout, where developers and CI have them.
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
#: Per data set the first row that is taken and the feature that moves or decides. Real drift is in all of them.
STRETCHES: dict[str, tuple[int, str]] = {
    "elec2": (18_000, "nswdemand"),
    "noaa_weather": (0, "feat_1"),
    "bike_demand": (0, "f2"),
    "sba_loans_22k": (8000, "DisbursementGross"),
    "taiwan_credit": (0, "LIMIT_BAL"),
}
ROWS, START = 10_000, 6000
SEED = 7
FAMILIES: dict[DriftKind, Family] = {"concept": "real concept", "covariate": "real covariate"}


def datasets_directory() -> Path:
    """PENSTOCK_DATASETS_DIR, else the folder beside the checkout."""
    return Path(os.environ.get("PENSTOCK_DATASETS_DIR") or SHARED)


def real_streams() -> Iterator[Stream]:
    """Per data set at hand one stream with a concept drift and one with a covariate shift; says which are absent."""
    for name, (first, feature) in STRETCHES.items():
        try:
            path = dataset_path(name, datasets_directory())
        except DependencyError as absent:
            say(f"SKIPPED {name}: {absent}")
            continue
        pipeline: Pipeline = replace(importlib.import_module(f"pipelines.{name}").PIPELINE, tier="light")
        for kind, family in FAMILIES.items():
            injection = Injection(kind, START, feature)
            rows = inject(islice(table_rows(pipeline, path), first, first + ROWS), pipeline, [injection], SEED)
            yield Stream(
                f"{name}, {kind} of {feature}",
                family,
                SEED,
                pipeline,
                list(_labelled(pipeline, rows)),
                (Change(START),),
            )


def _labelled(pipeline: Pipeline, rows: Iterable[StreamRow]) -> Iterator[tuple[Features, Outcome]]:
    """The rows that keep their contract and have a label."""
    for row in rows:
        if row.label is None:
            continue
        request, label = msgspec.json.decode(row.request, type=Request), msgspec.json.decode(row.label, type=Label)
        try:
            yield check_features(pipeline, request.features), check_outcome(pipeline, label.value)
        except ContractError:
            continue
