"""``penstock trace`` and ``penstock models show``: every record on the way, and a word where one is gone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from penstock.cli import model_history, trace
from penstock.cli.context import Context
from penstock.cli.provenance import Link
from penstock.cli.trace import find_prediction, has_id, trace_links
from penstock.clock import VirtualClock
from penstock.errors import UsageError
from penstock.events import (
    Alert,
    DataRange,
    Decision,
    Drift,
    Event,
    Example,
    GateResult,
    Label,
    ModelRecord,
    Prediction,
    Request,
    RollbackCommand,
    encode,
)
from penstock.log.memory import MemoryLog
from penstock.log.open import topic_configs
from penstock.log.partitioner import partition_for
from penstock.log.port import Log, Message, Record
from penstock.settings import Settings
from penstock.spec import Numeric, Pipeline

PIPELINE = Pipeline(name="loans", task="binary", target="y", features=(Numeric("x"),), classes=("0", "1"), partitions=2)
HOME = partition_for(b"r1", 2)


class Story:
    """A log that is written by hand, a second at a time."""

    def __init__(self) -> None:
        self.clock = VirtualClock(0)
        self.log = MemoryLog(self.clock, topic_configs(2))

    def add(self, topic: str, event: Event, partition: int = 0, after_s: float = 1.0) -> int:
        self.clock.advance_s(after_s)
        (offset,) = self.log.append([Message(topic, b"k", encode(event), partition)])
        return offset

    def links(self, identity: str = "r1") -> dict[str, Link]:
        found = find_prediction(self.log, PIPELINE, identity)
        assert found is not None
        named: dict[str, Link] = {}
        for link in trace_links(self.log, PIPELINE, found):
            named.setdefault(link.what, link)
        return named


def prediction(version: str = "online", generation: int = 0, **said: Any) -> Prediction:
    known: dict[str, Any] = {"features": {"x": 1.0}, "decision": "1", "score": 0.9, "event_time_ms": 5}
    return Prediction(id="r1", entity="r1", version=version, generation=generation, **(known | said))


def decision(seq: int, step: Any, **said: Any) -> Decision:
    known: dict[str, Any] = {"run_id": "run-1", "trigger": "drift:d1", "reason": f"reason {seq}", "generation": 0}
    return Decision(seq=seq, step=step, event_time_ms=seq, record_id="r", **(known | said))


def drift(status: Any) -> Drift:
    known: dict[str, Any] = {"statistic": 0.4, "effect": 0.4, "p_value": 0.0, "record_id": "r", "generation": 0}
    known |= {"seen": 9, "drift_score": 0.4, "event_time_ms": 9}
    return Drift(id="d1", status=status, kind="concept", level="critical", detector="adwin", **known)


def trained(story: Story) -> None:
    """A version that a drift led to, past its gates, with an approval."""
    story.add("drift", drift("opened"))
    data = DataRange(offsets={"0": (10, 60), "1": (20, 80)}, rows=110)
    gate = GateResult(name="improvement", value=0.1, threshold=0.02, passed=True)
    for made in (
        decision(0, "triggered", data=data),
        decision(1, "trained", version="v1", gates=[gate]),
        decision(2, "approved", version="v1", by="ada"),
        decision(3, "promoted", version="v1", generation=1),
    ):
        story.add("decisions", made)


def test_an_answer_of_a_batch_model_leads_back_to_the_drift_the_data_the_gates_and_the_approver() -> None:
    story = Story()
    trained(story)
    story.add("requests", Request(id="r1", features={"x": 1.0}), HOME)
    story.add("predictions", prediction("v1", 1), HOME)
    story.add("labels", Label(id="r1", value="0"), HOME)
    story.add("examples", Example(id="r1", prediction=prediction("v1", 1), value="0", label_time_ms=9), HOME)
    links = story.links()
    assert list(links) == [
        *("request", "prediction", "champion", "drift"),
        *("triggered", "trained", "approved", "promoted", "label", "example"),
    ]
    assert all(link.offset is not None for link in links.values())
    assert (links["request"].topic, links["request"].partition) == ("requests", HOME)
    assert links["prediction"].text == "v1 (generation 1, champion) answered 1, score 0.9"
    assert "promoted: reason 3" in links["champion"].text
    assert links["triggered"].text.endswith("data examples/0:10-60, examples/1:20-80 (110 rows)")
    assert "gate improvement passed (0.1 against 0.02)" in links["trained"].text
    assert "by ada" in links["approved"].text
    assert links["example"].text == "it was 0; answered 1"


def test_an_answer_of_the_online_model_leads_to_its_snapshots_and_their_examples() -> None:
    story = Story()
    for offset, (partition, snapshot) in enumerate([(0, 100), (1, 50), (0, 300), (1, 90)]):
        record = ModelRecord(slot=f"online-{partition}", version="online", kind="online", generation=0, digest="ab")
        story.add("models", Structs.replace(record, snapshot=snapshot, offset=offset * 100 + 99))
        if partition == 1 and snapshot == 50:
            story.add(
                "alerts",
                Alert(id="new-epoch-learner-0-150", severity="warning", title="", detail="", at_ms=0, source="learner"),
            )
    story.add("predictions", prediction(snapshot=350), HOME)
    found = find_prediction(story.log, PIPELINE, "r1")
    assert found is not None
    texts = [link.text for link in trace_links(story.log, PIPELINE, found) if link.what == "snapshot"]
    assert texts[0].startswith("learner partition 0: 300 examples, examples/0:150-300 (epoch 1,")
    assert texts[1].startswith("learner partition 1: 50 examples, examples/1:0-200 (epoch 0,")


def test_a_word_says_where_a_link_is_gone() -> None:
    story = Story()
    for made in (decision(0, "triggered"), decision(1, "promoted", version="v1", generation=1)):
        story.add("decisions", made)
    story.add("predictions", prediction("v1", 1), HOME)
    links = story.links()
    gone = {what: link.text for what, link in links.items() if link.offset is None}
    assert set(gone) == {"request", "drift", "approver", "label"}
    assert "asked over HTTP" in gone["request"]
    assert "7 days" in gone["request"]
    assert "no longer in the log (drift is kept 30 days)" in gone["drift"]
    assert "nobody was asked" in gone["approver"]
    assert "none has met it yet" in gone["label"]


@pytest.mark.parametrize(("snapshot", "said"), [(0, "the prior answered"), (77, "models is compacted")])
def test_a_snapshot_that_was_none_or_is_gone(snapshot: int, said: str) -> None:
    story = Story()
    story.add("predictions", prediction(snapshot=snapshot), HOME)
    links = story.links()
    assert said in links["snapshot"].text
    assert "generation 0: online serves until" in links["champion"].text


def test_a_person_who_rolled_back_is_named() -> None:
    story = Story()
    story.add("commands", RollbackCommand(id="c1", by="ada", at_ms=0))
    story.add("decisions", decision(0, "rolled_back", run_id="", trigger="command:c1", by="ada", generation=2))
    story.add("predictions", prediction(generation=2, snapshot=0), HOME)
    assert "rolled_back by ada" in story.links()["champion"].text


def test_a_canary_leads_to_the_decision_that_gave_it_its_share() -> None:
    story = Story()
    record = ModelRecord(slot="canary", version="v1", kind="batch", generation=0, share=0.1)
    story.add("decisions", decision(0, "canary", version="v1", model=record))
    story.add("predictions", prediction("v1", role="canary"), HOME)
    story.add("decisions", decision(1, "canary", version="v1", model=Structs.replace(record, share=0.5)))
    assert story.links()["canary"].text == "v1, 10% of the entities: reason 0"


def test_one_who_answered_in_the_champions_stead_is_said_to() -> None:
    story = Story()
    story.add("decisions", decision(0, "promoted", version="v1", generation=1))
    story.add("predictions", prediction("online", 1, snapshot=0), HOME)
    text = story.links()["champion"].text
    assert text == "v1 serves since it was promoted; online answered in its stead, as it could not: reason 0"


def test_an_id_that_was_answered_twice_says_so() -> None:
    story = Story()
    story.add("predictions", prediction(snapshot=0), HOME)
    story.add("examples", Example(id="r1", prediction=prediction(snapshot=0), value="1", label_time_ms=9), HOME)
    story.add("predictions", prediction(snapshot=0, event_time_ms=6), HOME)
    found = find_prediction(story.log, PIPELINE, "r1")
    assert found is not None
    assert found.event.event_time_ms == 6
    assert "the label met another answer" in story.links()["example"].text


def record_of(value: bytes) -> Record:
    return Record("t", 0, 0, 0, None, value)


@pytest.mark.parametrize("identity", ["r1", 'a"b', "ü", "a\\b", "a/b", "x\n"])
def test_an_id_is_found_however_json_spells_it(identity: str) -> None:
    match = has_id(identity)
    for ascii_only in (True, False):
        assert match(record_of(json.dumps({"v": 1, "id": identity}, ensure_ascii=ascii_only).encode()))
    assert not match(record_of(json.dumps({"id": identity + "0", "of": identity}).encode()))
    assert not match(record_of(b"\xff" + identity.encode()))


class Structs:
    """Changed copies of events."""

    @staticmethod
    def replace(event: Any, **changes: Any) -> Any:
        return type(event)(**{**{f: getattr(event, f) for f in event.__struct_fields__}, **changes})


def run(log: Log, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Any:
    @contextmanager
    def opened(*_: object) -> Iterator[Log]:
        yield log

    monkeypatch.setattr(trace, "log_of", opened)
    monkeypatch.setattr(model_history, "log_of", opened)
    monkeypatch.setattr(Context, "pipeline", lambda _: PIPELINE)
    app = typer.Typer()
    app.command("trace")(trace.trace)
    app.command("show")(model_history.show)

    @app.callback()
    def root(ctx: typer.Context) -> None:
        ctx.obj = Context(Settings(_env_file=None), Path("none.py"), as_json=True)

    return CliRunner().invoke(app, list(arguments))


def test_the_command_answers_in_json_and_says_how_long_it_took(monkeypatch: pytest.MonkeyPatch) -> None:
    story = Story()
    story.add("predictions", prediction(snapshot=0), HOME)
    shown = json.loads(run(story.log, monkeypatch, "trace", "r1").output)
    assert shown["id"] == "r1"
    assert shown["seconds"] >= 0
    (found,) = [link for link in shown["links"] if link["what"] == "prediction"]
    assert (found["topic"], found["partition"], found["offset"]) == ("predictions", HOME, 0)
    assert found["event"]["score"] == 0.9


def test_an_unknown_id_is_bad_usage(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(Story().log, monkeypatch, "trace", "nobody")
    assert isinstance(result.exception, UsageError)
    assert "7 days" in str(result.exception)


def test_models_show_tells_the_same_way_back(monkeypatch: pytest.MonkeyPatch) -> None:
    story = Story()
    trained(story)
    shown = json.loads(run(story.log, monkeypatch, "show", "v1").output)
    assert (shown["version"], shown["status"], shown["generation"]) == ("v1", "champion", 1)
    assert [link["what"] for link in shown["links"]] == ["drift", "triggered", "trained", "approved", "promoted"]
    assert [made["seq"] for made in shown["decisions"]] == [0, 1, 2, 3]
    online = json.loads(run(story.log, monkeypatch, "show", "online").output)
    assert "snapshot" in [link["what"] for link in online["links"]]
    assert isinstance(run(story.log, monkeypatch, "show", "v9").exception, UsageError)
