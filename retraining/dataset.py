"""Training data: a range of ``examples`` named by offsets, and the checks that can stop a run."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from penstock.errors import ContractError
from penstock.events import DataRange, Event, Example, Features, Outcome, Score
from penstock.log.port import Log, TopicPartition
from penstock.spec import Date, Pipeline

#: Fewer rows than these say nothing about a model.
LEAST_ROWS = 200
#: A class with fewer training or comparison rows cannot be judged.
LEAST_PER_CLASS = 5
#: A feature that alone ranks the classes this well is the label in disguise.
LEAKAGE_AUC = 0.995
#: More pairs of classes than these make cost more than they tell.
MOST_PAIRED_CLASSES = 8
_CHUNK = 2000


class Row(NamedTuple):
    """A labelled row. ``scores`` holds, by version, what was served and what was scored in shadow at request time."""

    id: str
    event_time_ms: int
    features: Features
    outcome: Outcome
    scores: Mapping[str, Score]


class Dataset(NamedTuple):
    """Rows in the order of their event time, and the SHA-256 of what was read."""

    rows: tuple[Row, ...]
    digest: str

    def split(self, comparison_share: float) -> tuple[tuple[Row, ...], tuple[Row, ...]]:
        """The earlier rows to fit on, and the later ``comparison_share`` of them to compare on."""
        cut = len(self.rows) - round(len(self.rows) * comparison_share)
        return self.rows[:cut], self.rows[cut:]


def read_dataset(log: Log, data: DataRange, decode: Callable[[bytes], Event]) -> Dataset:
    """The first-known outcome of every example in ``data``; revisions and records that do not decode are left out.

    Raises:
        OffsetOutOfRangeError: retention has passed the start of the range.
        LogUnavailableError: a retry may succeed.
    """
    digest = hashlib.sha256()
    keyed: list[tuple[int, int, int, Row]] = []
    for name in sorted(data.offsets, key=int):
        start, stop = data.offsets[name]
        partition = TopicPartition("examples", int(name))
        while start < stop:
            records = log.read(partition, start, stop, _CHUNK)
            if not records:
                break
            for record in records:
                digest.update(record.value)
                row = _row(record.value, decode)
                if row is not None:
                    keyed.append((row.event_time_ms, partition.partition, record.offset, row))
            start = records[-1].offset + 1
    keyed.sort(key=lambda item: item[:3])
    return Dataset(tuple(item[3] for item in keyed), digest.hexdigest())


def _row(value: bytes, decode: Callable[[bytes], Event]) -> Row | None:
    try:
        example = cast(Example, decode(value))
    except ContractError:
        # The learner has dead-lettered it as well: it was never part of the stream's truth.
        return None
    if example.revision:
        return None
    prediction = example.prediction
    scores = {**prediction.shadow, prediction.version: prediction.served}
    return Row(example.id, prediction.event_time_ms, prediction.features, example.value, scores)


def targets(pipeline: Pipeline, rows: Sequence[Row]) -> NDArray[np.float64]:
    """Class indices (classification) or values (regression) as numbers."""
    if pipeline.task == "regression":
        return np.array([float(row.outcome) for row in rows])
    index = {name: float(position) for position, name in enumerate(pipeline.classes)}
    return np.array([index[str(row.outcome)] for row in rows])


def problem_with(pipeline: Pipeline, dataset: Dataset, comparison_share: float) -> str | None:
    """Why no model can be fitted on ``dataset`` and compared on its later share, or None.

    Looks at, in this order: rows of another spec, volume, classes in either part, leakage of the label.
    """
    rows = dataset.rows
    stranger = next((row for row in rows if not fits(pipeline, row)), None)
    if stranger is not None:
        return f"example {stranger.id} was recorded under another spec: it lacks a feature or has an unknown class"
    if len(rows) < LEAST_ROWS:
        return f"too little data: {len(rows)} labelled rows, at least {LEAST_ROWS} are needed"
    for what, part in zip(("fit", "compare"), dataset.split(comparison_share), strict=True):
        wrong = _variety_problem(pipeline, part)
        if wrong:
            return f"the rows to {what} on {wrong}"
    leak = _leak(pipeline, rows)
    return f"leakage: {leak}" if leak else None


def fits(pipeline: Pipeline, row: Row) -> bool:
    """Whether ``row`` was recorded under this spec: all its features, and an outcome of its kind."""
    known = isinstance(row.outcome, float) if pipeline.task == "regression" else row.outcome in pipeline.classes
    return known and all(feature.name in row.features for feature in pipeline.features)


def _variety_problem(pipeline: Pipeline, rows: Sequence[Row]) -> str | None:
    if pipeline.task == "regression":
        constant = len({row.outcome for row in rows}) == 1
        return f"have one value of {pipeline.target} only" if constant else None
    counts = Counter(str(row.outcome) for row in rows)
    enough = [name for name, count in counts.items() if count >= LEAST_PER_CLASS]
    if len(enough) < 2:
        return (
            f"have one class only ({max(counts, key=lambda name: (counts[name], name))}: {max(counts.values())} rows)"
        )
    return None


def _leak(pipeline: Pipeline, rows: Sequence[Row]) -> str | None:
    wanted = targets(pipeline, rows)
    for feature in pipeline.features:
        if isinstance(feature, Date):
            continue
        values = [row.features[feature.name] for row in rows]
        missing = np.array([value is None for value in values], dtype=float)
        for what, column in (("the value", _column(values, wanted)), ("missingness", missing)):
            power = _power(pipeline, column, wanted)
            if power > LEAKAGE_AUC:
                return f"{what} of feature {feature.name} alone tells the target ({power:.4f} > {LEAKAGE_AUC})"
    return None


def _column(values: Sequence[object], wanted: NDArray[np.float64]) -> NDArray[np.float64]:
    if any(isinstance(value, str) for value in values):
        return _out_of_fold_means(values, wanted)
    return np.array([np.nan if value is None else float(cast(float, value)) for value in values])


def _out_of_fold_means(values: Sequence[object], wanted: NDArray[np.float64]) -> NDArray[np.float64]:
    """Per row, its category's mean target in the other half of the rows (its own would leak by itself)."""
    overall = float(wanted.mean())
    halves = [_means(values[half::2], wanted[half::2]) for half in (0, 1)]
    return np.array([halves[1 - index % 2].get(value, overall) for index, value in enumerate(values)])


