"""The join of predictions and labels: a predicate of two records and their own partitions.

Each record keeps the *watermark* of its own partition when it was appended: the greatest event time before it, event
times clamped to append times. A prediction p and a label l of the same id form a pair iff ::

    l.watermark <= p.time + horizon      (else the label is *late*)
    p.watermark <= l.time + early bound  (else it came too long before its prediction)

None stands for an unlimited bound. Of the predictions of an id only the first by offset counts, of the labels too;
later predictions are *repeats*, later labels *revisions*. "First" looks at the record's own partition only: an id is
remembered until its partition's watermark passes its time + horizon + early bound (both limited), else for ever; used
again after that, it is a new id. Where such re-use leaves a choice, each record pairs with the other side's earliest.
So the pairs, and the number of every revision, are the same however the two partitions are interleaved.

Eviction drops only what the rule can no longer match.
"""

from __future__ import annotations

from collections import Counter
from heapq import heappop, heappush

import msgspec

from penstock.events import Example, Label, Outcome, Prediction

#: Before the first record of a partition nothing is late.
_BEGINNING = -(2**62)


class _Waiting(msgspec.Struct, array_like=True):
    """A prediction without a label yet, and the watermark of its partition when it was appended."""

    prediction: Prediction
    watermark: int


class _Settled(msgspec.Struct, array_like=True, gc=False):
    """What is kept of a joined id: enough to say what a revision revises, and no features.

    ``labels`` is how many labels came.
    """

    entity: str
    event_time_ms: int
    version: str
    generation: int
    decision: Outcome
    labels: int


class _Labelled(msgspec.Struct, array_like=True):
    """The labels of one id since its first: those that wait for a prediction, or what they were joined with.

    ``values`` are (value, time) in offset order, while the labels wait.
    """

    event_time_ms: int
    watermark: int
    values: list[tuple[Outcome, int]]
    settled: _Settled | None = None
    late: bool = False


class _State(msgspec.Struct, array_like=True):
    """Everything that later outputs depend on. The heaps are rebuilt from it."""

    prediction_watermark: int
    label_watermark: int
    predicted: dict[str, int]
    waiting: dict[str, list[_Waiting]]
    labelled: dict[str, list[_Labelled]]
    joined: dict[str, _Settled]
    counts: dict[str, int]


