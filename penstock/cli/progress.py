"""How far the stages are behind the log, whether a fit is under way, and what was decided."""

from __future__ import annotations

from penstock.contract import decoder_for
from penstock.events import Decision, Drift
from penstock.log.port import Log, TopicPartition
from penstock.runtime.loop import group_name
from penstock.spec import Pipeline
from penstock.topology import STAGES

#: What ends a fit. Other decisions may name its run as well: a trigger that does not start one, for instance.
_ENDS = ("trained", "failed", "cancelled")


class Progress:
    """Reads committed offsets and the ``decisions`` and ``drift`` topics of one pipeline."""

    def __init__(self, log: Log, pipeline: Pipeline) -> None:
        self._log = log
        self._pipeline = pipeline
        self._pairs = [
            (group_name(pipeline.name, stage.name), TopicPartition(topic, partition))
            for stage in STAGES.values()
            for topic in stage.reads
            for partition in range(log.partitions(topic))
        ]
        self._tail = log.tail(["decisions", "drift"], from_start=True)
        self._decoders = {topic: decoder_for(topic, pipeline) for topic in ("decisions", "drift")}
        self._fitting: set[str] = set()
        self._news: list[Decision | Drift] = []

    def lag(self) -> int:
        """Records that some stage has not committed yet, summed over the stages."""
        return sum(
            self._log.bounds(where).end - (self._log.committed(group, where) or 0) for group, where in self._pairs
        )

    def fitting(self) -> bool:
        """Whether a run has its data and no outcome yet: then the producer holds, so that a fit never races it."""
        for record in sorted(self._tail.poll(1000, 0.0), key=lambda record: record.timestamp_ms):
            event = self._decoders[record.topic](record.value)
            if isinstance(event, Decision | Drift):
                self._news.append(event)
            if isinstance(event, Decision):
                if event.step == "collected":
                    self._fitting.add(event.run_id)
                elif event.step in _ENDS:
                    self._fitting.discard(event.run_id)
        return bool(self._fitting)

    def news(self) -> list[Decision | Drift]:
        """What was decided since the last call."""
        self.fitting()
        news, self._news = self._news, []
        return news
