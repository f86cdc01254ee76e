"""The pipelines that ship: each on the data it is made for."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from penstock.contract import decoder_for
from penstock.spec import Rows, load_pipeline
from producers.catalogue import DATASETS
from producers.datasets import dataset_path
from producers.rows import table_rows

ROOT = Path(__file__).parents[3]
DATA = Path(os.environ.get("PENSTOCK_DATASETS_DIR", ROOT.parent / "shared" / "data"))
FILES = sorted(path for path in (ROOT / "pipelines").glob("*.py") if path.stem != "__init__")
POSITIVES = {
    "sba_loans_22k": 4693,
    "taiwan_credit": 6636,
    "elec2": 19_237,
    "noaa_weather": 5698,
    "bike_demand": 8708,
}


def test_one_file_for_the_demo_and_for_every_data_set() -> None:
    assert {path.stem for path in FILES} == {"credit", *DATASETS}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_holds_the_pipeline_of_its_name(path: Path) -> None:
    pipeline = load_pipeline(path)
    assert pipeline.name == path.stem
    assert pipeline.label_delay in (Rows(300), Rows(500))


@pytest.mark.data
@pytest.mark.parametrize("name", DATASETS)
def test_every_real_row_keeps_the_contract(name: str) -> None:
    if not DATA.is_dir():
        pytest.skip(f"{DATA} is not there: set PENSTOCK_DATASETS_DIR")
    pipeline = load_pipeline(ROOT / "pipelines" / f"{name}.py")
    check_request, check_label = decoder_for("requests", pipeline), decoder_for("labels", pipeline)
    outcomes: Counter[str] = Counter()
    ids = set()
    newest = None
    for row in table_rows(pipeline, dataset_path(name, DATA)):
        check_request(row.request)
        assert row.label is not None
        label: Any = check_label(row.label)
        outcomes[label.value] += 1
        ids.add(row.id)
        assert newest is None or newest <= row.time_ms
        newest = row.time_ms
    assert outcomes.total() == len(ids) == DATASETS[name].rows
    assert outcomes[pipeline.positive] == POSITIVES[name]