def _means(values: Sequence[object], wanted: NDArray[np.float64]) -> dict[object, float]:
    sums: dict[object, list[float]] = {}
    for value, target in zip(values, wanted.tolist(), strict=True):
        sums.setdefault(value, []).append(target)
    return {value: sum(held) / len(held) for value, held in sums.items()}


def _power(pipeline: Pipeline, column: NDArray[np.float64], wanted: NDArray[np.float64]) -> float:
    """How well one column orders the target, in [0, 1].

    Regression: |Spearman's ρ|. Classes: the mean AUC over pairs of the most frequent ones (Hand and Till 2001).
    """
    known = ~np.isnan(column)
    if known.sum() < LEAST_ROWS // 2:
        return 0.0
    ranks, known_wanted = rankdata(column[known]), wanted[known]
    if pipeline.task == "regression":
        if np.ptp(ranks) == 0.0 or np.ptp(known_wanted) == 0.0:
            return 0.0
        return abs(float(np.corrcoef(ranks, rankdata(known_wanted))[0, 1]))
    names, counts = np.unique(known_wanted, return_counts=True)
    frequent = names[np.argsort(-counts, kind="stable")[:MOST_PAIRED_CLASSES]]
    powers = []
    for one, other in combinations(sorted(frequent.tolist()), 2):
        pair = (known_wanted == one) | (known_wanted == other)
        powers.append(_auc(rankdata(ranks[pair]), known_wanted[pair] == other))
    return float(np.mean(powers)) if powers else 0.0


def _auc(ranks: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    """Mann and Whitney's U as an area in [0.5, 1], whichever way the column points."""
    ones = int(positive.sum())
    zeros = len(positive) - ones
    if min(ones, zeros) < LEAST_PER_CLASS:
        return 0.5
    area = (float(ranks[positive].sum()) - ones * (ones + 1) / 2) / (ones * zeros)
    return max(area, 1.0 - area)
