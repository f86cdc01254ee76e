"""How a retrainer starts: the fold of all decisions, then the metrics and drift that its group has consumed already."""

from __future__ import annotations

from typing import cast

from penstock.contract import decoder_for
from penstock.errors import ContractError
from penstock.events import Decision, Drift, Metrics
from penstock.log.port import Log, TopicPartition
from penstock.spec import Pipeline
from retraining.service import Retrainer

#: Newest records that are looked through: of metrics for the points of the stream, of drift for warnings.
RECORDS_BACK = 20_000
_CHUNK = 1000


def started_retrainer(pipeline: Pipeline, log: Log, group: str) -> Retrainer:
    """A retrainer that is where ``group`` was. Call it once the partition is owned, so that nobody else decides.

    1. Fold ``decisions`` to the end. 2. Observe the newest drift and metrics before the group's committed offsets.

    Raises:
        BrokenChainError: the chain of decisions was tampered with.
        LogUnavailableError: a retry may succeed.
    """
    retrainer = Retrainer(pipeline)
    decisions = TopicPartition("decisions", 0)
    bounds, decode_decision = log.bounds(decisions), decoder_for("decisions", pipeline)
    for value in _values(log, decisions, bounds.first, bounds.end):
        retrainer.fold(cast(Decision, decode_decision(value)))
    for topic in ("drift", "metrics"):
        partition, decode = TopicPartition(topic, 0), decoder_for(topic, pipeline)
        committed = log.committed(group, partition) or 0
        first = max(log.bounds(partition).first, committed - RECORDS_BACK)
        for value in _values(log, partition, first, committed):
            try:
                retrainer.observe(cast(Metrics | Drift, decode(value)))
            except ContractError:
                # The runtime dead-lettered it when it was consumed.
                continue
    return retrainer


def _values(log: Log, partition: TopicPartition, start: int, stop: int) -> list[bytes]:
    values: list[bytes] = []
    while start < stop:
        records = log.read(partition, start, stop, _CHUNK)
        if not records:
            break
        values.extend(record.value for record in records)
        start = records[-1].offset + 1
    return values
