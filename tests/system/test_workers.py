"""`penstock run` in several processes, on one machine and as if on two: they share, stand by, take over, hand over."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from penstock.clock import SystemClock
from penstock.log.embedded import EmbeddedLog
from penstock.log.open import topic_configs
from penstock.log.port import TopicPartition
from penstock.models.artifact import Signer, signing_key
from penstock.runtime.checkpoint import DirectoryCheckpoints
from tests.system.labelled import labelled, spec
from tests.system.processes import penstock, start, wait_for

pytestmark = pytest.mark.system

#: A member of the embedded log that is not heard of for so long is dead; and what a loaded machine may add.
SESSION_TIMEOUT_S, SLACK_S = 10.0, 10.0
GROUP = "cards.cards.learner"


class Site:
    """A folder with a pipeline and its log, on which processes are started that end with the test."""

    def __init__(self, folder: Path, partitions: int) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.log_file = self.data / "log.db"
        (folder / "cards.py").write_text(spec("cards", partitions))
        self.data.mkdir(parents=True)
        self.log = EmbeddedLog(self.log_file, "cards", SystemClock())
        self.log.ensure_topics(topic_configs(partitions))
        self.processes: list[subprocess.Popen[bytes]] = []

    def run(self, *roles: str, data: Path | None = None, **environment: str) -> subprocess.Popen[bytes]:
        """Start a process of ``roles``; its output is in ``<number>.txt``."""
        where = ("--pipeline", "cards.py", "--data-dir", str(data or self.data), "--log", f"embedded://{self.log_file}")
        output = self.folder / f"{len(self.processes)}.txt"
        process = start(*where, "run", *roles, cwd=self.folder, output=output, **environment)
        self.processes.append(process)
        return process

    def output(self, number: int) -> str:
        return (self.folder / f"{number}.txt").read_text()

    def feed(self, partition: int, rows: int) -> int:
        """Append ``rows`` labelled examples; the partition's end."""
        self.log.append(labelled(partition, rows))
        return self.log.bounds(TopicPartition("examples", partition)).end

    def committed(self, partition: int) -> int:
        return self.log.committed("cards.learner", TopicPartition("examples", partition)) or 0

    def _rows(self, query: str) -> list[tuple[str, int]]:
        with closing(sqlite3.connect(f"file:{self.log_file}?mode=ro", uri=True, timeout=30)) as connection:
            return connection.execute(query, (GROUP,)).fetchall()

    def members(self) -> list[str]:
        """The names of the learners' members."""
        return sorted(name for name, _ in self._rows("SELECT name, epoch FROM members WHERE grp = ?"))

    def owners(self) -> dict[int, str]:
        """The members that own the learners' partitions."""
        query = "SELECT m.name, o.number FROM owners o JOIN members m ON m.epoch = o.epoch WHERE o.grp = ?"
        return {number: name for name, number in self._rows(query)}

    def close(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self.log.close()


@pytest.fixture
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path, request.param)
    yield made
    made.close()


def ordinals(site: Site) -> list[str]:
    return [name.rpartition("-")[2] for name in site.members()]


@pytest.mark.parametrize("site", [2], indirect=True)
def test_two_processes_share_two_partitions_and_one_takes_over_from_a_killed_one(site: Site) -> None:
    first, second = site.run("learner"), site.run("learner")
    wait_for(lambda: len(set(site.owners().values())) == 2, "an owner for each partition", 60, first)
    assert ordinals(site) == ["0", "1"]
    ends = {partition: site.feed(partition, 300) for partition in (0, 1)}
    wait_for(lambda: all(site.committed(p) == end for p, end in ends.items()), "all learned", 60, second)
    owners = site.owners()
    assert first.poll() is None, site.output(0)
    assert second.poll() is None, site.output(1)

    first.send_signal(signal.SIGKILL)
    first.wait()
    killed = time.monotonic()
    ends = {partition: site.feed(partition, 100) for partition in (0, 1)}
    wait_for(lambda: all(site.committed(p) == end for p, end in ends.items()), "taken over", 60, second)
    assert time.monotonic() - killed < SESSION_TIMEOUT_S + SLACK_S

    third = site.run("learner")
    wait_for(lambda: site.owners() == owners, "the same names own the same partitions again", 60, third)


