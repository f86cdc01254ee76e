"""The join rule, written down once more from its definition (see ``docs/architecture.md``), apart from the product.

It looks at the records of one partition as they lie in the log; how a joiner met them plays no part.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from tests.system.log_reader import Stored

BEFORE_ALL = -(2**62)


class Pair(NamedTuple):
    """What an example says: whose it is, the label's value and time, and which revision it is (0: the first label)."""

    id: str
    value: str
    label_time_ms: int
    revision: int


class _Marked(NamedTuple):
    """A record with its time and the watermark of its partition before it."""

    event: dict[str, Any]
    time_ms: int
    watermark_ms: int


def joined(
    predictions: Sequence[Stored], labels: Sequence[Stored], horizon_ms: int | None, early_bound_ms: int | None
) -> Counter[Pair]:
    """The examples that one partition's predictions and (valid) labels imply.

    Ids must not be used again after the horizon: the rule then is the first prediction and the first label of an id.
    """
    first_predictions = {}
    for marked in _marked(predictions):
        first_predictions.setdefault(marked.event["id"], marked)
    by_id = defaultdict(list)
    for marked in _marked(labels):
        by_id[marked.event["id"]].append(marked)
    found: Counter[Pair] = Counter()
    for id_, marks in by_id.items():
        prediction = first_predictions.get(id_)
        if prediction is not None and _pair(prediction, marks[0], horizon_ms, early_bound_ms):
            found.update(Pair(id_, label.event["value"], label.time_ms, number) for number, label in enumerate(marks))
    return found


def _pair(prediction: _Marked, label: _Marked, horizon_ms: int | None, early_bound_ms: int | None) -> bool:
    late = horizon_ms is not None and label.watermark_ms > prediction.time_ms + horizon_ms
    early = early_bound_ms is not None and prediction.watermark_ms > label.time_ms + early_bound_ms
    return not late and not early


def _marked(records: Sequence[Stored]) -> Iterable[_Marked]:
    watermark = BEFORE_ALL
    for record in records:
        event = json.loads(record.value)
        time_ms = event.get("event_time_ms", record.timestamp_ms)
        yield _Marked(event, time_ms, watermark)
        watermark = max(watermark, min(time_ms, record.timestamp_ms))
