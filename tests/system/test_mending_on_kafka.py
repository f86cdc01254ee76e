"""Dead letters go back once, and models are made again from the log, on Kafka as on the embedded log."""

import json
import random
import signal
import uuid
from collections import Counter

import pytest

from penstock.cli.compose import make_loop
from penstock.cli.context import Context
from penstock.cli.installation import installation
from penstock.errors import ContractError
from penstock.events import Example, Prediction, encode
from penstock.log.port import Message, Record, TopicPartition
from penstock.runtime.dead_letters import dead_letter
from penstock.runtime.loop import LoopOptions
from penstock.runtime.ranges import read_range
from penstock.settings import Settings
from tests.system.processes import penstock

pytestmark = pytest.mark.system

#: More than one batch of a replay.
BROKEN = 230
EXAMPLES = 120


class Project:
    """A pipeline of its own on the shared broker."""

    def __init__(self, folder, bootstrap, client):
        self.folder, self.name, self.log = folder, f"mend-{uuid.uuid4().hex[:8]}", f"kafka://{bootstrap}"
        self.spec = folder / "toy.py"
        self.spec.write_text(
            "from penstock.spec import Numeric, Pipeline\n"
            f"P = Pipeline(name={self.name!r}, task='regression', target='y', partitions=2, tier='light',"
            " features=(Numeric('x', 0, 1),))\n"
        )
        self.client = client
        settings = Settings(data_dir=folder / "data", log=self.log, kafka_client=client, snapshot_share=1.0)
        self.context = Context(settings, self.spec, False)

    def run(self, *arguments, **environment):
        """One command, again where a busy broker did not answer in time: it says so, and nothing is lost."""
        options = ("--pipeline", str(self.spec), "--data-dir", "data", "--log", self.log)
        for _ in range(3):
            done = penstock(
                *arguments, *options, cwd=self.folder, PENSTOCK_KAFKA_CLIENT=self.client, **environment, timeout_s=120
            )
            if done.returncode != 3 or "is the broker up?" not in done.stderr:
                break
        return done

    def system(self):
        return installation(self.context, self.context.pipeline())


@pytest.fixture(params=["librdkafka", "kafka-python"])
def project(request, tmp_path, kafka):
    project = Project(tmp_path, kafka.bootstrap, request.param)
    made = project.run("topics", "create")
    assert made.returncode == 0, made.stderr
    return project


def test_killed_anywhere_and_repeated_each_dead_letter_goes_back_once(project):
    sources = [("requests" if number % 3 else "labels", number % 2, number) for number in range(BROKEN)]
    with project.system() as system:
        letters = [
            dead_letter(
                Record(topic, partition, offset, 0, b"k", str(offset).encode(), (("h", b"1"),)),
                ContractError("", "broken"),
                "scorer",
            )
            for topic, partition, offset in sources
        ]
        system.log.append(letters)
    for point in ("mid_batch:1", "after_commit:1", "mid_batch:1"):
        finished = project.run("dead-letters", "replay", "--all", PENSTOCK_KILL_AT=f"dead-letters:{point}")
        assert finished.returncode == -signal.SIGKILL, finished.stderr
    last = project.run("dead-letters", "replay", "--all", "--json")
    assert last.returncode == 0, last.stderr
    assert json.loads(last.stdout) == {"replayed": BROKEN - 200, "before": 200, "homeless": []}
    found = Counter()
    with project.system() as system:
        for topic in ("requests", "labels"):
            for partition in range(2):
                where = TopicPartition(topic, partition)
                first, end = system.log.bounds(where)
                for record in read_range(system.log, where, first, end):
                    assert (record.key, record.headers) == (b"k", (("h", b"1"),))
                    found[topic, partition, int(record.value)] += 1
    assert found == Counter(sources)
    listed = json.loads(project.run("dead-letters", "list", "--limit", "500", "--json").stdout)
    assert Counter(entry["state"] for entry in listed) == {"replayed": BROKEN}


def test_an_online_model_is_made_again_from_kafka(project):
    rng = random.Random(3)
    with project.system() as system:
        for number in range(EXAMPLES):
            x = rng.random()
            prediction = Prediction(
                id=f"r{number}",
                entity="e",
                event_time_ms=number,
                features={"x": x},
                version="online",
                generation=0,
                decision=0.0,
                score=0.0,
            )
            example = Example(id=prediction.id, prediction=prediction, value=3 * x, label_time_ms=number)
            system.log.append([Message("examples", b"e", encode(example), number % 2)])
        loop = make_loop("learner", system, "learner-0", LoopOptions(max_batch=40))
        taken = 0
        while taken < EXAMPLES:
            taken += loop.step(1.0)
        loop.close()
    rebuilt = project.run("models", "rebuild", "online", "--json")
    assert rebuilt.returncode == 0, rebuilt.stderr
    models = json.loads(rebuilt.stdout)["models"]
    assert [(model["partition"], model["base"], model["difference"]) for model in models] == [
        (0, "origin", 0.0),
        (1, "origin", 0.0),
    ]
    assert {model["examples"] for model in models} == {50}
