"""What a restore refuses before it changes anything."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from penstock.cli.backup_format import Manifest
from penstock.cli.backup_sources import blobs_of
from penstock.cli.restore import _check_store_empty
from penstock.errors import UsageError
from penstock.settings import Settings


def test_a_store_that_holds_checkpoints_is_not_replaced_unasked(tmp_path: Path) -> None:
    settings = Settings(
        data_dir=tmp_path / "data", store_url=f"file://{tmp_path}/store", signing_key=SecretStr("0123456789abcdef")
    )
    manifest = Manifest(
        format=1,
        version="0",
        created="2026-01-01T00:00:00+00:00",
        pipelines=["toy"],
        log="kafka",
        registry=False,
        data_dir="data",
        key_mark="",
        files={},
    )
    _check_store_empty(settings, manifest)
    blobs_of(settings, "toy", "checkpoints").write("learner/0/000000000001-00.checkpoint", b"state")
    with pytest.raises(UsageError, match="holds checkpoints of toy already"):
        _check_store_empty(settings, manifest)
