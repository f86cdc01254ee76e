"""What only the embedded log does: one shared file, its faults, sessions, group commits, maintenance by itself."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from penstock.clock import SystemClock, VirtualClock
from penstock.errors import FencedError, LogError, LogUnavailableError
from penstock.log import embedded_groups
from penstock.log.embedded import EmbeddedLog
from penstock.log.embedded_lock import FileLock
from penstock.log.port import Message, TopicConfig, TopicPartition
from penstock.testing.log_subject import PATIENCE_S, Listener, all_of, messages

ONE = TopicPartition("one", 0)
TOPICS = [TopicConfig("one", 1), TopicConfig("out", 1)]


def settle(listeners: Sequence[Listener], owned: Sequence[Sequence[int]]) -> None:
    """Let all poll in turn (without records to give) until each owns exactly what is expected."""
    deadline = time.monotonic() + PATIENCE_S
    while [listener.owned for listener in listeners] != [list(expected) for expected in owned]:
        assert time.monotonic() < deadline, f"owned: {[listener.owned for listener in listeners]}, expected {owned}"
        for listener in listeners:
            listener.membership.poll(1, 0.0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.db"


@pytest.fixture
def log(path: Path) -> Iterator[EmbeddedLog]:
    log = EmbeddedLog(path, "pipe", SystemClock())
    log.ensure_topics(TOPICS)
    yield log
    log.close()


def eventually(condition: Callable[[], bool], seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


# The file


def test_what_was_acknowledged_is_there_after_reopening(path: Path, log: EmbeddedLog) -> None:
    log.append(messages("one", 3))
    log.close()
    again = EmbeddedLog(path, "pipe", SystemClock())
    assert [record.value for record in all_of(again, ONE)] == [b"0", b"1", b"2"]
    again.close()


def test_pipelines_share_a_file_without_meeting(path: Path, log: EmbeddedLog) -> None:
    other = EmbeddedLog(path, "other", SystemClock())
    other.ensure_topics([TopicConfig("one", 3)])
    log.append(messages("one", 2))
    listener = Listener(log, "g", ["one"], "m")
    listener.membership.commit([], {ONE: 2}) if listener.take(2) else None
    assert other.partitions("one") == 3
    assert all_of(other, ONE) == []
    assert other.committed("g", ONE) is None
    listener.membership.close()
    other.close()


def test_commits_are_fsynced(log: EmbeddedLog) -> None:
    connection = log._writer.connection
    assert connection.execute("PRAGMA synchronous").fetchone()[0] == 2  # FULL
    assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"


def test_a_file_that_is_not_a_database_is_refused(path: Path) -> None:
    path.write_bytes(b"not a database at all, but long enough to be looked at" * 100)
    before = path.read_bytes()
    with pytest.raises(LogError, match="damaged or not a log") as caught:
        EmbeddedLog(path, "pipe", SystemClock())
    assert not caught.value.retriable
    assert path.read_bytes() == before


def test_another_programs_database_is_refused_and_left_alone(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE theirs (x)")
    connection.commit()
    connection.close()
    before = path.read_bytes()
    with pytest.raises(LogError, match="another program's database"):
        EmbeddedLog(path, "pipe", SystemClock())
    assert path.read_bytes() == before


def test_another_format_is_refused(path: Path, log: EmbeddedLog) -> None:
    log._writer.connection.execute("PRAGMA user_version=99")
    log.close()
    with pytest.raises(LogError, match="its format is 99"):
        EmbeddedLog(path, "pipe", SystemClock())


def test_a_directory_that_cannot_be_made_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LogUnavailableError, match="check its directory"):
        EmbeddedLog(tmp_path / "file" / "log.db", "pipe", SystemClock())


def test_a_path_that_is_a_directory_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "log.db").mkdir()
    with pytest.raises(LogUnavailableError, match="cannot be opened"):
        EmbeddedLog(tmp_path / "log.db", "pipe", SystemClock())


def test_a_closed_log_says_so(log: EmbeddedLog) -> None:
    log.close()
    with pytest.raises(LogError, match="closed"):
        log.append(messages("one", 1))
    with pytest.raises(LogError, match="closed"):
        log.bounds(ONE)


# A full disk


def test_a_full_disk_refuses_whole_appends_and_recovers(path: Path, log: EmbeddedLog) -> None:
    connection = log._writer.connection
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count={pages + 20}")
    written: list[int] = []

    def fill() -> None:
        while len(written) < 10_000:
            written.extend(log.append([Message("one", None, b"x" * 1000) for _ in range(10)]))

    with pytest.raises(LogUnavailableError, match="free some space") as caught:
        fill()
    assert caught.value.retriable
    assert [record.offset for record in all_of(log, ONE)] == written
    with pytest.raises(LogUnavailableError):
        log.append([Message("one", None, b"x" * 50_000)])
    connection.execute(f"PRAGMA max_page_count={pages + 1000}")
    assert log.append([Message("one", None, b"after")]) == [written[-1] + 1]
    assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"


def test_a_full_disk_leaves_a_commit_repeatable(log: EmbeddedLog) -> None:
    connection = log._writer.connection
    log.append(messages("one", 2))
    listener = Listener(log, "g", ["one"], "m")
    listener.take(2)
    outputs = [Message("out", None, b"y" * 1000) for _ in range(100)]
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count={pages + 5}")
    with pytest.raises(LogUnavailableError):
        listener.membership.commit(outputs, {ONE: 2})
    assert all_of(log, TopicPartition("out", 0)) == []
    assert log.committed("g", ONE) is None
    connection.execute(f"PRAGMA max_page_count={pages + 1000}")
    listener.membership.commit(outputs, {ONE: 2})
    assert len(all_of(log, TopicPartition("out", 0))) == 100
    assert log.committed("g", ONE) == 2
    listener.membership.close()


def test_a_file_held_by_another_program_is_unavailable(
    path: Path, log: EmbeddedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    log._writer.connection.execute("PRAGMA busy_timeout=20")
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(LogUnavailableError, match="another program holds it"):
        log.append(messages("one", 1))
    assert all_of(log, ONE) == []
    holder.execute("ROLLBACK")
    holder.close()
    assert len(log.append(messages("one", 1))) == 1


def test_a_stopped_process_in_mid_write_makes_the_log_unavailable_not_hang(
    path: Path, log: EmbeddedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penstock.log.embedded_writer.TURN_S", 0.05)
    stopped = FileLock(path.with_name("log.db.lock"))
    assert stopped.acquire(1.0)
    for _ in range(2):
        with pytest.raises(LogUnavailableError, match="let it go on, or kill it"):
            log.append(messages("one", 1))
    with pytest.raises(LogUnavailableError, match="let it go on, or kill it"):
        EmbeddedLog(path, "pipe", SystemClock())
    stopped.release()
    stopped.close()
    monkeypatch.undo()
    assert len(log.append(messages("one", 1))) == 1
    assert len(all_of(log, ONE)) == 1


# Group commits


def test_concurrent_appends_share_transactions(log: EmbeddedLog) -> None:
    gate = threading.Event()
    blocked = threading.Event()

    def slow(connection: sqlite3.Connection) -> None:
        blocked.set()
        gate.wait(15.0)

    leader = threading.Thread(target=log._writer.write, args=(slow,))
    leader.start()
    assert blocked.wait(15.0)
    before = log._writer.commits
    threads = [threading.Thread(target=log.append, args=(messages("one", 1),)) for _ in range(20)]
    for thread in threads:
        thread.start()
    eventually(lambda: len(log._writer._waiting) == 20)
    gate.set()
    for thread in [leader, *threads]:
        thread.join(15.0)
    assert log._writer.commits == before + 2, "the slow one, and one for all who came meanwhile"
    assert len(all_of(log, ONE)) == 20


def test_one_part_of_a_group_fails_alone(log: EmbeddedLog) -> None:
    gate, blocked = threading.Event(), threading.Event()
    outcomes: list[object] = []

    def slow(connection: sqlite3.Connection) -> None:
        blocked.set()
        gate.wait(15.0)

    def write(work: Callable[[sqlite3.Connection], object]) -> None:
        try:
            outcomes.append(log._writer.write(work))
        except FencedError as error:
            outcomes.append(error)

    def fenced(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO counters VALUES ('half', 1)")
        raise FencedError("g", 0)

    def fine(connection: sqlite3.Connection) -> str:
        connection.execute("INSERT INTO counters VALUES ('whole', 1)")
        return "done"

    leader = threading.Thread(target=log._writer.write, args=(slow,))
    leader.start()
    assert blocked.wait(15.0)
    threads = [threading.Thread(target=write, args=(work,)) for work in (fenced, fine)]
    for thread in threads:
        thread.start()
    eventually(lambda: len(log._writer._waiting) == 2)
    gate.set()
    for thread in [leader, *threads]:
        thread.join(15.0)
    assert sorted(map(type, outcomes), key=str) == [FencedError, str]
    names = [row[0] for row in log._writer.connection.execute("SELECT name FROM counters")]
    assert "whole" in names
    assert "half" not in names


# Latency


def test_a_reader_of_this_process_is_woken_at_once_and_of_another_soon(path: Path, log: EmbeddedLog) -> None:
    writer = EmbeddedLog(path, "pipe", SystemClock())  # another connection and lock: like another process
    for source, limit_s in ((log, 0.25), (writer, 0.25)):
        tail = log.tail(["one"], from_start=False)
        waits = []
        for _ in range(9):
            timer = threading.Timer(0.03, source.append, [messages("one", 1)])
            timer.start()
            (record,) = tail.poll(10, 10.0)
            waits.append(time.time() - record.timestamp_ms / 1000)
            timer.join()
        assert sorted(waits)[4] < limit_s, waits
        tail.close()
    writer.close()


def test_an_idle_reader_costs_next_to_nothing(log: EmbeddedLog) -> None:
    tail = log.tail(["one"], from_start=False)
    start = time.process_time()
    assert tail.poll(10, 1.0) == []
    assert time.process_time() - start < 0.2
    tail.close()


# Sessions


def test_a_silent_owner_is_replaced_after_its_session(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hung = EmbeddedLog(path, "pipe", SystemClock(), session_timeout_s=0.4)
    hung.ensure_topics(TOPICS)
    hung.append(messages("one", 2))
    stale = Listener(hung, "g", ["one"], "a")
    assert len(stale.take(2)) == 2
    monkeypatch.setattr(hung._heart, "_beat", lambda *_: None)  # as if its process hung
    survivor = EmbeddedLog(path, "pipe", SystemClock(), session_timeout_s=0.4)
    fresh = Listener(survivor, "g", ["one"], "b")
    assert fresh.membership.poll(10, 0.0) == []
    assert len(fresh.take(2)) == 2
    with pytest.raises(FencedError):
        stale.membership.commit(messages("out", 1), {ONE: 2})
    assert all_of(survivor, TopicPartition("out", 0)) == []
    # The stale one notices at its next poll, gives up, and comes back as an ordinary member.
    monkeypatch.undo()
    settle([stale, fresh], [[0], []])
    assert stale.told == [("assigned", [0]), ("revoked", [0]), ("assigned", [0])]
    stale.membership.commit(messages("out", 1), {ONE: 2})
    for listener in (stale, fresh):
        listener.membership.close()
    hung.close()
    survivor.close()


def test_a_long_batch_does_not_cost_ownership(path: Path) -> None:
    first = EmbeddedLog(path, "pipe", SystemClock(), session_timeout_s=0.4)
    second = EmbeddedLog(path, "pipe", SystemClock(), session_timeout_s=0.4)
    first.ensure_topics(TOPICS)
    first.append(messages("one", 1))
    busy, rival = Listener(first, "g", ["one"], "a"), Listener(second, "g", ["one"], "b")
    busy.take(1)
    assert rival.membership.poll(1, 1.2) == []  # three time-outs long, in which the busy one does not poll
    busy.membership.commit(messages("out", 1), {ONE: 1})
    assert rival.owned == []
    for log in (first, second):
        log.close()


def test_a_closed_log_leaves_its_groups_at_once(path: Path) -> None:
    first, second = (EmbeddedLog(path, "pipe", SystemClock()) for _ in range(2))
    first.ensure_topics(TOPICS)
    owner, next_one = Listener(first, "g", ["one"], "a"), Listener(second, "g", ["one"], "b")
    settle([owner], [[0]])
    start = time.monotonic()
    first.close()
    settle([next_one], [[0]])
    assert time.monotonic() - start < 1.0
    owner.membership.close()
    second.close()


def test_members_of_an_earlier_boot_are_gone(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = EmbeddedLog(path, "pipe", SystemClock())
    before.ensure_topics(TOPICS)
    settle([Listener(before, "g", ["one"], "a")], [[0]])
    monkeypatch.setattr(embedded_groups, "boot_id", lambda: "the next boot")
    after = EmbeddedLog(path, "pipe", SystemClock())
    settle([Listener(after, "g", ["one"], "b")], [[0]])
    after.close()
    before.close()


def test_a_group_keeps_its_partition_count(log: EmbeddedLog) -> None:
    log.ensure_topics([TopicConfig("wide", 2)])
    Listener(log, "g", ["one"], "m").membership.close()
    with pytest.raises(LogError, match="another group name"):
        Listener(log, "g", ["wide"], "m")


# Maintenance


def test_maintenance_runs_by_itself_once_for_all_processes(path: Path) -> None:
    clock = VirtualClock(1_000)
    logs = [EmbeddedLog(path, "pipe", clock, session_timeout_s=0.2) for _ in range(2)]
    logs[0].ensure_topics([TopicConfig("one", 1, retention_ms=500)])
    logs[0].append(messages("one", 3))
    clock.advance_to_ms(1_000_000)
    listeners = [Listener(log, "g", ["one"], f"m{n}") for n, log in enumerate(logs)]
    eventually(lambda: logs[0].bounds(ONE).first == 3)
    query = "SELECT value FROM counters WHERE name = 'maintained_ms'"
    assert logs[0]._writer.connection.execute(query).fetchone()[0] == 1_000_000
    logs[0].append(messages("one", 1))
    for listener in listeners:
        listener.membership.close()
    for log in logs:
        log.close()


def test_retention_of_more_than_one_transaction(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock.log.embedded_records.MAINTENANCE_CHUNK", 10)
    clock = VirtualClock(1_000)
    log = EmbeddedLog(path, "pipe", clock)
    log.ensure_topics([TopicConfig("one", 1, retention_ms=500)])
    log.append(messages("one", 35))
    clock.advance_to_ms(5_000)
    log.append(messages("one", 2, start=35))
    log.maintain()
    assert [record.value for record in all_of(log, ONE)] == [b"35", b"36"]
    log.close()
