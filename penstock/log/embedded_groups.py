"""Groups in the embedded log's file: who is alive, who owns what, how far a group has come.

A member's *epoch* is a number that no other member of any group has ever had. ``owners`` names epochs, not members,
so whoever was replaced can be told from whoever replaced it, under the same name too. All functions run inside a
transaction of the caller.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from penstock.errors import LogError


class Liveness(NamedTuple):
    """When a member counts as dead. Heartbeats are CLOCK_MONOTONIC seconds, so only those of this boot count."""

    boot: str
    now_s: float
    timeout_s: float


def boot_id() -> str:
    """What tells this run of the machine from the one before; empty where the system does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


class View(NamedTuple):
    """A group as one transaction sees it: epochs by member name and by partition number."""

    changes: int
    members: dict[str, int]
    owners: dict[int, int]


def view(connection: sqlite3.Connection, group: str) -> View:
    """The group's members and living owners."""
    changes = connection.execute("SELECT changes FROM groups WHERE name = ?", (group,)).fetchone()[0]
    members = dict(connection.execute("SELECT name, epoch FROM members WHERE grp = ?", (group,)).fetchall())
    owners = connection.execute("SELECT number, epoch FROM owners WHERE grp = ?", (group,)).fetchall()
    living = set(members.values())
    return View(changes, members, {number: epoch for number, epoch in owners if epoch in living})


def changes_of(connection: sqlite3.Connection, group: str) -> int:
    """A number that grows whenever members should look at their group again."""
    changes: int = connection.execute("SELECT changes FROM groups WHERE name = ?", (group,)).fetchone()[0]
    return changes


def changed(connection: sqlite3.Connection, group: str) -> None:
    """Make all members look at their group again."""
    connection.execute("UPDATE groups SET changes = changes + 1 WHERE name = ?", (group,))


def enter(connection: sqlite3.Connection, group: str, partitions: int, member: str, alive: Liveness) -> int:
    """Become the one of this name and return its epoch; what the former one owned is free at once.

    Raises:
        LogError: the group has another number of partitions.
    """
    row = connection.execute("SELECT partitions FROM groups WHERE name = ?", (group,)).fetchone()
    if row is None:
        connection.execute("INSERT INTO groups VALUES (?, ?, 0)", (group, partitions))
    elif row[0] != partitions:
        raise LogError(f"group {group} shares {row[0]} partitions, not {partitions}; use another group name")
    former = epoch_of(connection, group, member)
    if former is not None:
        connection.execute("DELETE FROM owners WHERE grp = ? AND epoch = ?", (group, former))
    connection.execute("UPDATE counters SET value = value + 1 WHERE name = 'epoch'")
    epoch: int = connection.execute("SELECT value FROM counters WHERE name = 'epoch'").fetchone()[0]
    connection.execute(
        "INSERT OR REPLACE INTO members VALUES (?, ?, ?, ?, ?)", (group, member, epoch, alive.boot, alive.now_s)
    )
    expire(connection, group, epoch, alive)
    changed(connection, group)
    return epoch


def leave(connection: sqlite3.Connection, group: str, epoch: int) -> None:
    """Stop being a member and free what ``epoch`` owns."""
    connection.execute("DELETE FROM owners WHERE grp = ? AND epoch = ?", (group, epoch))
    if connection.execute("DELETE FROM members WHERE grp = ? AND epoch = ?", (group, epoch)).rowcount:
        changed(connection, group)


def beat(connection: sqlite3.Connection, epoch: int, alive: Liveness) -> None:
    """Say that the member of ``epoch`` lives; nothing where it was replaced or expired."""
    connection.execute("UPDATE members SET heartbeat_s = ? WHERE epoch = ?", (alive.now_s, epoch))


def _dead(alive: Liveness) -> tuple[str, float, float]:
    # A heartbeat of the future is one of an earlier boot, where the system does not tell boots apart.
    return (alive.boot, alive.now_s - alive.timeout_s, alive.now_s + alive.timeout_s)


def any_dead(connection: sqlite3.Connection, group: str, alive: Liveness) -> bool:
    """Whether ``expire`` would remove a member."""
    return (
        connection.execute(
            "SELECT 1 FROM members WHERE grp = ? AND (boot <> ? OR heartbeat_s < ? OR heartbeat_s > ?) LIMIT 1",
            (group, *_dead(alive)),
        ).fetchone()
        is not None
    )


def expire(connection: sqlite3.Connection, group: str, own_epoch: int, alive: Liveness) -> None:
    """Remove the members that are dead (never oneself); what they own is free."""
    removed = connection.execute(
        "DELETE FROM members WHERE grp = ? AND epoch <> ? AND (boot <> ? OR heartbeat_s < ? OR heartbeat_s > ?)",
        (group, own_epoch, *_dead(alive)),
    ).rowcount
    if removed:
        changed(connection, group)


def take_ownership(connection: sqlite3.Connection, group: str, epoch: int, wanted: range) -> list[int]:
    """Own what is free of ``wanted`` (nothing where ``epoch`` is no member any more).

    Returns what ``epoch`` now owns of ``wanted``.
    """
    _, members, owners = view(connection, group)
    if epoch not in members.values():
        return []
    free = [number for number in wanted if number not in owners]
    connection.executemany("INSERT OR REPLACE INTO owners VALUES (?, ?, ?)", [(group, p, epoch) for p in free])
    return [number for number in wanted if owners.get(number, epoch) == epoch]


def give_up(connection: sqlite3.Connection, group: str, epoch: int, partitions: Sequence[int]) -> None:
    """Free ``partitions`` as far as ``epoch`` owns them."""
    connection.executemany(
        "DELETE FROM owners WHERE grp = ? AND epoch = ? AND number = ?", [(group, epoch, p) for p in partitions]
    )
    changed(connection, group)


def owner_of(connection: sqlite3.Connection, group: str, partition: int) -> int | None:
    """The epoch that owns ``partition``, or None."""
    row = connection.execute("SELECT epoch FROM owners WHERE grp = ? AND number = ?", (group, partition)).fetchone()
    return None if row is None else int(row[0])


def epoch_of(connection: sqlite3.Connection, group: str, member: str) -> int | None:
    """The epoch of the member of this name, or None."""
    row = connection.execute("SELECT epoch FROM members WHERE grp = ? AND name = ?", (group, member)).fetchone()
    return None if row is None else int(row[0])


def committed_of(connection: sqlite3.Connection, group: str, partition_id: int) -> int | None:
    """The group's committed offset, or None."""
    row = connection.execute(
        "SELECT offset FROM committed WHERE grp = ? AND partition = ?", (group, partition_id)
    ).fetchone()
    return None if row is None else int(row[0])
