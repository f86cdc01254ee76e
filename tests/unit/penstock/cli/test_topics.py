from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest

from penstock.cli.main import main
from penstock.log import kafka_topics
from penstock.log.kafka_options import KafkaOptions
from penstock.log.port import TopicConfig
from penstock.topology import TOPICS
from tests.broker.java import free_port
from tests.broker.shared import Kafka

PIPELINE = """
import dataclasses
from pipelines import credit
pipeline = dataclasses.replace(credit.PIPELINE, name={name!r}, partitions={partitions})
"""


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stopped:
        main(["topics", "create", *arguments])
    captured = capsys.readouterr()
    assert isinstance(stopped.value.code, int)
    return stopped.value.code, captured.out, captured.err


def pipeline_file(folder: Path, name: str, partitions: int = 2) -> str:
    path = folder / f"{name}_{partitions}.py"
    path.write_text(PIPELINE.format(name=name, partitions=partitions))
    return str(path)


@pytest.fixture
def here(tmp_path: Path) -> list[str]:
    return ["--data-dir", str(tmp_path / "data"), "--pipeline", pipeline_file(tmp_path, "pipe")]


def test_creates_them_once(here: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, *here, "--json")
    assert (code, err) == (0, "")
    assert json.loads(out) == {"pipeline": "pipe", "created": list(TOPICS), "there": []}
    code, out, _ = run(capsys, *here)
    assert code == 0
    assert "there    requests  2 partitions" in out
    assert "created" not in out


def test_check_creates_nothing(here: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        code, out, err = run(capsys, *here, "--check")
        assert (code, out, err.count("\n")) == (3, "", 1)
        assert "create them with `penstock topics create`" in err
    assert run(capsys, *here)[0] == 0
    assert run(capsys, *here, "--check")[0] == 0


def test_another_partition_count_is_refused(
    here: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run(capsys, *here)[0] == 0
    other = [*here[:3], pipeline_file(tmp_path, "pipe", 3)]
    for more in ([], ["--check"]):
        code, _, err = run(capsys, *other, *more)
        assert (code, err.count("\n")) == (3, 1)
        assert "2 partitions, not 3" in err


def test_on_kafka(kafka: Kafka, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    name = f"t{uuid.uuid4().hex[:8]}"
    there = ["--log", f"kafka://{kafka.bootstrap}", "--pipeline", pipeline_file(tmp_path, name)]
    assert run(capsys, *there, "--check")[0] == 3
    options = KafkaOptions(bootstrap=kafka.bootstrap, pipeline=name)
    kafka_topics.ensure_topics(options, [TopicConfig("requests", 2)])
    code, out, _ = run(capsys, *there, "--json")
    assert code == 0
    assert json.loads(out)["there"] == ["requests"]
    assert run(capsys, *there, "--check")[0] == 0
    code, _, err = run(capsys, *there[:3], pipeline_file(tmp_path, name, 3))
    assert (code, err.count("\n")) == (3, 1)
    assert f"{name}.requests.v1 has 2 partitions, not 3" in err


def test_a_broker_that_is_away_is_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    port = free_port()
    code, _, err = run(capsys, "--log", f"kafka://localhost:{port}", "--pipeline", pipeline_file(tmp_path, "pipe"))
    assert (code, err.count("\n")) == (3, 1)
    assert f"localhost:{port}" in err
