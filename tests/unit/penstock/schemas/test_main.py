"""The command: writes, checks, and refuses to break readers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from penstock.schemas.__main__ import generated_files, run, stale_files

ROOT = Path(__file__).parents[4]


def test_the_committed_files_are_current() -> None:
    assert stale_files(ROOT / "docs") == []


def test_write_then_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--docs", str(tmp_path)]) == 0
    assert {Path(line) for line in capsys.readouterr().out.splitlines()} == {tmp_path / p for p in generated_files()}
    assert run(["--docs", str(tmp_path), "--check"]) == 0
    assert run(["--docs", str(tmp_path)]) == 0
    assert capsys.readouterr().out == ""


def test_check_names_each_stale_file_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(["--docs", str(tmp_path)])
    (tmp_path / "metrics.md").unlink()
    (tmp_path / "settings.md").write_text("old", encoding="utf-8")
    assert run(["--docs", str(tmp_path), "--check"]) == 1
    assert capsys.readouterr().err.splitlines() == [f"stale: {tmp_path / n}" for n in ("metrics.md", "settings.md")]
    assert (tmp_path / "settings.md").read_text(encoding="utf-8") == "old"
    assert not (tmp_path / "metrics.md").exists()


def test_a_breaking_change_is_written_only_when_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(["--docs", str(tmp_path)])
    path = tmp_path / "schemas" / "labels.json"
    schema = json.loads(path.read_text(encoding="utf-8"))
    schema["$defs"]["Label"]["properties"]["source"] = {"type": "string"}
    path.write_text(json.dumps(schema), encoding="utf-8")
    assert run(["--docs", str(tmp_path)]) == 1
    assert "breaks its readers: labels: source: removed" in capsys.readouterr().err
    assert "source" in path.read_text(encoding="utf-8")
    assert run(["--docs", str(tmp_path), "--allow-breaking"]) == 0
    assert "source" not in json.loads(path.read_text(encoding="utf-8"))["$defs"]["Label"]["properties"]


def test_a_contract_whose_topic_is_gone_is_a_break(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(["--docs", str(tmp_path)])
    (tmp_path / "schemas" / "ghosts.json").write_text("{}", encoding="utf-8")
    assert run(["--docs", str(tmp_path), "--check"]) == 1
    assert "ghosts: the whole contract is gone" in capsys.readouterr().err
    assert run(["--docs", str(tmp_path), "--allow-breaking"]) == 0
    assert not (tmp_path / "schemas" / "ghosts.json").exists()
