"""Where a stage's outputs go: topic and partition by the topology, key and value as bytes."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.events import encode
from penstock.log.port import Message
from penstock.runtime.stage import Output
from penstock.topology import TOPICS, StageEntry


class Router:
    """Encodes a stage's outputs.

    Topics with as many partitions as the pipeline get an output in the partition number of the stage's input, so
    that what belongs to one entity stays together; topics with one partition in partition 0.
    """

    def __init__(self, entry: StageEntry) -> None:
        self._stage = entry.name
        self._follows_input = {topic: TOPICS[topic].partitions is None for topic in entry.writes}

    def messages(self, outputs: Sequence[Output], partition: int) -> list[Message]:
        """``outputs`` of the stage of ``partition``, ready to be appended.

        Raises:
            KeyError: an output names a topic that the topology does not let this stage write.
        """
        follows = self._follows_input
        new_tuple = tuple.__new__  # half the price of calling a named tuple's class, once per output
        return [
            new_tuple(Message, (topic, key.encode(), encode(event), partition if follows[topic] else 0, ()))
            for topic, key, event in outputs
        ]
