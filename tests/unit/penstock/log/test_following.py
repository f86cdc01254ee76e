import pytest

from penstock.clock import VirtualClock
from penstock.events import Alert
from penstock.log.following import CHUNK, Follower
from tests.unit.serving.stand import Stand


@pytest.fixture
def stand() -> Stand:
    return Stand()


def alert(number: int) -> Alert:
    return Alert(id=str(number), severity="info", title="", detail="", at_ms=0, source="test")


def offsets(follower: Follower) -> list[int]:
    found = [record.offset for records in follower.history() for record in records]
    while records := follower.poll(0.0):
        found += [record.offset for record in records]
    return found


def test_history_then_presence_each_record_once(stand: Stand) -> None:
    stand.append("alerts", *(alert(n) for n in range(2 * CHUNK + 1)))
    follower = Follower(stand.log, {"alerts": None})
    history = follower.history()
    seen = [record.offset for record in next(history)]
    stand.append("alerts", alert(-1), alert(-2))  # after the tail was opened, while history is read
    seen += [record.offset for records in history for record in records]
    while records := follower.poll(0.0):
        seen += [record.offset for record in records]
    assert seen == list(range(2 * CHUNK + 3))


def test_a_limit_begins_near_the_end(stand: Stand) -> None:
    stand.append("alerts", *(alert(n) for n in range(10)))
    follower = Follower(stand.log, {"alerts": 3, "drift": 3})
    assert offsets(follower) == [7, 8, 9]


def test_after_a_close_it_goes_on_where_it_was(stand: Stand) -> None:
    follower = Follower(stand.log, {"alerts": None})
    stand.append("alerts", alert(0))
    assert offsets(follower) == [0]
    follower.close()
    follower.close()
    stand.append("alerts", alert(1))
    with pytest.raises(RuntimeError, match="poll before history"):
        follower.poll(0.0)
    assert offsets(follower) == [1]


def test_retention_between_two_reads_skips_only_what_is_gone() -> None:
    clock = VirtualClock()
    stand = Stand(clock=clock)
    stand.append("predictions", *(alert(n) for n in range(5)))
    follower = Follower(stand.log, {"predictions": None})
    clock.advance_s(8 * 86_400)
    stand.append("predictions", alert(5), alert(6))
    stand.log.maintain()
    assert offsets(follower) == [5, 6]
