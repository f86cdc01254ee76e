"""Who is told of which alert, how often, and what happens where nobody listens."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumers.notifier import BURST, BURST_S, FIRST_RETRY_S, GIVE_UP_AFTER_MS, LONGEST_RETRY_S, Notifier, written
from consumers.outbox import MOST_WAITING, Outbox
from penstock.clock import VirtualClock
from penstock.errors import LogUnavailableError
from penstock.events import Alert, Notification, encode
from penstock.log.memory import MemoryLog
from penstock.log.open import topic_configs
from penstock.log.port import Message, TopicPartition
from penstock.spec import Numeric, Pipeline
from penstock.telemetry import Telemetry

PIPELINE = Pipeline(name="p", task="binary", target="y", features=(Numeric("x"),), classes=("0", "1"))


def alert(identity: str, severity: Any = "critical", **said: str) -> Alert:
    return Alert(id=identity, severity=severity, title=f"title {identity}", detail="why", at_ms=0, source="s", **said)


class Somebody:
    """A target that takes messages, or does not."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.read: list[tuple[str, str, str]] = []
        self.tries = 0
        self.away = ""

    def send(self, title: str, body: str, severity: str) -> str:
        self.tries += 1
        if not self.away:
            self.read.append((title, body, severity))
        return self.away


class Office:
    """A log, two targets and a notifier that may be replaced."""

    def __init__(self) -> None:
        self.clock = VirtualClock(1_000_000_000)
        self.log = MemoryLog(self.clock, topic_configs(1))
        self.slack, self.mail = Somebody("slack-1"), Somebody("mail-2")
        self.routes: dict[Any, Any] = {"critical": [self.slack, self.mail], "warning": [self.slack]}
        self.telemetry = Telemetry()
        self.reborn()

    def reborn(self) -> None:
        self.notifier = Notifier(PIPELINE, self.log, self.routes, self.clock, self.telemetry)

    def alert(self, *alerts: Alert) -> None:
        self.log.append([Message("alerts", held.id.encode(), encode(held)) for held in alerts])

    def work(self) -> None:
        while self.notifier.step():
            pass

    def notifications(self) -> list[Notification]:
        where = TopicPartition("notifications", 0)
        records = self.log.read(where, 0, self.log.bounds(where).end, 10_000)
        return [msgspec.json.decode(record.value, type=Notification) for record in records]


@pytest.fixture
def office() -> Office:
    return Office()


def titles(somebody: Somebody) -> list[str]:
    return [title for title, _, _ in somebody.read]


def test_each_severity_has_its_readers_and_each_alert_is_told_once(office: Office) -> None:
    office.alert(alert("a"), alert("b", "warning"), alert("c", "info"))
    office.alert(alert("a"))
    office.work()
    office.reborn()
    office.work()
    assert titles(office.slack) == ["title a", "title b"]
    assert titles(office.mail) == ["title a"]
    told = [(n.status, n.target, n.alerts, n.settled) for n in office.notifications()]
    assert told[0] == ("unrouted", "", ["c"], ["c"])
    assert sorted(told[1:]) == [
        ("sent", "mail-2", ["a"], ["a"]),
        ("sent", "slack-1", ["a"], []),
        ("sent", "slack-1", ["b"], ["b"]),
    ]


def test_an_alert_of_an_incident_names_the_report() -> None:
    assert written([alert("a", incident="drift-7")]) == (
        "title a",
        "why\n\npenstock incidents show drift-7",
        "critical",
    )


def test_one_who_is_away_is_tried_again_later_and_later_and_delays_nobody(office: Office) -> None:
    office.slack.away = "connection refused"
    office.alert(alert("a"))
    office.work()
    assert titles(office.mail) == ["title a"]
    assert office.slack.tries == 1
    pauses = []
    for _ in range(10):
        before_s = office.clock.monotonic_s()
        tries = office.slack.tries
        while office.slack.tries == tries:
            office.clock.advance_s(1.0)
            office.work()
        pauses.append(office.clock.monotonic_s() - before_s)
    assert pauses[0] == pytest.approx(FIRST_RETRY_S, abs=1.0)
    assert pauses[-1] == pytest.approx(LONGEST_RETRY_S, abs=1.0)
    assert pauses == sorted(pauses)
    office.slack.away = ""
    office.clock.advance_s(LONGEST_RETRY_S + 1)
    office.work()
    assert titles(office.slack) == ["title a"]
    assert titles(office.mail) == ["title a"]
    assert office.notifications()[-1].attempts == 12
    counted = office.telemetry.registry.get_sample_value
    assert counted("penstock_messages_total", {"target": "slack-1", "outcome": "failed"}) == 11
    assert counted("penstock_messages_total", {"target": "slack-1", "outcome": "sent"}) == 1


def test_what_somebody_was_told_before_a_restart_is_not_told_again_where_another_is_away(office: Office) -> None:
    office.slack.away = "down"
    office.alert(alert("a"))
    office.work()
    office.reborn()
    office.slack.away = ""
    office.work()
    assert titles(office.mail) == ["title a"]
    assert titles(office.slack) == ["title a"]


