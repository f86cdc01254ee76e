"""A loop polls on while its commit is under way in another thread: neither disturbs the other."""

from __future__ import annotations

import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from penstock.log.kafka import KafkaPythonLog
from penstock.log.kafka_options import KafkaOptions
from penstock.log.librdkafka import LibrdkafkaLog
from penstock.log.port import Message, TopicConfig, TopicPartition

COMMITS = 50


@pytest.mark.parametrize("make", [LibrdkafkaLog, KafkaPythonLog])
def test_every_commit_succeeds_and_is_written_once(kafka, make):
    pipeline = f"polling-{uuid.uuid4().hex[:8]}"
    place = TopicPartition("in", 0)
    with closing(make(KafkaOptions(bootstrap=kafka.bootstrap, pipeline=pipeline))) as log:
        log.ensure_topics([TopicConfig("in", 1), TopicConfig("out", 1)])
        log.append([Message("in", b"k", b"%d" % n, 0) for n in range(COMMITS)])
        membership = log.join(f"{pipeline}.copy", ["in"], "m", lambda _: None, lambda _: None)
        deadline = time.monotonic() + 60
        while not (records := membership.poll(COMMITS, 0.1)):
            assert time.monotonic() < deadline, "nothing came"
        assert len(records) > 0
        with ThreadPoolExecutor(1) as thread:
            for n in range(COMMITS):
                commit = thread.submit(membership.commit, [Message("out", b"k", b"%d" % n, 0)], {place: n + 1})
                while not commit.done():
                    membership.poll(1, 0.0)
                commit.result()
        membership.close()
        end = log.bounds(TopicPartition("out", 0)).end
        values = [record.value for record in log.read(TopicPartition("out", 0), 0, end, 2 * COMMITS)]
        assert values == [b"%d" % n for n in range(COMMITS)]
