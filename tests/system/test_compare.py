"""Backtests of variants, and reports of ranges, through the command line."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

pytestmark = pytest.mark.system
ROWS, TURN = 1200, 600


def penstock(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "penstock", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline and its data: at row 600 the labels turn round."""
    made = tmp_path_factory.mktemp("compare")
    random_ = random.Random(2)
    lines = ["amount,kind,paid"]
    for row in range(ROWS):
        amount = random_.gauss(0.0, 1.0)
        lines.append(f"{amount:.4f},{random_.choice('ab')},{int((amount > 0) != (row >= TURN))}")
    (made / "loans.csv").write_text("\n".join(lines) + "\n")
    done = penstock("init", "--from-csv", "loans.csv", "--target", "paid", cwd=made)
    assert done.returncode == 0, done.stderr
    file = made / "pipelines" / "loans.py"
    text = file.read_text()
    assert "tier" not in text
    text = text.replace("Pipeline(\n", 'Pipeline(\n    tier="light",\n', 1)
    file.write_text(text)
    return made


def test_variants_over_one_history(folder: Path) -> None:
    done = penstock(
        "backtest",
        "--data",
        "loans.csv",
        "--known-drift",
        f"concept@{TURN}",
        "--compare",
        "drift.quiet_looks=5",
        "--compare",
        "retraining.enabled=false,drift.look_every=50",
        "--report",
        "report.json",
        "--html",
        "out/page.html",
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads((folder / "report.json").read_text())
    assert report["true_drifts"] == [{"row": TURN, "kind": "concept", "feature": None, "width": 0, "back": False}]
    declared, quiet, off = report["comparison"]["variants"]
    assert [declared["method"], off["method"]] == ["run", "run"]
    assert quiet["changes"] == {"drift.quiet_looks": 5}
    assert off["retrainings"] == []
    assert declared["detection"]["found"] == 1
    assert [item["position"] for item in declared["incidents"]] == [item["position"] for item in report["drift"]]
    assert {model["kind"] for model in report["comparison"]["models"]} >= {"served", "online", "baseline"}
    assert "drift.quiet_looks=5" in done.stdout
    ElementTree.fromstring((folder / "out" / "page.html").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["backtest", "--data", "loans.csv", "--compare", "drift.windows=3"], "no setting 'drift.windows'"),
        (["backtest", "--data", "loans.csv", "--known-drift", "sudden@3"], "KIND@ROW"),
        (["drift", "report", "--from", "labels/0:0-5", "--against", "requests/0:0-5"], "the topic must be one of"),
        (["drift", "report", "--from", "requests/0:0-5", "--against", "requests/0:0-5"], "holds offsets 0 to 0"),
        (["drift", "report", "--from", "requests/0:0-5", "--against", "examples/0:0-5"], "different columns"),
    ],
)
def test_bad_input_is_one_line(folder: Path, arguments: list[str], said: str) -> None:
    done = penstock(*arguments, cwd=folder)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_report_of_two_ranges(folder: Path) -> None:
    sent = penstock("replay", "--data", "loans.csv", "--rate", "1000000", cwd=folder)
    assert sent.returncode == 0, sent.stderr
    done = penstock(
        "--json",
        "drift",
        "report",
        "--from",
        f"requests/0:{TURN}-{ROWS}",
        "--against",
        f"requests/0:0-{TURN}",
        "--out",
        "drift.html",
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["rows"] == [TURN, ROWS - TURN]
    assert set(found["columns"]) == {"amount", "kind"}
    assert "<html" in (folder / "drift.html").read_text(encoding="utf-8")
