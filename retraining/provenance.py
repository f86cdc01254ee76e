"""Which code and which libraries a model was fitted with, found in files: no program is started for it."""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from importlib.metadata import distributions
from pathlib import Path

#: Lock files by name, the first that is there counts.
LOCK_FILES = (
    "requirements/lock.txt",
    "pylock.toml",
    "uv.lock",
    "poetry.lock",
    "pdm.lock",
    "Pipfile.lock",
    "requirements.txt",
)
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?\Z")


@lru_cache(maxsize=8)
def provenance(folder: Path) -> dict[str, str]:
    """What is known of the code in ``folder`` and the libraries of this process, as lineage.

    ``git_commit`` of the repository that ``folder`` lies in, ``lock_file`` and ``lock_digest`` (SHA-256) of the lock
    file in its root (outside a repository: in ``folder``): each only where there is one. ``environment_digest`` is
    always there: SHA-256 over the names and versions of all installed distributions.
    """
    root = next((place for place in (folder, *folder.parents) if (place / ".git").exists()), None)
    found = {"environment_digest": environment_digest()}
    commit = None if root is None else git_commit(root)
    if commit is not None:
        found["git_commit"] = commit
    for name in LOCK_FILES:
        path = (root or folder) / name
        if path.is_file():
            found |= {"lock_file": name, "lock_digest": hashlib.sha256(path.read_bytes()).hexdigest()}
            break
    return found


def environment_digest() -> str:
    """SHA-256 over ``name==version`` of every installed distribution, sorted."""
    installed = {f"{each.name.lower()}=={each.version}" for each in distributions() if each.name}
    return hashlib.sha256("\n".join(sorted(installed)).encode()).hexdigest()


def git_commit(root: Path) -> str | None:
    """The commit that is checked out in ``root``, read from git's files; None where that cannot be told.

    Knows plain repositories and linked worktrees, loose and packed references.
    """
    try:
        folder = _git_folder(root / ".git")
        head = (folder / "HEAD").read_text(encoding="utf-8").strip()
        if not head.startswith("ref: "):
            return head if _COMMIT.match(head) else None
        return _resolved(folder, head.removeprefix("ref: "))
    except (OSError, UnicodeDecodeError):
        return None


def _git_folder(dot_git: Path) -> Path:
    if dot_git.is_dir():
        return dot_git
    return dot_git.parent / dot_git.read_text(encoding="utf-8").strip().removeprefix("gitdir: ")


def _resolved(folder: Path, reference: str) -> str | None:
    shared = folder / "commondir"
    common = folder / shared.read_text(encoding="utf-8").strip() if shared.is_file() else folder
    for place in (folder, common):
        loose = place / reference
        if loose.is_file():
            text = loose.read_text(encoding="utf-8").strip()
            return text if _COMMIT.match(text) else None
    packed = common / "packed-refs"
    for line in packed.read_text(encoding="utf-8").splitlines() if packed.is_file() else ():
        commit, _, name = line.partition(" ")
        if name == reference and _COMMIT.match(commit):
            return commit
    return None
