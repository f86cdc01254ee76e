import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.cli.main import hoist_globals, main

TOY = """
from penstock.spec import Numeric, Pipeline
P = Pipeline(name="p", task="regression", target="y", features=(Numeric("x"),))
"""


def run(arguments, capsys):
    """Exit code, standard output and standard error of one command."""
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    captured = capsys.readouterr()
    return stopped.value.code, captured.out, captured.err


def test_global_options_may_stand_after_the_command():
    moved = hoist_globals(["backtest", "--data", "x.csv", "--pipeline", "p.py", "--json", "--data-dir=d"])
    assert moved == ["--pipeline", "p.py", "--json", "--data-dir=d", "backtest", "--data", "x.csv"]


def test_what_follows_a_double_dash_stays():
    assert hoist_globals(["run", "--", "--json"]) == ["run", "--", "--json"]


@given(st.lists(st.sampled_from(["backtest", "--data", "x", "--pipeline", "p.py", "--json", "--log=embedded"])))
def test_hoisting_loses_nothing(arguments):
    assert sorted(hoist_globals(arguments)) == sorted(arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        ["frobnicate"],
        ["backtest", "--no-such-option"],
        ["run"],
        ["run", "plumber"],
        ["backtest"],
        ["backtest", "--data", "nowhere.csv", "--pipeline", "nowhere.py"],
        ["events", "tail", "gossip"],
        ["demo", "--dataset", "nothing"],
        ["demo", "--events", "0"],
        ["demo", "--resume"],
        ["demo", "--log", "kafka://localhost:9092"],
        ["init", "--from-csv", "nowhere.csv", "--target", "y"],
        ["datasets", "fetch", "nothing"],
    ],
)
def test_bad_usage_is_one_line_and_exit_2(arguments, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PENSTOCK_DATASETS_DIR", str(tmp_path))
    code, out, err = run(["--data-dir", str(tmp_path / "data"), *arguments], capsys)
    assert code == 2
    assert err.count("\n") == 1, err
    assert err.startswith("penstock: ")
    assert "Traceback" not in err + out


def test_a_setting_that_does_not_fit_names_its_variable(capsys, monkeypatch):
    monkeypatch.setenv("PENSTOCK_PORT", "ninety")
    code, _, err = run(["doctor"], capsys)
    assert code == 2
    assert "PENSTOCK_PORT" in err


def test_version(capsys):
    code, out, _ = run(["--version"], capsys)
    assert code == 0
    assert out.startswith("penstock ")


def test_doctor_checks_this_installation(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, _ = run(["doctor", "--data-dir", str(tmp_path / "data"), "--json"], capsys)
    checks = {check["name"]: check for check in json.loads(out)}
    assert code == 0
    assert checks["data directory"]["ok"] is True
    assert checks["pipeline"]["ok"] is None


def test_doctor_tells_a_log_that_is_away_from_a_pipeline_that_does_not_load(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.py").write_text(TOY)
    code, out, _ = run(["doctor", "--pipeline", "p.py", "--log", "kafka://localhost:1"], capsys)
    assert code == 3
    assert "ok      pipeline: p.py" in out
    assert "FAILED  log: kafka cannot be reached (localhost:1" in out


def test_doctor_names_who_has_an_api_key_and_never_the_key(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PENSTOCK_HOST", "0.0.0.0")  # noqa: S104
    code, out, _ = run(["doctor"], capsys)
    assert "API keys: none; no changes are taken: set PENSTOCK_API_KEYS" in out
    monkeypatch.setenv("PENSTOCK_API_KEYS", "ann:admin:0123456789abcdef")
    code, out, _ = run(["doctor"], capsys)
    assert code == 0
    assert "API keys: ann (admin)" in out
    monkeypatch.setenv("PENSTOCK_API_KEYS", "ann:owner:0123456789abcdef")
    code, out, err = run(["doctor"], capsys)
    assert code == 3
    assert "FAILED  API keys: PENSTOCK_API_KEYS: the role of ann is not one of" in out
    assert "0123456789abcdef" not in out + err


def test_doctor_fails_with_3_where_the_data_directory_cannot_be_written(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").write_text("a file, not a folder")
    code, out, _ = run(["doctor", "--data-dir", str(tmp_path / "data")], capsys)
    assert code == 3
    assert "FAILED  data directory" in out


@pytest.mark.parametrize("group", [[], ["topics"], ["models"], ["dead-letters"], ["datasets"], ["events"]])
def test_a_group_of_commands_alone_shows_its_help_and_no_empty_line(group, capsys):
    code, out, err = run(group, capsys)
    assert code == 2
    assert "Usage: " in out + err
    assert "penstock: " not in err


@pytest.mark.parametrize("command", [["events", "tail", "decisions"], ["dead-letters", "list"], ["models", "list"]])
def test_what_only_reads_the_log_needs_no_key_of_the_store(command, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PENSTOCK_STORE_URL", "memory://shared")
    monkeypatch.delenv("PENSTOCK_SIGNING_KEY", raising=False)
    (tmp_path / "p.py").write_text(TOY)
    code, _, err = run([*command, "--pipeline", "p.py", "--data-dir", str(tmp_path / "data")], capsys)
    assert code == 0, err


def test_doctor_looks_at_the_store_and_says_how_far_the_topics_go(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.py").write_text(TOY)
    arguments = ["doctor", "--pipeline", "p.py", "--data-dir", str(tmp_path / "data")]
    code, out, _ = run(arguments, capsys)
    assert code == 0
    assert "log: end offsets: requests 0" in out
    monkeypatch.setenv("PENSTOCK_STORE_URL", "memory://shared")
    code, out, _ = run(arguments, capsys)
    assert code == 3
    assert "FAILED  store: PENSTOCK_STORE_URL is shared" in out


def test_the_command_line_starts_without_what_learning_needs():
    code = "import sys, penstock.cli.main; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "penstock" in loaded
    assert not {"river", "sklearn", "scipy", "pandas", "mlflow", "optuna"} & set(loaded)
