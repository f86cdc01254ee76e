"""What git's files and lock files say, in every form that they have."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

from retraining.provenance import environment_digest, git_commit, provenance

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def repository(root: Path, head: str = "ref: refs/heads/main\n") -> Path:
    (root / ".git" / "refs" / "heads").mkdir(parents=True)
    (root / ".git" / "HEAD").write_text(head)
    return root / ".git"


def test_a_loose_reference(tmp_path: Path) -> None:
    (repository(tmp_path) / "refs" / "heads" / "main").write_text(f"{COMMIT}\n")
    assert git_commit(tmp_path) == COMMIT


def test_a_packed_reference(tmp_path: Path) -> None:
    packed = f"# pack-refs with: peeled\n{'f' * 40} refs/heads/other\n{COMMIT} refs/heads/main\n^{'e' * 40}\n"
    (repository(tmp_path) / "packed-refs").write_text(packed)
    assert git_commit(tmp_path) == COMMIT


def test_a_detached_head(tmp_path: Path) -> None:
    repository(tmp_path, f"{COMMIT}\n")
    assert git_commit(tmp_path) == COMMIT


@pytest.mark.parametrize("head", ["ref: refs/heads/none\n", "rubbish", "", "ref: \n"])
def test_what_cannot_be_told_is_none(tmp_path: Path, head: str) -> None:
    repository(tmp_path, head)
    assert git_commit(tmp_path) is None


def test_no_repository_at_all(tmp_path: Path) -> None:
    assert git_commit(tmp_path) is None
    found = provenance(tmp_path)
    assert "git_commit" not in found
    assert found["environment_digest"] == environment_digest()


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_git_itself_agrees_in_a_worktree(tmp_path: Path) -> None:
    def git(*arguments: str, where: Path) -> str:
        settings = ("-c", "user.name=a", "-c", "user.email=a@example.org")
        done = subprocess.run(["git", *settings, *arguments], cwd=where, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    main = tmp_path / "main"
    main.mkdir()
    git("init", "-q", where=main)
    git("commit", "-q", "--allow-empty", "-m", "one", where=main)
    git("worktree", "add", "-q", "-b", "side", str(tmp_path / "side"), where=main)
    assert git_commit(main) == git_commit(tmp_path / "side") == git("rev-parse", "HEAD", where=main)


def test_the_lock_file_of_the_root_counts(tmp_path: Path) -> None:
    repository(tmp_path, f"{COMMIT}\n")
    (tmp_path / "uv.lock").write_text("b")
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements" / "lock.txt").write_text("a")
    inside = tmp_path / "pipelines"
    inside.mkdir()
    found = provenance(inside)
    assert found["git_commit"] == COMMIT
    assert (found["lock_file"], found["lock_digest"]) == ("requirements/lock.txt", hashlib.sha256(b"a").hexdigest())
