"""The checker is checked: a sound record passes, and each planted fault is found and named."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from penstock.cli.compose import make_loop
from penstock.cli.context import Context
from penstock.cli.installation import installation
from penstock.runtime.loop import LoopOptions
from penstock.runtime.worker import run_loops
from penstock.settings import Settings
from penstock.spec import Pipeline, load_pipeline
from tests.chaos.checker import faultless, verdict
from tests.chaos.logs import Embedded
from tests.chaos.scene import write_pipeline
from tests.chaos.workload import Sent, large_poison, workload
from tests.system.folding import newest_checkpoint
from tests.system.log_reader import Recorded

STAGES = ("scorer", "monitor", "joiner", "learner", "incidents")
PARTITIONS = 2


class Play(NamedTuple):
    """What a small run left."""

    recorded: Recorded
    sent: list[Sent]
    pipeline: Pipeline
    data: Path

    def verdict(self, recorded: Recorded | None = None):
        return verdict(recorded or self.recorded, self.sent, self.pipeline, self.data)


@pytest.fixture(scope="module")
def play(tmp_path_factory) -> Play:
    """All stages but the retrainer, in this process, until everything is worked off."""
    folder = tmp_path_factory.mktemp("play")
    pipeline = load_pipeline(write_pipeline(folder, "small", PARTITIONS))
    log = Embedded(folder / "data", pipeline.name, PARTITIONS)
    log.start()
    sent = [*workload(5, 400), large_poison(5)]
    log.send(sent)
    context = Context(Settings(data_dir=folder / "data", _env_file=None), None, as_json=False)
    quiet = iter([False] * 60 + [True])
    with installation(context, pipeline) as system:
        loops = [make_loop(stage, system, f"{stage}-0", LoopOptions()) for stage in STAGES]
        run_loops(loops, lambda: next(quiet))
    recorded = log.everything()
    log.end()
    return Play(recorded, sent, pipeline, folder / "data")


def changed(play: Play, topic: str, partition: int = 0) -> tuple[Recorded, list]:
    """A copy of the record, and the list in it that is to be changed."""
    recorded = copy.deepcopy(play.recorded)
    return recorded, recorded[topic][partition]


def test_a_sound_record_passes_and_was_worth_checking(play):
    found = play.verdict()
    assert found["differences"] == []
    assert faultless(found)
    examples = [json.loads(one.value) for part in play.recorded["examples"].values() for one in part]
    assert any(one.get("revision") for one in examples)
    assert found["dead_letters"] > 2
    assert found["examples"] > 300
    assert len(play.recorded["evidence"][0]) > 4
    ids = {json.loads(one.value)["id"] for one in play.recorded["labels"][0] if one.value.startswith(b'{"id": "5-')}
    assert ids - {one["id"] for one in examples}, "late and early labels are refused"
    repeated = [json.loads(one.value)["id"] for one in play.recorded["predictions"][0]]
    assert len(repeated) > len(set(repeated))


@pytest.mark.parametrize("topic", ["requests", "labels"])
def test_a_lost_acknowledged_record_is_found(play, topic):
    recorded, records = changed(play, topic)
    del records[7]
    found = play.verdict(recorded)
    assert found["missing"] > 0
    assert not faultless(found)


def test_a_missing_prediction_is_found(play):
    recorded, records = changed(play, "predictions", 1)
    lost = json.loads(records.pop(20).value)["id"]
    found = play.verdict(recorded)
    assert found["missing"] >= 1
    assert any("predictions/1" in text and lost in text for text in found["differences"])


def test_a_doubled_prediction_and_a_changed_order_are_found(play):
    recorded, records = changed(play, "predictions")
    records.append(records[3]._replace(offset=records[-1].offset + 1))
    assert play.verdict(recorded)["duplicates"] >= 1
    recorded, records = changed(play, "predictions")
    records[3], records[9] = records[9], records[3]
    assert play.verdict(recorded)["wrong"] >= 1


def test_a_doubled_and_a_lost_example_are_found(play):
    recorded, records = changed(play, "examples")
    records.append(records[-1]._replace(offset=records[-1].offset + 1))
    assert play.verdict(recorded)["duplicates"] == 1
    recorded, records = changed(play, "examples")
    del records[0]
    assert play.verdict(recorded)["missing"] >= 1


def test_an_example_with_another_prediction_is_found(play):
    recorded, records = changed(play, "examples")
    value = json.loads(records[2].value)
    value["prediction"]["score"] = 0.123
    records[2] = records[2]._replace(value=json.dumps(value).encode())
    assert play.verdict(recorded)["wrong"] == 1


@pytest.mark.parametrize("topic", ["evidence", "metrics"])
def test_a_changed_or_doubled_record_of_a_fold_is_found(play, topic):
    recorded, records = changed(play, topic)
    place = next(n for n, one in enumerate(records) if b'"stage":"learner"' in one.value)
    records[place] = records[place]._replace(value=records[place].value.replace(b'"seen":', b'"seen":1'))
    found = play.verdict(recorded)
    assert not found["bit_identical"]
    assert any("learner/" in text and topic in text for text in found["differences"])
    recorded, records = changed(play, topic)
    records.append(records[0])
    assert play.verdict(recorded)["duplicates"] == 1


def test_an_example_that_was_learned_twice_is_found(play):
    """The learner of a shorter partition has learned more than the log says."""
    recorded, records = changed(play, "examples")
    last = max(n for n, one in enumerate(records) if b'"revision"' not in one.value)
    del records[last]
    found = play.verdict(recorded)
    assert found["double_learned"] == 1
    assert not found["bit_identical"]


def test_a_lost_and_a_doubled_dead_letter_are_found(play):
    recorded, records = changed(play, "dead-letters")
    del records[0]
    assert play.verdict(recorded)["missing"] == 1
    recorded, records = changed(play, "dead-letters")
    records.append(records[0])
    assert play.verdict(recorded)["duplicates"] == 1


def test_a_damaged_last_checkpoint_is_found(play, tmp_path):
    shutil.copytree(play.data, tmp_path / "data")
    other = play._replace(data=tmp_path / "data")
    assert newest_checkpoint(play.pipeline, other.data, "learner", 0) is not None
    for path in (other.data / "small" / "checkpoints" / "learner" / "0").iterdir():
        path.write_bytes(path.read_bytes()[:-1])
    found = other.verdict()
    assert not found["bit_identical"]
    assert "learner/0: it left no checkpoint" in found["differences"]
