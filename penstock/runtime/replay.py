"""Dead letters go back to where they came from, each once, whatever is killed or repeated."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import NamedTuple

import msgspec

from penstock.clock import Clock
from penstock.errors import LogUnavailableError, UnknownTopicError
from penstock.events import Replay, encode
from penstock.log.port import Log, Membership, Message, TopicPartition
from penstock.runtime.dead_letters import DeadLetter, Source
from penstock.runtime.patience import Patience
from penstock.runtime.ranges import read_range

REPLAYS = TopicPartition("replays", 0)
MEMBER = "replay"
#: Dead letters in one transaction.
BATCH = 200
#: How long the group may take to give its only partition to us.
SEAT_S = 60.0

_decoder = msgspec.json.Decoder(Replay)


class Outcome(NamedTuple):
    """How many went back now, how many had before, and the offsets of those that name no place to go back to."""

    replayed: int = 0
    before: int = 0
    homeless: tuple[int, ...] = ()


def replayed_sources(log: Log) -> set[Source]:
    """The places of all records that went back so far."""
    first, end = log.bounds(REPLAYS)
    found: set[Source] = set()
    for record in read_range(log, REPLAYS, first, end):
        for name, ranges in _decoder.decode(record.value).sources.items():
            topic, _, partition = name.rpartition("/")
            found |= {Source(topic, int(partition), offset) for start, stop in ranges for offset in range(start, stop)}
    return found


@dataclass(frozen=True, slots=True)
class Replayer:
    """Appends dead letters to their topic and partition again, byte for byte, exactly once per original record.

    What makes it so: the topic ``replays`` is the only truth about what went back. (A group's committed offset could
    not be: it has an order, and Kafka forgets it a week after the group's last member left.)

    1. Join the group. It has one seat: whoever sat there before is fenced from now on, in the middle of a commit too.
    2. Commit a position and nothing else. Only the owner can, and no transaction of a predecessor is open after it.
    3. Read ``replays`` to its end. Nobody else can add to it now.
    4. Of each batch, leave out what went back before. Two stages may have refused one record: it goes back once.
    5. Commit the original records and the note of them in ``replays`` in one transaction.

    Killed between two steps, it has written whole batches, and their notes. ``reached`` hears ``mid_batch`` and
    ``after_commit``, for tests that kill the process there. ``by`` and ``id`` go into the notes.
    """

    log: Log
    group: str
    id: str
    by: str
    clock: Clock
    patience: Patience
    reached: Callable[[str], None]

    def run(self, letters: Iterable[DeadLetter]) -> Outcome:
        """Replay ``letters``, in their order.

        Raises:
            FencedError: another replay has started; what was committed until then stays.
            LogUnavailableError: it was away for too long; repeat the call.
        """
        seated: list[int] = []
        join = partial(self.log.join, self.group, [REPLAYS.topic], MEMBER, seated.extend, _ignore)
        membership = self.patience.call("join", join)  # 1
        try:
            position = self._sit_down(membership, seated)  # 2
            known = self.patience.call("history of replays", partial(replayed_sources, self.log))  # 3
            outcome, remaining = Outcome(), iter(letters)
            while batch := list(islice(remaining, BATCH)):
                places = [self._home(letter) for letter in batch]
                fresh: dict[Source, DeadLetter] = {}
                for place, letter in zip(places, batch, strict=True):
                    if place is not None and place not in known:  # 4
                        fresh.setdefault(place, letter)
                if fresh:
                    self._commit(membership, position, fresh, outcome.replayed)  # 5
                known |= fresh.keys()
                lost = [letter.record.offset for place, letter in zip(places, batch, strict=True) if place is None]
                before = outcome.before + len(batch) - len(fresh) - len(lost)
                outcome = Outcome(outcome.replayed + len(fresh), before, (*outcome.homeless, *lost))
                self.patience.call("poll", partial(membership.poll, 1, 0.0))  # who never polls is taken for dead
            return outcome
        finally:
            membership.close()

    def _home(self, letter: DeadLetter) -> Source | None:
        """Where it goes back to; None where it names no place of this log."""
        try:
            known = letter.source is not None and letter.source.partition < self.log.partitions(letter.source.topic)
        except UnknownTopicError:
            return None
        return letter.source if known else None

    def _sit_down(self, membership: Membership, seated: list[int]) -> dict[TopicPartition, int]:
        deadline_s = self.clock.monotonic_s() + SEAT_S
        while not seated:
            if self.clock.monotonic_s() > deadline_s:
                raise LogUnavailableError(f"group {self.group}: no seat within {SEAT_S:.0f} s; try again")
            self.patience.call("poll", partial(membership.poll, 1, 0.1))
        position = {REPLAYS: self.log.bounds(REPLAYS).end}
        self.patience.call("commit", partial(membership.commit, [], position))
        return position

    def _commit(
        self,
        membership: Membership,
        position: Mapping[TopicPartition, int],
        letters: Mapping[Source, DeadLetter],
        before: int,
    ) -> None:
        note = Replay(
            id=f"{self.id}-{before}",
            by=self.by,
            at_ms=self.clock.now_ms(),
            sources=_ranges(letters),
        )
        outputs = [letter.original() for letter in letters.values()]
        outputs.append(Message(REPLAYS.topic, note.id.encode(), encode(note), REPLAYS.partition))
        self.reached("mid_batch")
        self.patience.call("commit", partial(membership.commit, outputs, position))
        self.reached("after_commit")


def _ranges(sources: Iterable[Source]) -> dict[str, list[tuple[int, int]]]:
    """Neighbouring offsets as one range."""
    found: dict[str, list[tuple[int, int]]] = {}
    for topic, partition, offset in sorted(sources):
        held = found.setdefault(f"{topic}/{partition}", [])
        if held and held[-1][1] == offset:
            held[-1] = (held[-1][0], offset + 1)
        else:
            held.append((offset, offset + 1))
    return found


def _ignore(_: Sequence[int]) -> None:
    """The seat is taken away only when we leave it, or are fenced, which the next commit says."""