class Join:
    """The fold that pairs the predictions and labels of one partition.

    Args:
        horizon_ms: how long after a prediction its label may come, in event time. None: for ever.
        early_bound_ms: how long before its prediction a label may come. None: for ever.

    ``counts`` grows by what happened: ``joined``, ``early`` (joined, the label was there first), ``late``,
    ``revisions``, ``repeated_predictions``, ``unlabelled`` (evicted without a label), ``orphans`` (labels evicted
    without a prediction).
    """

    def __init__(self, horizon_ms: int | None, early_bound_ms: int | None) -> None:
        self._horizon_ms = horizon_ms
        self._early_bound_ms = early_bound_ms
        self._memory_ms = None if horizon_ms is None or early_bound_ms is None else horizon_ms + early_bound_ms
        self._prediction_watermark = _BEGINNING
        self._label_watermark = _BEGINNING
        self._predicted: dict[str, int] = {}
        self._waiting: dict[str, list[_Waiting]] = {}
        self._labelled: dict[str, list[_Labelled]] = {}
        self._joined: dict[str, _Settled] = {}  # only where ids are remembered for ever: the smallest record of one
        self._predicted_heap: list[tuple[int, str]] = []
        self._waiting_heap: list[tuple[int, str]] = []
        self._lone_heap: list[tuple[int, str]] = []
        self._labelled_heap: list[tuple[int, str]] = []
        self.counts: Counter[str] = Counter()

    def add_prediction(self, prediction: Prediction, appended_ms: int) -> list[Example]:
        """Take the next prediction of its partition; the examples that it completes (a pair, then its revisions)."""
        time = prediction.event_time_ms
        watermark = self._prediction_watermark
        self._prediction_watermark = max(watermark, min(time, appended_ms))
        examples: list[Example] = []
        if prediction.id in self._predicted or prediction.id in self._joined:
            self.counts["repeated_predictions"] += 1
        else:
            self._predicted[prediction.id] = time
            if self._memory_ms is not None:
                heappush(self._predicted_heap, (time, prediction.id))
            examples = self._meet_label(_Waiting(prediction, watermark))
        self._evict()
        return examples

    def add_label(self, label: Label, appended_ms: int) -> list[Example]:
        """Take the next label of its partition; the example that it completes or revises, if any."""
        time = appended_ms if label.event_time_ms is None else label.event_time_ms
        value = label.value if isinstance(label.value, str) else float(label.value)
        watermark = self._label_watermark
        self._label_watermark = max(watermark, min(time, appended_ms))
        records = self._labelled.get(label.id, [])
        examples: list[Example] = []
        if label.id in self._joined:
            examples = [self._revise(label.id, self._joined[label.id], value, time)]
        elif records and self._remembers(records[-1], watermark):
            settled = records[-1].settled
            if settled is not None:
                examples = [self._revise(label.id, settled, value, time)]
            elif records[-1].values:
                records[-1].values.append((value, time))
        else:
            record = _Labelled(time, watermark, [(value, time)])
            self._labelled[label.id] = [*records, record]
            self._schedule_label(label.id, record)
            examples = self._meet_prediction(label.id, record)
        self._evict()
        return examples

    def _remembers(self, record: _Labelled, watermark: int) -> bool:
        return self._memory_ms is None or watermark <= record.event_time_ms + self._memory_ms

    def _pairs(self, waiting: _Waiting, record: _Labelled) -> bool:
        return self._in_time(waiting.prediction.event_time_ms, record) and (
            self._early_bound_ms is None or waiting.watermark <= record.event_time_ms + self._early_bound_ms
        )

    def _in_time(self, prediction_time: int, record: _Labelled) -> bool:
        return self._horizon_ms is None or record.watermark <= prediction_time + self._horizon_ms

    def _meet_label(self, waiting: _Waiting) -> list[Example]:
        prediction = waiting.prediction
        for record in self._labelled.get(prediction.id, ()):
            if not record.values:
                continue
            if self._pairs(waiting, record):
                self.counts["early"] += 1
                return self._settle(prediction, record)
            self._note_late(prediction.event_time_ms, record)
        self._waiting.setdefault(prediction.id, []).append(waiting)
        if self._horizon_ms is not None:
            heappush(self._waiting_heap, (prediction.event_time_ms, prediction.id))
        return []

    def _meet_prediction(self, id_: str, record: _Labelled) -> list[Example]:
        queue = self._waiting.get(id_, [])
        for index, waiting in enumerate(queue):
            if self._pairs(waiting, record):
                del queue[index]
                if not queue:
                    del self._waiting[id_]
                return self._settle(waiting.prediction, record)
        if id_ in self._predicted:
            self._note_late(self._predicted[id_], record)
        return []

    def _note_late(self, prediction_time: int, record: _Labelled) -> None:
        if not record.late and not self._in_time(prediction_time, record):
            record.late = True
            self.counts["late"] += 1

    def _settle(self, prediction: Prediction, record: _Labelled) -> list[Example]:
        (value, time), *later = record.values
        settled = _Settled(
            prediction.entity,
            prediction.event_time_ms,
            prediction.version,
            prediction.generation,
            prediction.decision,
            labels=1,
        )
        record.settled, record.values = settled, []
        if self._memory_ms is None:
            self._joined[prediction.id] = settled
            del self._labelled[prediction.id], self._predicted[prediction.id]
        self.counts["joined"] += 1
        first = Example(id=prediction.id, prediction=prediction, value=value, label_time_ms=time)
        return [first, *(self._revise(prediction.id, settled, *revision) for revision in later)]

    def _revise(self, id_: str, settled: _Settled, value: Outcome, time: int) -> Example:
        number = settled.labels
        settled.labels += 1
        self.counts["revisions"] += 1
        prediction = Prediction(
            id=id_,
            entity=settled.entity,
            event_time_ms=settled.event_time_ms,
            features={},
            version=settled.version,
            generation=settled.generation,
            decision=settled.decision,
        )
        return Example(id=id_, prediction=prediction, value=value, label_time_ms=time, revision=number)

    def _schedule_label(self, id_: str, record: _Labelled) -> None:
        if self._early_bound_ms is not None:
            heappush(self._lone_heap, (record.event_time_ms, id_))
        if self._memory_ms is not None:
            heappush(self._labelled_heap, (record.event_time_ms, id_))

    def _evict(self) -> None:
        if self._horizon_ms is not None:
            passed = self._label_watermark - self._horizon_ms
            while self._waiting_heap and self._waiting_heap[0][0] < passed:
                self._drop_waiting(heappop(self._waiting_heap)[1], passed)
        if self._early_bound_ms is not None:
            passed = self._prediction_watermark - self._early_bound_ms
            while self._lone_heap and self._lone_heap[0][0] < passed:
                self._drop_lone(heappop(self._lone_heap)[1], passed)
        if self._memory_ms is not None:
            passed = self._prediction_watermark - self._memory_ms
            while self._predicted_heap and self._predicted_heap[0][0] < passed:
                time, id_ = heappop(self._predicted_heap)
                if self._predicted.get(id_) == time:
                    del self._predicted[id_]
            passed = self._label_watermark - self._memory_ms
            while self._labelled_heap and self._labelled_heap[0][0] < passed:
                self._forget_labels(heappop(self._labelled_heap)[1])

    def _drop_waiting(self, id_: str, passed: int) -> None:
        """No label that is still to come can be in time for a prediction made before ``passed``."""
        queue = self._waiting.get(id_, [])
        kept = [waiting for waiting in queue if waiting.prediction.event_time_ms >= passed]
        self.counts["unlabelled"] += len(queue) - len(kept)
        if kept:
            self._waiting[id_] = kept
        else:
            self._waiting.pop(id_, None)

    def _drop_lone(self, id_: str, passed: int) -> None:
        """No prediction that is still to come can match a label from before ``passed``: its value is not needed."""
        for record in self._labelled.get(id_, ()):
            if record.values and record.event_time_ms < passed:
                record.values = []
                self.counts["orphans"] += not record.late
        self._forget_labels(id_)

    def _forget_labels(self, id_: str) -> None:
        """Drop the id's labels that neither a prediction can match nor a later label can revise."""
        records = self._labelled.get(id_)
        if records is None:
            return
        kept = [record for record in records if self._needed(record)]
        if kept:
            self._labelled[id_] = kept
        else:
            del self._labelled[id_]

    def _needed(self, record: _Labelled) -> bool:
        return bool(record.values) or self._remembers(record, self._label_watermark)

    def state(self) -> bytes:
        """All state as MessagePack."""
        return msgspec.msgpack.encode(
            _State(
                self._prediction_watermark,
                self._label_watermark,
                self._predicted,
                self._waiting,
                self._labelled,
                self._joined,
                dict(self.counts),
            )
        )

    def restore(self, state: bytes) -> None:
        """Replace the state by what `state` returned.

        Raises:
            msgspec.DecodeError: the bytes are not such a state.
        """
        held = msgspec.msgpack.decode(state, type=_State)
        self._prediction_watermark, self._label_watermark = held.prediction_watermark, held.label_watermark
        self._predicted, self._waiting, self._labelled = held.predicted, held.waiting, held.labelled
        self._joined, self.counts = held.joined, Counter(held.counts)
        if self._horizon_ms is not None:
            for id_, queue in held.waiting.items():
                for waiting in queue:
                    heappush(self._waiting_heap, (waiting.prediction.event_time_ms, id_))
        if self._memory_ms is not None:
            for id_, time in held.predicted.items():
                heappush(self._predicted_heap, (time, id_))
        for id_, records in held.labelled.items():
            for record in records:
                self._schedule_label(id_, record)
