from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from penstock.errors import UsageError
from penstock.settings import Settings, load_settings


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory and no variables of the machine's."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"PENSTOCK_{name.upper()}", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_defaults_need_nothing() -> None:
    settings = load_settings()
    assert settings.data_dir == Path(".penstock")
    assert (settings.host, settings.port) == ("127.0.0.1", 8000)


def test_the_environment_wins_over_the_file(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (elsewhere / ".env").write_text("PENSTOCK_PORT=1\nPENSTOCK_HOST=h\nOTHER=x\n", encoding="utf-8")
    monkeypatch.setenv("PENSTOCK_PORT", "2")
    settings = load_settings()
    assert (settings.host, settings.port) == ("h", 2)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("PORT", "x"), ("PORT", "70000"), ("LOG_LEVEL", "loud"), ("SIGNING_KEY", "short")),
        # What no broker allows unless it is told to: the role would fail long after its start, and less clearly.
        *(("KAFKA_SESSION_TIMEOUT_MS", "1800001"), ("KAFKA_TRANSACTION_TIMEOUT_MS", "900001")),
    ],
)
def test_a_value_that_does_not_fit_is_one_line_that_names_the_variable(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"PENSTOCK_{name}", value)
    with pytest.raises(UsageError, match=f"^PENSTOCK_{name}: [^\n]+$"):
        load_settings()


def test_an_empty_variable_is_an_unset_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK_DATASETS_DIR", "")
    assert load_settings().datasets_dir is None


def test_a_file_that_is_not_text_is_a_usage_error(elsewhere: Path) -> None:
    (elsewhere / ".env").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match=r"^\.env: "):
        load_settings()


def test_they_are_frozen_and_secrets_are_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK_SIGNING_KEY", "sixteen-and-more-characters")
    settings = load_settings()
    assert "sixteen" not in repr(settings)
    with pytest.raises(ValidationError):
        settings.port = 1
