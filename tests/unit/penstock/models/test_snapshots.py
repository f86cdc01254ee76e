from __future__ import annotations

from itertools import pairwise

from penstock.clock import VirtualClock
from penstock.errors import ArtifactError
from penstock.models.artifact import MemoryArtifacts, Signer
from penstock.models.snapshots import KEEP, BudgetedSnapshots, EverySnapshot


def store():
    return MemoryArtifacts(Signer(b"k" * 16))


def held(artifacts, refs):
    found = []
    for ref in refs:
        try:
            found.append(artifacts.get(ref.uri, ref.digest, ref.signature))
        except ArtifactError:
            continue
    return found


def test_every_multiple_is_published():
    artifacts = store()
    publisher = EverySnapshot(artifacts, every=10)
    published = [n for n in range(1, 41) if publisher.offer(n, lambda n=n: b"%d" % n)]
    assert published == [10, 20, 30, 40]


def test_nothing_is_dumped_in_between():
    def never():
        raise AssertionError("dumped")

    assert EverySnapshot(store(), every=10).offer(11, never) is None
    assert BudgetedSnapshots(store(), VirtualClock(), every=10).offer(11, never) is None


def test_the_newest_are_kept():
    artifacts = store()
    publisher = EverySnapshot(artifacts, every=1)
    refs = [publisher.offer(n, lambda n=n: b"%d" % n) for n in range(1, 21)]
    assert held(artifacts, refs) == [b"%d" % n for n in range(21 - KEEP, 21)]


def test_equal_snapshots_are_not_discarded_while_one_of_them_is_new():
    artifacts = store()
    publisher = EverySnapshot(artifacts, every=1)
    ref = publisher.offer(1, lambda: b"same")
    for n in range(2, KEEP + 1):
        publisher.offer(n, lambda n=n: b"%d" % n)
    publisher.offer(KEEP + 1, lambda: b"same")
    publisher.offer(KEEP + 2, lambda: b"new")
    assert held(artifacts, [ref]) == [b"same"]


def run(cost_s, per_example_s, examples, every=200):
    """Snapshots taken while learning takes ``per_example_s`` and a dump ``cost_s``."""
    clock = VirtualClock()
    publisher = BudgetedSnapshots(store(), clock, every=every, share=0.02)

    def dump():
        clock.advance_s(cost_s)
        return str(clock.monotonic_s()).encode()

    published = []
    for n in range(1, examples + 1):
        clock.advance_s(per_example_s)
        if publisher.offer(n, dump) is not None:
            published.append(n)
    return published, len(published) * cost_s / clock.monotonic_s()


def test_cheap_snapshots_come_at_every_multiple():
    published, _ = run(cost_s=0.0001, per_example_s=0.001, examples=2000)
    assert published == [25, 50, 100, *range(200, 2001, 200)]


def test_dear_snapshots_stay_within_the_share_but_the_first_comes_at_once():
    published, share = run(cost_s=0.05, per_example_s=0.001, examples=60_000)
    assert published[0] == 25
    assert all(n % 200 == 0 for n in published[1:])
    assert 0.015 < share <= 0.02
    gaps = [later - earlier for earlier, later in pairwise(published[1:])]
    assert max(gaps) <= 2600


def test_a_full_disk_costs_a_snapshot_and_not_the_learner():
    class Full(MemoryArtifacts):
        full = True

        def put(self, data):
            if self.full:
                raise ArtifactError("no space left on device")
            return super().put(data)

    artifacts, clock = Full(Signer(b"k" * 16)), VirtualClock()
    publisher = BudgetedSnapshots(artifacts, clock, every=10)
    assert publisher.offer(10, lambda: b"10") is None
    artifacts.full = False
    assert publisher.offer(20, lambda: b"20") is not None
