"""An online model is what the log says it is: made again from the log, it gives the very same scores."""

import json
import random
import sqlite3

import pytest

from penstock.cli.compose import make_loop
from penstock.cli.context import Context
from penstock.cli.installation import installation
from penstock.cli.main import main
from penstock.clock import SystemClock
from penstock.events import Alert, Example, Prediction, encode
from penstock.log.embedded import EmbeddedLog
from penstock.log.port import Message, TopicPartition
from penstock.runtime.loop import LoopOptions
from penstock.settings import Settings
from penstock.spec import load_pipeline

pytestmark = pytest.mark.system

SPEC = """
from penstock.spec import Categorical, DriftPolicy, Numeric, Pipeline

PIPELINE = Pipeline(
    name="toy", task="binary", target="y", classes=("no", "yes"), partitions=2, tier="light",
    features=(Numeric("a", 0, 1), Categorical("c", ("x", "y"))),
)
"""
EXAMPLES = 300


def example(number, rng):
    a, c = rng.random(), rng.choice("xy")
    prediction = Prediction(
        id=f"r{number}",
        entity=f"r{number}",
        event_time_ms=number,
        features={"a": a, "c": c},
        version="online",
        generation=0,
        decision="no",
        score=0.5,
        role="champion",
    )
    value = "yes" if (a > 0.6) != (c == "x") else "no"
    return Example(id=prediction.id, prediction=prediction, value=value, label_time_ms=number)


def learn(context, pipeline, start, stop):
    """Append examples to both partitions (a broken one among them), and let the learner take them."""
    rng = random.Random(start)
    with installation(context, pipeline) as system:
        for number in range(start, stop):
            event = example(number, rng)
            system.log.append([Message("examples", event.id.encode(), encode(event), number % 2)])
        system.log.append([Message("examples", None, b"broken", 0)])
        loop = make_loop("learner", system, "learner-0", LoopOptions(max_batch=64, checkpoint_every_s=0.0))
        while loop.step(0.0):
            pass
        loop.close()


class Place:
    def __init__(self, folder):
        self.folder, self.data = folder, folder / "data"
        (folder / "toy.py").write_text(SPEC)
        self.pipeline = load_pipeline(folder / "toy.py")
        self.settings = Settings(data_dir=self.data, snapshot_share=1.0)
        self.context = Context(self.settings, folder / "toy.py", False)

    def sql(self, statement, *values):
        connection = sqlite3.connect(self.data / "log.db")
        with connection:
            found = connection.execute(statement, values).fetchall()
        connection.close()
        return found

    def rebuild(self, capsys, version="online"):
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main(
                [
                    "--pipeline",
                    str(self.folder / "toy.py"),
                    "--data-dir",
                    str(self.data),
                    "--json",
                    "models",
                    "rebuild",
                    version,
                ]
            )
        output = capsys.readouterr()
        return stopped.value.code, json.loads(output.out) if output.out else None, output.err


@pytest.fixture
def place(tmp_path):
    place = Place(tmp_path)
    learn(place.context, place.pipeline, 0, EXAMPLES)
    return place


def examples_partition(place, number=0):
    query = "SELECT p.id FROM partitions p JOIN topics t ON t.id = p.topic WHERE t.name = ? AND p.number = ?"
    return place.sql(query, "toy.examples.v1", number)[0][0]


def delete_below(place, offset):
    """What retention does, to both partitions of examples."""
    for number in range(2):
        partition = examples_partition(place, number)
        place.sql("DELETE FROM records WHERE place >= ? AND place < ?", partition << 40, partition << 40 | offset)
        place.sql("UPDATE partitions SET first = ? WHERE id = ?", offset, partition)


def test_the_newest_snapshots_are_made_again_bit_for_bit(place, capsys):
    code, answer, _ = place.rebuild(capsys)
    assert code == 0, answer
    assert [(model["partition"], model["base"], model["difference"]) for model in answer["models"]] == [
        (0, "origin", 0.0),
        (1, "origin", 0.0),
    ]
    first = answer["models"][0]
    assert first["snapshot"] == first["examples"] > 0
    assert first["rows"] > 256
    assert place.rebuild(capsys, f"online@{first['snapshot']}")[0] == 0


