"""How often the product alarms where nothing changes: 20 features, a fixed model, its labels, 1 or 12 partitions."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.drift.product import Opening, Silent, labelled, predicted
from benchmarks.output import say
from consumers.incidents import Incidents
from consumers.learner import Learner
from consumers.monitor import Monitor
from online.detectors.outcomes import OutcomeDetectors
from penstock.events import Drift, Evidence, Example
from penstock.runtime.stage import Input
from penstock.spec import Categorical, Feature, Numeric, Pipeline

NUMBERS, CATEGORIES, VALUES = 14, 6, 8
#: Rows per seed: the stretch that the bound speaks of. Every seed starts with references of its own.
STRETCH = 50_000


def pipeline() -> Pipeline:
    """14 numbers and 6 categories; the light tier, since the learner's own model is beside the point."""
    features: tuple[Feature, ...] = (
        *(Numeric(f"x{i}") for i in range(NUMBERS)),
        *(Categorical(f"c{i}") for i in range(CATEGORIES)),
    )
    return Pipeline(name="bench", task="binary", target="y", classes=("0", "1"), features=features, tier="light")


def stationary_examples(spec: Pipeline, rows: int, seed: int) -> Iterator[Example]:
    """Independent rows; labels are drawn with the very probability that is served."""
    rng = np.random.default_rng(seed)
    numbers, names = rng.normal(size=(rows, NUMBERS)), rng.integers(0, VALUES, size=(rows, CATEGORIES))
    scores = 1 / (1 + np.exp(-numbers[:, :3].sum(axis=1)))
    positive = rng.random(rows) < scores
    features = [feature.name for feature in spec.features]
    for row, (score, label) in enumerate(zip(scores.tolist(), positive.tolist(), strict=True)):
        values = dict(zip(features, (*numbers[row].tolist(), *map(str, names[row].tolist())), strict=True))
        yield labelled(predicted(spec, row, values, score, snapshot=None), str(int(label)))


def false_incidents(rows: int, seed: int, partitions: int) -> list[Opening]:
    """The incidents that open over a stretch of stationary rows, dealt to the partitions in turn."""
    spec = pipeline()
    monitors = [Monitor(spec, partition) for partition in range(partitions)]
    learners = [Learner(spec, partition, Silent(), OutcomeDetectors(spec)) for partition in range(partitions)]
    incidents, offset, opened = Incidents(spec), 0, []
    for row, example in enumerate(stationary_examples(spec, rows, seed)):
        partition, time_ms = row % partitions, example.label_time_ms
        outputs = monitors[partition].process([Input("predictions", partition, row, time_ms, example.prediction)])
        outputs += learners[partition].process([Input("examples", partition, row, time_ms, example)])
        for output in outputs:
            if isinstance(output.event, Evidence):
                found = incidents.process([Input("evidence", 0, offset, time_ms, output.event)])
                opened += [
                    Opening(row, made.event.kind, made.event.detector, made.event.feature)
                    for made in found
                    if isinstance(made.event, Drift) and made.event.status == "opened"
                ]
                offset += 1
    return opened


def false_rate(events: int, partitions: int) -> tuple[float, list[dict[str, object]]]:
    """False incidents per 50,000 stationary events, and each of them with its seed."""
    found: list[dict[str, object]] = []
    for seed, start in enumerate(range(0, events, STRETCH)):
        opened = false_incidents(min(STRETCH, events - start), seed, partitions)
        found += [{"seed": seed, **opening._asdict()} for opening in opened]
        say(f"stationary, {partitions} partitions, seed {seed}: {len(opened)} false incidents")
    return len(found) / (events / STRETCH), found
