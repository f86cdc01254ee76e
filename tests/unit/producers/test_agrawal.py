"""The demo's stream."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from river.datasets.synth import Agrawal
from scipy.stats import ks_2samp

from penstock.contract import decoder_for
from pipelines.credit import PIPELINE
from producers.agrawal import SHIFTED_SALARY, credit_stream, drift_rows, prepared_stream
from producers.drifts import TrueDrift

EVENTS = 4000


def features(row: Any) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(row.request)["features"]
    return found


def test_rows_keep_the_contract_of_the_credit_pipeline() -> None:
    rows, _ = credit_stream(300, seed=1)
    for index, row in enumerate(rows):
        assert (row.row, row.id, row.entity, row.time_ms) == (index, str(index), str(index), index * 1000)
        request: Any = decoder_for("requests", PIPELINE)(row.request)
        assert list(request.features) == [feature.name for feature in PIPELINE.features]
        assert row.label is not None
        decoder_for("labels", PIPELINE)(row.label)


def test_equal_seeds_repeat_and_a_restart_continues() -> None:
    whole = list(credit_stream(EVENTS, seed=3)[0])
    assert list(credit_stream(EVENTS, seed=3, start=3100)[0]) == whole[3100:]
    assert list(credit_stream(EVENTS, seed=4)[0])[:5] != whole[:5]
    assert len(whole) == EVENTS


def test_every_true_change_is_named() -> None:
    _, changes = credit_stream(20_000, seed=1)
    assert changes == [
        TrueDrift(6000, "concept"),
        TrueDrift(11_000, "covariate", "salary"),
        TrueDrift(15_000, "concept", back=True),
        TrueDrift(15_000, "covariate", "salary", back=True),
    ]


def test_before_the_first_change_it_is_rivers_stream() -> None:
    rows, _ = credit_stream(EVENTS, seed=9)
    rivers = Agrawal(classification_function=0, seed=9, perturbation=0.05)
    for row, (expected, decision) in zip(rows, rivers.take(drift_rows(EVENTS).concept), strict=False):
        assert features(row)["salary"] == expected["salary"]
        assert features(row)["zipcode"] == str(expected["zipcode"])
        assert row.label is not None
        assert msgspec.json.decode(row.label)["value"] == str(decision)


def test_the_covariate_shift_is_strong_abrupt_and_ends() -> None:
    rows = [features(row)["salary"] for row in credit_stream(EVENTS, seed=2)[0]]
    at = drift_rows(EVENTS)
    before, during, after = rows[at.concept : at.covariate], rows[at.covariate : at.recurrence], rows[at.recurrence :]
    assert min(during) >= SHIFTED_SALARY[0]
    assert max(during) <= SHIFTED_SALARY[1]
    assert ks_2samp(before, during).statistic > 0.72
    assert ks_2samp(before, after).pvalue > 1e-4


def test_the_concept_change_contradicts_the_first_function_and_the_recurrence_agrees_again() -> None:
    def agrees(row: Any) -> bool:
        first = not 40 <= features(row)["age"] < 60
        return msgspec.json.decode(row.label)["value"] == str(int(first))

    agreed = [agrees(row) for row in credit_stream(EVENTS, seed=2)[0]]
    at = drift_rows(EVENTS)
    spans = [(0, at.concept), (at.concept, at.covariate), (at.recurrence, EVENTS)]
    first, second, last = (sum(agreed[start:stop]) / (stop - start) for start, stop in spans)
    assert first > 0.85
    assert second < 0.72
    assert last > 0.85


def test_a_written_stream_reads_back_and_is_made_once(tmp_path: Path) -> None:
    path = tmp_path / "stream.tsv"
    rows, changes = prepared_stream(path, 60, seed=4)
    expected, expected_changes = credit_stream(60, seed=4)
    assert list(rows) == list(expected)
    assert changes == expected_changes
    written = path.stat().st_mtime_ns
    assert len(list(prepared_stream(path, 60, seed=4)[0])) == 60
    assert path.stat().st_mtime_ns == written
