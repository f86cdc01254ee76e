import asyncio

import msgspec
import pytest

from penstock.clock import VirtualClock
from penstock.errors import LogUnavailableError
from penstock.events import AccessCommand, Command
from serving import journal as journals
from serving.journal import SAME_FOR_S, Journal
from serving.roles import Caller
from tests.unit.serving.stand import Stand

ANN = Caller("ann", "reader")


def make(stand: Stand) -> Journal:
    return Journal(stand.log, stand.clock)


def noted(stand: Stand) -> list[tuple[str, int]]:
    commands = [msgspec.json.decode(record.value, type=Command) for record in stand.records("commands")]
    return [(command.path, command.count) for command in commands if isinstance(command, AccessCommand)]


def note(journal: Journal, *paths: str) -> None:
    async def each() -> None:
        for path in paths:
            await journal.note(journal.entry(ANN, "GET", path, 200))

    asyncio.run(each())


@pytest.fixture
def stand() -> Stand:
    return Stand(clock=VirtualClock())


def test_repetitions_are_written_when_their_minute_is_over(stand: Stand) -> None:
    journal = make(stand)
    note(journal, "a", "a", "a", "b")
    assert noted(stand) == [("a", 1), ("b", 1)]
    stand.clock.advance_s(SAME_FOR_S)
    asyncio.run(journal.flush())
    assert noted(stand) == [("a", 1), ("b", 1), ("a", 2)]
    asyncio.run(journal.flush(everything=True))
    assert len(noted(stand)) == 3
    note(journal, "a")
    assert noted(stand)[3:] == [("a", 1)]


def test_a_repetition_after_its_minute_brings_the_count_with_it(stand: Stand) -> None:
    journal = make(stand)
    note(journal, "a", "a")
    stand.clock.advance_s(SAME_FOR_S)
    note(journal, "a")
    assert noted(stand) == [("a", 1), ("a", 1), ("a", 1)]


def test_counts_outlast_a_log_that_is_away(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = make(stand)
    note(journal, "a", "a", "a")

    def away(_messages: object) -> list[int]:
        raise LogUnavailableError("away")

    monkeypatch.setattr(stand.log, "append", away)
    with pytest.raises(LogUnavailableError):
        asyncio.run(journal.flush(everything=True))
    monkeypatch.undo()
    asyncio.run(journal.flush(everything=True))
    assert noted(stand) == [("a", 1), ("a", 2)]


def test_what_is_counted_is_bounded(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journals, "MOST_COUNTED", 3)
    journal = make(stand)
    note(journal, "a", "a", "b", "c", "d", "a")
    assert noted(stand) == [("a", 1), ("b", 1), ("c", 1), ("a", 1), ("d", 1), ("a", 1)]
    assert len(journal._counted) <= 3
