"""What a process says of a model that it cannot serve."""

from __future__ import annotations

import msgspec

from penstock.cli.compose import ModelsTail, System, read_all
from penstock.clock import VirtualClock
from penstock.events import Alert, Command, ModelRecord, encode
from penstock.log.memory import MemoryLog
from penstock.log.open import topic_configs
from penstock.log.port import Message
from penstock.models.artifact import MemoryArtifacts, Signer
from penstock.models.snapshots import EverySnapshot
from penstock.runtime.checkpoint import MemoryCheckpoints
from penstock.spec import Numeric, Pipeline
from penstock.telemetry import Telemetry

PIPELINE = Pipeline(name="p", task="binary", target="y", classes=("0", "1"), features=(Numeric("x"),))


def test_a_champion_that_cannot_be_loaded_is_told_to_people_and_to_the_retrainer() -> None:
    clock, artifacts = VirtualClock(), MemoryArtifacts(Signer(b"0123456789abcdef"))
    log = MemoryLog(clock, topic_configs(1))
    system = System(PIPELINE, log, artifacts, MemoryCheckpoints(), lambda: EverySnapshot(artifacts), clock, Telemetry())
    snapshot = ModelRecord(slot="online-0", version="online", kind="online", generation=0, snapshot=200, uri="gone")
    champion = ModelRecord(slot="champion", version="v1", kind="batch", generation=1, uri="gone")
    for record in (snapshot, champion):
        log.append([Message("models", record.slot.encode(), encode(record))])
    tail = ModelsTail(system)
    tail.follow()
    assert tail.served.serving.champion.version == "online"
    commands = [msgspec.json.decode(value, type=Command) for value in read_all(log, "commands")]
    assert [command.id for command in commands] == ["health-v1-1-load"]
    assert len([msgspec.json.decode(value, type=Alert) for value in read_all(log, "alerts")]) == 2
