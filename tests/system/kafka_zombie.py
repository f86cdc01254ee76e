"""A member of a group in a process of its own, to be stopped and woken by a test: ``bootstrap pipeline group member``.

It writes ``owns N`` when it owns partition N, and after a line on its input commits there and writes how that ended.
"""

from __future__ import annotations

import sys

from penstock.errors import PenstockError
from penstock.log.kafka_options import KafkaOptions
from penstock.log.librdkafka import LibrdkafkaLog
from penstock.log.port import Message, TopicPartition


def main() -> None:
    bootstrap, pipeline, group, member = sys.argv[1:]
    options = KafkaOptions(bootstrap=bootstrap, pipeline=pipeline, session_timeout_ms=2_000, heartbeat_interval_ms=200)
    membership = LibrdkafkaLog(options).join(group, ["one"], member, list, list)
    records = membership.poll(10, 20.0)
    print("owns", records[0].partition, flush=True)
    sys.stdin.readline()
    try:
        membership.commit([Message("out", None, b"zombie", 0)], {TopicPartition("one", 0): records[-1].offset + 1})
        print("committed", flush=True)
    except PenstockError as error:
        print(type(error).__name__, flush=True)


main()