@pytest.mark.parametrize("site", [2], indirect=True)
def test_a_process_that_is_started_again_at_once_displaces_its_killed_predecessor(site: Site) -> None:
    """It bears the same name, so nobody waits for a session to end."""
    first = site.run("learner")
    wait_for(lambda: len(site.owners()) == 2, "all owned", 60, first)
    members = site.members()
    first.send_signal(signal.SIGKILL)
    first.wait()
    end = site.feed(1, 100)
    again = site.run("learner")
    wait_for(lambda: site.committed(1) == end, "learned", 60, again)
    assert site.members() == members


@pytest.mark.parametrize("site", [1], indirect=True)
def test_a_second_process_of_one_partition_stands_by_and_takes_over(site: Site) -> None:
    first = site.run("learner")
    wait_for(lambda: len(site.owners()) == 1, "an owner", 60, first)
    standby = site.run("learner")
    wait_for(lambda: len(site.members()) == 2, "a second member", 60, standby)
    end = site.feed(0, 300)
    wait_for(lambda: site.committed(0) == end, "learned", 60, first)
    assert standby.poll() is None, site.output(1)
    assert site.owners()[0].endswith("-0")
    first.send_signal(signal.SIGKILL)
    first.wait()
    killed = time.monotonic()
    end = site.feed(0, 100)
    wait_for(lambda: site.committed(0) == end, "taken over", 60, standby)
    assert time.monotonic() - killed < SESSION_TIMEOUT_S + SLACK_S
    assert site.owners()[0].endswith("-1")


@pytest.mark.parametrize("site", [2], indirect=True)
def test_a_busy_process_that_is_told_to_stop_hands_over_in_two_seconds(site: Site) -> None:
    ends = {partition: site.feed(partition, 12_000) for partition in (0, 1)}
    process = site.run("learner")
    wait_for(lambda: min(site.committed(0), site.committed(1)) > 500, "it is busy", 60, process)
    told = time.monotonic()
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGTERM)
    wait_for(lambda: not site.members(), "it has left its group", 20)
    took = time.monotonic() - told
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0, site.output(0)
    assert took < 2.0
    assert any(site.committed(p) < end for p, end in ends.items()), "it was to be busy when it was told"
    store = DirectoryCheckpoints(site.data / "cards" / "checkpoints", Signer(signing_key(site.data, None)))
    for partition in (0, 1):
        newest = next(store.candidates("learner", partition)).checkpoint
        assert newest.offsets == {"examples": site.committed(partition)}


@pytest.mark.parametrize("site", [1], indirect=True)
def test_another_machine_goes_on_from_the_checkpoints_in_the_shared_store(site: Site) -> None:
    shared = {
        "PENSTOCK_STORE_URL": f"file://{site.folder}/shared",
        "PENSTOCK_SIGNING_KEY": "one key for both machines",
    }
    here = site.run("learner", data=site.folder / "here", **shared)
    end = site.feed(0, 2_000)
    wait_for(lambda: site.committed(0) == end, "learned", 60, here)
    here.send_signal(signal.SIGTERM)
    assert here.wait(20) == 0, site.output(0)
    there = site.run("learner", data=site.folder / "there", **shared)
    end = site.feed(0, 100)
    wait_for(lambda: site.committed(0) == end, "gone on", 60, there)
    there.send_signal(signal.SIGTERM)
    assert there.wait(20) == 0, site.output(1)
    assert "state recovered" not in site.output(1), "nothing had to be folded again"
    store = DirectoryCheckpoints(site.folder / "shared" / "cards" / "checkpoints", Signer(b"one key for both machines"))
    assert next(store.candidates("learner", 0)).checkpoint.offsets == {"examples": end}
    assert not (site.folder / "there" / "cards" / "checkpoints").exists()


@pytest.mark.parametrize("site", [1], indirect=True)
@pytest.mark.parametrize(
    ("url", "code", "words"),
    [
        ("gossip", 2, "PENSTOCK_STORE_URL"),
        ("memory://there", 2, "PENSTOCK_SIGNING_KEY"),
        ("file:///dev/null/there", 3, "PENSTOCK_STORE_URL"),
    ],
)
def test_a_store_that_cannot_be_used_is_one_line_at_the_start(site: Site, url: str, code: int, words: str) -> None:
    where = ("--pipeline", "cards.py", "--data-dir", str(site.data))
    ended = penstock(*where, "run", "learner", cwd=site.folder, PENSTOCK_STORE_URL=url)
    assert ended.returncode == code, ended.stderr
    assert ended.stderr.count("\n") == 1
    assert words in ended.stderr
