"""``penstock audit``: a trail that is whole, and every way in which it may not be."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import typer
from typer.testing import CliRunner

from penstock.cli import audit
from penstock.cli.compose import System, make_loop
from penstock.cli.context import Context
from penstock.clock import VirtualClock
from penstock.errors import UsageError
from penstock.events import (
    AccessCommand,
    DriftThresholds,
    Evidence,
    Metrics,
    ModelRecord,
    OutcomeCommand,
    PolicyChange,
    RetrainCommand,
    RollbackCommand,
    encode,
)
from penstock.log.memory import MemoryLog
from penstock.log.open import topic_configs
from penstock.log.port import Message, Record, TopicPartition
from penstock.models.artifact import MemoryArtifacts, Signer
from penstock.models.registry import MemoryRegistry, Registration
from penstock.models.snapshots import EverySnapshot
from penstock.runtime.checkpoint import MemoryCheckpoints
from penstock.runtime.loop import LoopOptions
from penstock.settings import Settings
from penstock.spec import Numeric, Pipeline, RetrainingPolicy
from penstock.telemetry import Telemetry

PIPELINE = Pipeline(
    name="p",
    task="binary",
    target="y",
    features=(Numeric("x"),),
    classes=("0", "1"),
    retraining=RetrainingPolicy(collect_rows=200, trial_rows=200, effect_rows=100, cooldown_rows=100),
)
SIGNER = Signer(b"0123456789abcdef")


class Edited:
    """A log as it would be if somebody had changed records in it: ``edit`` gives the record, another, or None."""

    def __init__(self, log: MemoryLog, edit: Callable[[Record], Record | None]) -> None:
        self._log, self._edit = log, edit

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    def read(self, *where: Any) -> list[Record]:
        return [edited for record in self._log.read(*where) if (edited := self._edit(record)) is not None]


class Installation:
    """Retrainer and incidents over a log in memory; one version was made, promoted, and rolled back."""

    def __init__(self) -> None:
        self.clock = VirtualClock(1_700_000_000_000)
        self.log = MemoryLog(self.clock, topic_configs(1))
        self.artifacts, self.registry = MemoryArtifacts(SIGNER), MemoryRegistry()
        ports = (self.log, self.artifacts, MemoryCheckpoints(), lambda: EverySnapshot(self.artifacts), self.clock)
        self.system = System(PIPELINE, *ports, Telemetry())
        self.loops = [make_loop(role, self.system, f"{role}-0", LoopOptions()) for role in ("incidents", "retrainer")]
        self.seen = 0
        self.look(300)
        self.put("commands", RetrainCommand(id="retrain-1", by="ada", at_ms=1))
        self.look(300)
        run = next(made["run_id"] for made in self.values("decisions") if made["step"] == "triggered")
        artifact = self.artifacts.put(b"a model")
        model = ModelRecord(slot="challenger", version="v1", kind="batch", generation=0, run_id=run)
        model = msgspec.structs.replace(
            model, uri=artifact.uri, digest=artifact.digest, signature=artifact.signature, size_bytes=7
        )
        self.registry.register(Registration(run, "v1", artifact, {}, {}, {}))
        self.put(
            "commands", OutcomeCommand(id=f"{run}-fit", run_id=run, step="fit", at_ms=1, winner="forest", model=model)
        )
        self.look(200)
        self.put(
            "commands", AccessCommand(id="a1", by="bob", role="admin", at_ms=2, method="GET", path="/x", status=200)
        )
        self.clock.advance_s(86_400)
        self.put("commands", RollbackCommand(id="back-1", by="bob", at_ms=3, reason="complaints"))
        for made in self.values("decisions"):
            if made["run_id"].startswith("rollback:") and made["step"] == "recorded":  # its artifact is checked first
                checked: Any = {"run_id": made["run_id"], "step": "check", "at_ms": 4}
                self.put("commands", OutcomeCommand(id=f"{made['run_id']}-fit", **checked))
        change = PolicyChange(by="ada", thresholds=DriftThresholds(effect_floor=0.2))
        known: dict[str, Any] = {"partition": 0, "seen": 0, "event_time_ms": 5, "generation": 0, "findings": []}
        self.put("evidence", Evidence(stage="policy", record_id="policy-1", change=change, **known))

    def put(self, topic: str, event: Any, *, work: bool = True) -> None:
        self.log.append([Message(topic, b"k", encode(event), 0)])
        while work and sum(loop.step(0.0) for loop in self.loops):
            pass

    def look(self, rows: int) -> None:
        self.seen += rows
        for stage in ("monitor", "learner"):
            known = {"partition": 0, "seen": self.seen, "record_id": "r", "event_time_ms": self.seen, "generation": 0}
            self.put("metrics", Metrics(stage=stage, offset=self.seen - 1, **known))  # type: ignore[arg-type]

    def values(self, topic: str) -> list[dict[str, Any]]:
        where = TopicPartition(topic, 0)
        return [msgspec.json.decode(record.value) for record in self.log.read(where, 0, 10**9, 10**6)]


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Installation:
    made = Installation()

    @contextmanager
    def opened(*_: object) -> Iterator[System]:
        yield made.system

    @contextmanager
    def log(*_: object) -> Iterator[Any]:
        yield made.system.log

    monkeypatch.setattr(audit, "installation", opened)
    monkeypatch.setattr(audit, "log_of", log)
    monkeypatch.setattr(audit, "registry_of", lambda *_: made.registry)
    monkeypatch.setattr(Context, "pipeline", lambda _: PIPELINE)
    return made


def edited(place: Installation, edit: Callable[[Record], Record | None]) -> None:
    place.system = System(
        **{
            **{name: getattr(place.system, name) for name in System.__dataclass_fields__},
            "log": Edited(place.log, edit),
        }
    )


def run(*arguments: str, as_json: bool = True) -> Any:
    app = typer.Typer()
    app.add_typer(audit.app, name="audit")

    @app.callback()
    def root(ctx: typer.Context) -> None:
        ctx.obj = Context(Settings(_env_file=None), Path("none.py"), as_json)

    return CliRunner().invoke(app, ["audit", *arguments])


def problems(*arguments: str) -> list[tuple[str, str]]:
    result = run("verify", *arguments)
    shown = json.loads(result.output)
    assert result.exit_code == (1 if shown["problems"] else 0)
    assert shown["whole"] == (not shown["problems"])
    return [(problem["where"], problem["what"]) for problem in shown["problems"]]


def changed(record: Record, **fields: Any) -> Record:
    return record._replace(value=msgspec.json.encode({**msgspec.json.decode(record.value), **fields}))


def test_a_trail_that_is_whole(place: Installation) -> None:
    steps = [made["step"] for made in place.values("decisions")]
    assert {"triggered", "registered", "promoted", "rolled_back", "recorded"} <= set(steps)
    assert problems("--registry") == []
    checked = json.loads(run("verify", "--registry").output)["checked"]
    assert checked["decisions"] == len(steps)
    assert (checked["artifacts"], checked["registered versions"], checked["policy changes"]) == (1, 1, 1)
    assert run("verify", as_json=False).output.startswith("whole; checked ")


def test_each_command_and_the_policy_change_are_in_the_chain_with_who(place: Installation) -> None:
    named = {made["command"]: made.get("by", "") for made in place.values("decisions") if "command" in made}
    assert {name: by for name, by in named.items() if not name.endswith("-fit")} == {
        "retrain-1": "ada",
        "a1": "bob",
        "back-1": "bob",
        "policy-1": "ada",
    }


@pytest.mark.parametrize("field", ["reason", "event_time_ms", "run_id", "hash", "previous_hash"])
def test_a_changed_decision_is_named(place: Installation, field: str) -> None:
    value: Any = 7 if field == "event_time_ms" else "x"
    edited(place, lambda r: changed(r, **{field: value}) if (r.topic, r.offset) == ("decisions", 2) else r)
    ((where, what),) = problems()
    assert where == "decisions/0:2"
    assert "decision 2" in what


def test_a_decision_that_was_taken_out_is_named(place: Installation) -> None:
    edited(place, lambda r: None if (r.topic, r.offset) == ("decisions", 3) else r)
    ((where, what),) = problems()
    assert where == "decisions/0:4"
    assert "decisions are missing" in what


def test_a_record_that_is_no_decision_breaks_the_chain(place: Installation) -> None:
    edited(place, lambda r: r._replace(value=b"{") if (r.topic, r.offset) == ("decisions", 1) else r)
    assert [where for where, _ in problems()] == ["decisions/0:1"]


def test_only_a_pinned_head_shows_that_the_end_was_cut_off(place: Installation) -> None:
    (head,) = run("head", as_json=False).output.split()
    assert json.loads(run("verify").output)["head"] == head
    assert problems("--head", head) == []
    newest = len(place.values("decisions")) - 1
    policy = {"policy-1"}  # the newest decision is on it; whoever cuts that off would cut its command off as well
    edited(
        place,
        lambda r: (
            None
            if (r.topic, r.offset) == ("decisions", newest)
            or (r.topic in ("commands", "evidence") and any(name.encode() in r.value for name in policy))
            else r
        ),
    )
    assert problems() == []
    ((where, what),) = problems("--head", head)
    assert where == f"decision {newest}"
    assert "cut off" in what
    other = f"1:{head.partition(':')[2]}"
    assert "not the one that was pinned" in problems("--head", other)[0][1]


@pytest.mark.parametrize("head", ["x", "1:abc", "1", ":" + "a" * 64])
def test_a_head_that_is_written_otherwise_is_bad_usage(place: Installation, head: str) -> None:
    assert isinstance(run("verify", "--head", head).exception, UsageError)


def test_a_command_without_a_decision_is_named_but_not_one_that_is_still_to_be_read(place: Installation) -> None:
    place.put("commands", RetrainCommand(id="young", by="ada", at_ms=9), work=False)
    assert problems() == []
    edited(place, lambda r: changed(r, id="other") if r.topic == "commands" and b'"a1"' in r.value else r)
    ((where, what),) = problems()
    assert where.startswith("commands/0:")
    assert what == "command other has no decision"


def test_a_policy_change_that_no_command_tells_is_named(place: Installation) -> None:
    edited(place, lambda r: changed(r, record_id="unseen") if r.topic == "evidence" else r)
    assert problems() == [("evidence/0:0", "drift policy change unseen is no command")]


def test_a_model_that_nobody_decided_on_is_named(place: Installation) -> None:
    forged = ModelRecord(slot="champion", version="v9", kind="batch", generation=9)
    place.log.append([Message("models", b"champion", encode(forged), 0)])
    found = problems()
    assert "v9 (generation 9), which no decision announced there" in found[0][1]
    assert "holds another record than the newest decision's" in found[1][1]


def test_a_models_record_that_is_gone_is_named(place: Installation) -> None:
    edited(place, lambda r: None if r.topic == "models" and r.value.startswith(b'{"slot":"champion"') else r)
    assert [where for where, _ in problems()] == ["models, slot champion"]


def test_compaction_is_no_problem(place: Installation) -> None:
    place.log.append(
        [Message("models", b"challenger", place.log.read(TopicPartition("models", 0), 0, 1, 1)[0].value, 0)]
    )
    challenger = [m for m in place.values("models") if m["slot"] == "challenger"]
    assert len(challenger) >= 2
    assert problems() != []  # out of order
    fresh = Installation()
    place.log = place.system.log  # type: ignore[assignment]
    fresh.log.maintain()
    place.system = fresh.system
    assert problems() == []


def test_an_artifact_that_is_gone_or_changed_is_named(place: Installation) -> None:
    digest = next(iter(place.artifacts._held))
    place.artifacts._held[digest] = b"another model"
    ((where, what),) = problems()
    assert where.startswith("version v1 (decision ")
    assert "SHA-256 differs" in what
    del place.artifacts._held[digest]
    assert "not there" in problems()[0][1]


def test_a_registry_that_says_otherwise_is_named(place: Installation) -> None:
    run_id = place.registry.show("v1").run_id
    other = place.artifacts.put(b"another")
    place.registry = MemoryRegistry()
    assert problems("--registry")[0][1] == "not in the registry"
    place.registry.register(Registration(run_id, "v1", other, {}, {}, {}))
    assert "another digest or signature" in problems("--registry")[0][1]
    place.registry.register(Registration("run-of-nobody", "v7", other, {}, {}, {}))
    assert len(problems("--registry")) == 1  # its outcome may still be on the way


def test_the_log_of_decisions_by_time_person_and_version(place: Installation) -> None:
    every = json.loads(run("log").output)
    assert [made["seq"] for made in every] == list(range(len(every)))
    assert [made["offset"] for made in every] == list(range(len(every)))
    assert {made["by"] for made in json.loads(run("log", "--by", "bob").output)} == {"bob"}
    late = json.loads(run("log", "--since", "2023-11-15T12:00").output)
    assert [made["step"] for made in late][-2:] == ["rolled_back", "recorded"]
    assert len(late) < len(every)
    assert "promoted" in {made["step"] for made in json.loads(run("log", "--version", "v1").output)}
    assert "complaints" in run("log", "--by", "bob", as_json=False).output
    assert run("log", "--by", "nobody", as_json=False).output == "no decision fits\n"
    assert isinstance(run("log", "--since", "yesterday").exception, UsageError)


def test_an_empty_trail_is_whole_and_has_no_head(place: Installation) -> None:
    clock = VirtualClock(0)
    log = MemoryLog(clock, topic_configs(1))
    fields = {name: getattr(place.system, name) for name in System.__dataclass_fields__}
    place.system = System(**{**fields, "log": log})
    assert problems() == []
    assert isinstance(run("head").exception, UsageError)