def test_a_crash_between_sending_and_writing_it_down_sends_again(office: Office) -> None:
    office.alert(alert("b", "warning"))
    append = office.log.append

    def dies(messages: Any) -> Any:
        raise KeyboardInterrupt

    office.log.append = dies  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        office.work()
    office.log.append = append  # type: ignore[method-assign]
    office.reborn()
    office.work()
    assert titles(office.slack) == ["title b", "title b"]


def test_a_log_that_is_away_for_a_moment_makes_nobody_read_twice(office: Office) -> None:
    office.alert(alert("b", "warning"))
    append, calls = office.log.append, []

    def away(messages: Any) -> Any:
        calls.append(messages)
        if len(calls) < 3:
            raise LogUnavailableError("away")
        return append(messages)

    office.log.append = away  # type: ignore[method-assign]
    for _ in range(4):
        office.notifier.step()
    assert titles(office.slack) == ["title b"]
    assert [n.alerts for n in office.notifications()] == [["b"]]


def test_a_storm_at_once_is_one_digest(office: Office) -> None:
    office.alert(*(alert(f"a{n}", "critical" if n == 30 else "warning") for n in range(40)))
    office.work()
    ((title, body, severity),) = office.slack.read
    assert (title, severity) == ("40 alerts: 1 critical, 39 warning", "critical")
    assert body.splitlines()[0] == "- critical: title a30"
    assert body.splitlines()[-1] == "- and 20 more: penstock events tail alerts"
    assert titles(office.mail) == ["title a30"]
    assert office.notifications()[0].settled == [f"a{n}" for n in range(40) if n != 30]


def test_a_storm_one_by_one_is_a_few_messages_and_then_digests(office: Office) -> None:
    for number in range(120):
        office.alert(alert(f"a{number}", "warning"))
        office.work()
        office.clock.advance_s(1.0)
    office.clock.advance_s(BURST_S)
    office.work()
    assert titles(office.slack)[:BURST] == [f"title a{n}" for n in range(BURST)]
    assert len(office.slack.read) <= 3 * BURST
    told = [identity for notification in office.notifications() for identity in notification.alerts]
    assert sorted(told) == sorted(f"a{n}" for n in range(120))


def test_after_a_day_an_alert_is_given_up_and_says_why(office: Office) -> None:
    office.slack.away = "403"
    office.alert(alert("b", "warning"))
    office.work()
    office.clock.advance_s(GIVE_UP_AFTER_MS / 1000 + 1)
    office.slack.away = ""
    office.work()
    (note,) = office.notifications()
    assert (note.status, note.settled, note.error) == ("given_up", ["b"], "slack-1: 403")
    assert office.slack.read == []


def test_a_notifier_that_comes_late_does_not_tell_old_stories(office: Office) -> None:
    office.alert(alert("old"))
    office.clock.advance_s(2 * GIVE_UP_AFTER_MS / 1000)
    office.alert(alert("new"))
    office.work()
    assert titles(office.slack) == ["title new"]


def test_what_is_no_alert_is_passed_over(office: Office) -> None:
    office.log.append([Message("alerts", b"x", b"not JSON")])
    office.alert(alert("b", "warning"))
    office.work()
    assert titles(office.slack) == ["title b"]


EVENTS = st.lists(
    st.one_of(
        st.integers(0, 6).map(lambda n: alert(f"a{n}")),
        st.builds(
            lambda ids, target, settled: Notification(
                id="n", alerts=ids, status="sent", at_ms=0, target=target, settled=ids if settled else []
            ),
            st.lists(st.integers(0, 6).map(lambda n: f"a{n}"), min_size=1, max_size=3),
            st.sampled_from(["slack", "mail"]),
            st.booleans(),
        ),
    ),
    max_size=30,
)


def folded(events: list[Any]) -> tuple[set[str], dict[str, frozenset[str]]]:
    outbox = Outbox()
    for event in events:
        if isinstance(event, Alert):
            outbox.raise_(event, 0)
        else:
            outbox.settle(event)
    waiting = {held.alert.id for held in outbox.waiting}
    return waiting, {identity: outbox.told(identity) for identity in waiting}


@settings(max_examples=60, deadline=None)
@given(EVENTS, st.randoms(use_true_random=False))
def test_what_waits_does_not_depend_on_the_order_of_the_two_topics(events: list[Any], random: Any) -> None:
    shuffled = list(events)
    random.shuffle(shuffled)
    assert folded(shuffled) == folded(events)


def test_what_waits_is_bounded() -> None:
    outbox = Outbox()
    for number in range(MOST_WAITING + 7):
        outbox.raise_(alert(f"a{number}"), 0)
    assert len(outbox.waiting) == MOST_WAITING
    assert outbox.waiting[0].alert.id == "a7"
