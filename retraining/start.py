"""How a retrainer starts: the fold of all decisions, then the metrics that its group has consumed already."""

from __future__ import annotations

from typing import cast

from penstock.contract import decoder_for
from penstock.errors import ContractError
from penstock.events import Decision, Metrics
from penstock.log.port import Log, TopicPartition
from penstock.spec import Pipeline
from retraining.service import Retrainer

#: Newest metrics records that are looked through for the points of the stream.
METRICS_BACK = 20_000
_CHUNK = 1000


def started_retrainer(pipeline: Pipeline, log: Log, group: str) -> Retrainer:
    """A retrainer that is where ``group`` was. Call it once the partition is owned, so that nobody else decides.

    1. Fold ``decisions`` to the end. 2. Observe the newest metrics before the group's committed offset.

    Raises:
        BrokenChainError: the chain of decisions was tampered with.
        LogUnavailableError: a retry may succeed.
    """
    retrainer = Retrainer(pipeline)
    decisions, metrics = TopicPartition("decisions", 0), TopicPartition("metrics", 0)
    bounds, decode_decision = log.bounds(decisions), decoder_for("decisions", pipeline)
    for value in _values(log, decisions, bounds.first, bounds.end):
        retrainer.fold(cast(Decision, decode_decision(value)))
    committed = log.committed(group, metrics)
    if committed is not None:
        decode = decoder_for("metrics", pipeline)
        first = max(log.bounds(metrics).first, committed - METRICS_BACK)
        for value in _values(log, metrics, first, committed):
            try:
                retrainer.observe(cast(Metrics, decode(value)))
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