def test_an_earlier_snapshot_that_compaction_took_cannot_be_named(place, capsys):
    newest = place.rebuild(capsys)[1]["models"][0]["snapshot"]
    with installation(place.context, place.pipeline) as system:
        system.log.maintain()
    code, _, error = place.rebuild(capsys, "online@25")
    assert (code, error.count("\n")) == (3, 1)
    assert f"online@{newest}" in error
    assert place.rebuild(capsys, "online@100000")[0] == 2
    assert place.rebuild(capsys, "onlinish")[0] == 2
    assert place.rebuild(capsys, "v7")[0] == 2


def test_changed_bytes_of_one_example_show(place, capsys):
    where = examples_partition(place) << 40 | 17
    ((value,),) = place.sql("SELECT value FROM records WHERE place = ?", where)
    changed = (
        value.replace(b'"value":"yes"', b'"value":"no"')
        if b'"value":"yes"' in value
        else value.replace(b'"value":"no"', b'"value":"yes"')
    )
    assert changed != value
    place.sql("UPDATE records SET value = ? WHERE place = ?", changed, where)
    code, answer, _ = place.rebuild(capsys)
    assert code == 1
    assert [model["identical"] for model in answer["models"]] == [False, True]
    assert answer["models"][0]["difference"] > 0


def test_an_example_that_no_longer_decodes_shows_too(place, capsys):
    place.sql("UPDATE records SET value = ? WHERE place = ?", b"{", examples_partition(place) << 40 | 17)
    code, answer, _ = place.rebuild(capsys)
    assert code == 1
    assert "the record says" in answer["models"][0]["note"]


def test_a_tampered_artifact_is_refused(place, capsys):
    for path in (place.data / "toy" / "artifacts").glob("*/*"):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(bytes(data))
    code, _, error = place.rebuild(capsys)
    assert code == 3
    assert "SHA-256 differs" in error


def test_past_retention_a_checkpoint_is_the_base(place, capsys):
    learn(place.context, place.pipeline, 1000, 1080)  # to 190 per partition, with a checkpoint there
    learn(place.context, place.pipeline, 2000, 2040)  # beyond 200, where a snapshot is taken
    delete_below(place, 120)
    code, answer, error = place.rebuild(capsys)
    assert code == 0, error
    assert {model["base"] for model in answer["models"]} == {"checkpoint"}
    assert all(120 < model["start"] < model["stop"] for model in answer["models"])


def test_past_retention_without_a_checkpoint_says_what_is_missing(place, capsys):
    delete_below(place, 20)
    for path in (place.data / "toy" / "checkpoints").rglob("*.checkpoint"):
        path.unlink()
    code, _, error = place.rebuild(capsys)
    assert (code, error.count("\n")) == (3, 1)
    assert "from offset 0, but the log holds it from 20" in error


def test_a_new_epoch_is_where_the_fold_starts(place, capsys):
    """An epoch that was announced and then not begun is passed over."""
    end = place.sql("SELECT next FROM partitions WHERE id = ?", examples_partition(place))[0][0]
    log = EmbeddedLog(place.data / "log.db", "toy", SystemClock())
    alert = Alert(
        id=f"new-epoch-learner-0-{end - 10}", severity="warning", title="", detail="", at_ms=0, source="learner"
    )
    log.append([Message("alerts", alert.id.encode(), encode(alert), 0)])
    assert log.bounds(TopicPartition("alerts", 0)).end >= 1
    log.close()
    assert [model["base"] for model in place.rebuild(capsys)[1]["models"]] == ["origin", "origin"]


def test_after_a_new_epoch_the_model_is_that_of_the_epoch(tmp_path, capsys):
    place = Place(tmp_path)
    learn(place.context, place.pipeline, 0, 100)
    (tmp_path / "toy.py").write_text(SPEC.replace('tier="light"', 'tier="balanced"'))
    place.pipeline = load_pipeline(tmp_path / "toy.py")
    with installation(place.context, place.pipeline) as system:
        options = LoopOptions(max_batch=64, checkpoint_every_s=0.0, on_mismatch="new-epoch")
        loop = make_loop("learner", system, "learner-0", options)
        loop.step(1.0)
        loop.close()
    learn(place.context, place.pipeline, 1000, 1200)
    code, answer, _ = place.rebuild(capsys)
    assert code == 0, answer
    assert [(model["base"], model["start"]) for model in answer["models"]] == [("epoch", 51), ("epoch", 50)]


def test_nothing_announced_is_said(tmp_path, capsys):
    code, _, error = Place(tmp_path).rebuild(capsys)
    assert (code, error.count("\n")) == (2, 1)
