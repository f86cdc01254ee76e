from __future__ import annotations

from pathlib import Path

import pytest

from penstock.clock import VirtualClock
from penstock.errors import UsageError
from penstock.log.open import open_log, topic_configs
from penstock.log.port import Message, TopicConfig
from penstock.topology import TOPICS


def test_embedded_is_a_file_in_the_data_directory(tmp_path: Path) -> None:
    open_log("embedded", tmp_path / "data", "pipe", VirtualClock()).close()
    assert (tmp_path / "data" / "log.db").is_file()


def test_embedded_with_a_path(tmp_path: Path) -> None:
    url = f"embedded://{tmp_path}/my%20logs/events.db"
    log = open_log(url, tmp_path / "unused", "pipe", VirtualClock())
    log.ensure_topics([TopicConfig("t", 1)])
    log.append([Message("t", None, b"x")])
    log.close()
    assert (tmp_path / "my logs" / "events.db").is_file()
    assert not (tmp_path / "unused").exists()


@pytest.mark.parametrize("url", ["", "kafka//host:1", "embedded://", "embedded:///", "embedded://host/x.db", "x.db"])
def test_anything_else_is_refused_by_name(url: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="embedded:///path") as caught:
        open_log(url, tmp_path, "pipe", VirtualClock())
    assert repr(url) in str(caught.value)


def test_topics_follow_the_topology() -> None:
    configs = {config.name: config for config in topic_configs(4)}
    assert configs.keys() == TOPICS.keys()
    assert configs["requests"] == TopicConfig("requests", 4, TOPICS["requests"].retention_ms, False)
    assert configs["models"] == TopicConfig("models", 1, None, True)
    assert configs["decisions"].retention_ms is None


def test_a_kafka_url_opens_without_waiting_for_the_cluster(tmp_path: Path) -> None:
    log = open_log("kafka://localhost:1", tmp_path, "pipe", VirtualClock())
    log.close()
    assert list(tmp_path.iterdir()) == []
