"""Requests at a steady rate, whoever answers them, and how long each answer took."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

from confluent_kafka import OFFSET_END, Consumer, Producer, TopicPartition

#: How long the last answers are waited for.
GRACE_S = 5.0


class Asker:
    """Appends to topic ``ask`` and reads committed answers, by the same key, from topic ``answers``."""

    def __init__(self, bootstrap: str, ask: str, answers: str) -> None:
        self._ask = ask
        self._producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 0, "acks": "all"})
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": f"asker of {answers}",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
            }
        )
        self._consumer.assign([TopicPartition(answers, 0, OFFSET_END)])
        self._consumer.poll(2.0)  # finds where the end is, before anything is asked

    def latencies(self, records: Sequence[tuple[bytes, bytes]], per_second: float) -> list[float]:
        """Send (key, value) ``records`` on schedule; seconds from each one's scheduled moment to its answer.

        Late sends count as latency. Raises ``RuntimeError`` where answers are missing.
        """
        arrived: dict[bytes, float] = {}
        thread = threading.Thread(target=self._collect, args=(arrived, len(records)), daemon=True)
        thread.start()
        began = time.perf_counter() + 0.05
        due = [began + index / per_second for index in range(len(records))]
        for moment, (key, value) in zip(due, records, strict=True):
            while (wait := moment - time.perf_counter()) > 0:
                time.sleep(wait)
            self._producer.produce(self._ask, value, key, 0)
            self._producer.poll(0)
        self._producer.flush(GRACE_S)
        thread.join(2 * GRACE_S)
        missing = [key for key, _ in records if key not in arrived]
        if missing:
            raise RuntimeError(f"{len(missing)} of {len(records)} requests were not answered, first {missing[0]!r}")
        return [arrived[key] - moment for moment, (key, _) in zip(due, records, strict=True)]

    def close(self) -> None:
        """Leave."""
        self._consumer.close()

    def _collect(self, arrived: dict[bytes, float], count: int) -> None:
        silent_until = time.perf_counter() + 60.0
        while len(arrived) < count and time.perf_counter() < silent_until:
            message: Any = self._consumer.poll(0.5)
            if message is not None and message.error() is None:
                arrived[message.key()] = time.perf_counter()
