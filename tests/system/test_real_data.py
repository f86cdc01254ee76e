"""The whole system on real data: a headless demo with real processes, and a backtest that repeats bit for bit."""

import csv
import gzip
import json
import os
from pathlib import Path

import pytest

from penstock.spec import load_pipeline
from tests.system.folding import check_folds
from tests.system.log_reader import LogReader
from tests.system.processes import penstock
from tests.system.test_demo import check_exactly_once

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("PENSTOCK_DATASETS_DIR", ROOT.parent / "shared" / "data"))

pytestmark = [
    pytest.mark.system,
    pytest.mark.data,
    pytest.mark.skipif(not DATA.is_dir(), reason="REAL DATA IS NOT TESTED: set PENSTOCK_DATASETS_DIR"),
]

#: The row from which a feature of the weather is in another unit.
TURN = 2000
TIMINGS = ("events_per_second", "peak_rss_mb")


def test_a_demo_on_real_loans_finds_drift_and_keeps_every_promise(tmp_path):
    events = 3500
    arguments = ("--headless", "--dataset", "taiwan_credit", "--events", str(events), "--json")
    finished = penstock("demo", *arguments, "--data-dir", "data", cwd=tmp_path, PENSTOCK_DATASETS_DIR=str(DATA))
    assert finished.returncode == 0, finished.stderr
    report = json.loads(finished.stdout)
    assert (report["events"], report["labelled"], report["dead_letters"]) == (events, events, 0)
    first = min(drift["row"] for drift in report["true_drifts"])
    assert any(first <= incident["position"] <= first + 1500 for incident in report["drift"])
    check_exactly_once(LogReader(tmp_path / "data" / "log.db", "taiwan_credit"), events)
    check_folds(load_pipeline(ROOT / "pipelines" / "taiwan_credit.py"), tmp_path / "data")


def test_a_pipeline_made_from_real_data_backtests_unedited_and_the_same_twice(tmp_path):
    rows = 3000
    with gzip.open(DATA / "noaa_weather.csv.gz", "rt", newline="") as file:
        lines = [line for _, line in zip(range(rows + 1), csv.reader(file), strict=False)]
    celsius = lines[0].index("feat_1")
    for line in lines[TURN:]:  # a thermometer is replaced
        line[celsius] = f"{(float(line[celsius]) - 32.0) / 1.8:.1f}"
    with (tmp_path / "weather.csv").open("w", newline="") as file:
        csv.writer(file).writerows(lines)
    assert penstock("init", "--from-csv", "weather.csv", "--target", "target", cwd=tmp_path).returncode == 0
    reports = []
    for hash_seed in ("1", "2"):
        run = penstock("backtest", "--data", "weather.csv", "--json", cwd=tmp_path, PYTHONHASHSEED=hash_seed)
        assert run.returncode == 0, run.stderr
        reports.append(json.loads(run.stdout))
    for report in reports:
        assert all(report.pop(timing) > 0 for timing in TIMINGS)
    assert reports[0] == reports[1]
    assert reports[0]["events"] == reports[0]["labelled"] == rows
    assert reports[0]["accuracy"] > reports[0]["majority_accuracy"]
    assert any(TURN <= incident["position"] < TURN + 500 for incident in reports[0]["drift"])
