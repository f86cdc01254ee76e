from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from penstock.log.librdkafka_place import GroupPlace


class Seated:
    """What a place asks of a consumer."""

    def __init__(self, member_id: str = "id") -> None:
        self.member_id, self.generation = member_id, 1

    def memberid(self) -> str:
        return self.member_id

    def consumer_group_metadata(self) -> int:
        return self.generation


def seated(consumer: Any) -> GroupPlace:
    place = GroupPlace()
    place.sit(consumer.memberid())
    return place


def test_where_nobody_polls_it_is_noted_at_once() -> None:
    consumer: Any = Seated()
    place = seated(consumer)
    first = place.newer_than(-1, consumer, 0.0)
    assert first is not None
    assert (first.metadata, place.is_ours(first)) == (1, True)
    consumer.generation = 2
    assert place.newer_than(-1, consumer, 0.0) == first, "what was noted will do"
    second = place.newer_than(first.number, consumer, 0.0)
    assert second is not None
    assert second.metadata == 2


def test_while_another_thread_is_inside_its_note_is_waited_for() -> None:
    consumer: Any = Seated()
    place = seated(consumer)
    with ThreadPoolExecutor(1) as thread:
        with place.inside:
            waiting = thread.submit(place.newer_than, -1, consumer, 20.0)
            deadline = threading.Event()
            while not place.wanted:
                assert not deadline.wait(0.001)
            place.note(consumer)
            noted = waiting.result(20)
        assert noted is not None
        assert not place.wanted


def test_who_stays_inside_without_a_note_is_not_waited_for_for_ever() -> None:
    consumer: Any = Seated()
    place = seated(consumer)
    with ThreadPoolExecutor(1) as thread, place.inside:
        assert thread.submit(place.newer_than, -1, consumer, 0.06).result(20) is None
        assert not place.lost


def test_a_lost_place_has_nothing_newer_but_what_was_noted_may_be_tried() -> None:
    consumer: Any = Seated()
    place = seated(consumer)
    noted = place.newer_than(-1, consumer, 0.0)
    assert noted is not None
    tenure = place.tenure
    place.lose()
    assert place.lost
    assert place.tenure != tenure
    assert place.newer_than(-1, consumer, 0.0) == noted
    assert place.is_ours(noted), "the broker decides"
    assert place.newer_than(noted.number, consumer, 0.0) is None
    consumer.member_id = "new"
    place.sit("new")
    assert not place.lost
    assert not place.is_ours(noted)


def test_an_empty_id_is_never_ours() -> None:
    nobody: Any = Seated("")
    place = seated(nobody)
    noted = place.newer_than(-1, nobody, 0.0)
    assert noted is not None
    assert not place.is_ours(noted)
