"""Known public data sets."""

from __future__ import annotations

import gzip
import io
import os
import threading
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO, Any

import pytest

from penstock.errors import DependencyError, PenstockError, UsageError
from penstock.spec import load_pipeline
from producers import datasets
from producers.catalogue import DATASETS
from producers.conversions import bike_from_zip, elec2_from_arff, taiwan_from_uci
from producers.datasets import dataset_path, demo_drifts, describe, fetch, normalised_field, rows_digest, verify
from producers.drifts import parse_injection

ROOT = Path(__file__).parents[3]
DATA = Path(os.environ.get("PENSTOCK_DATASETS_DIR", ROOT.parent / "shared" / "data"))


def zipped(name: str, text: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, text)
    return buffer.getvalue()


ARFF = b"@relation e\n@attribute date numeric\n\n@data\n% note\n0,2,0.5,1.0,1,1,1,1,UP\n0,'3',0.5,1.0,1,1,1,1,DOWN\n"
HOURS = "instant,temp,atemp,hum,windspeed,cnt\n1,0.24,0.2879,0.81,0.0,142\n2,0.22,0.2727,0.80,0,141\n"


@pytest.mark.parametrize(
    ("convert", "data", "rows"),
    [
        (taiwan_from_uci, b"\xef\xbb\xbfID,X1,Y\n1,20000.0,1\n2,5,0\n", [["1", "20000.0", "1"], ["2", "5", "0"]]),
        (taiwan_from_uci, b"1,20000,1\n", [["1", "20000", "1"]]),
        (
            elec2_from_arff,
            ARFF,
            [["0", "2", "0.5", "1.0", "1", "1", "1", "1", "1"], ["0", "3", "0.5", "1.0", "1", "1", "1", "1", "0"]],
        ),
        (
            elec2_from_arff,
            ARFF.replace(b"@data", b"@DATA"),
            [["0", "2", "0.5", "1.0", "1", "1", "1", "1", "1"], ["0", "3", "0.5", "1.0", "1", "1", "1", "1", "0"]],
        ),
        (
            bike_from_zip,
            zipped("hour.csv", HOURS),
            [["0.24", "0.2879", "0.81", "0.0", "high"], ["0.22", "0.2727", "0.80", "0", "low"]],
        ),
    ],
)
def test_conversions(convert: Callable[[bytes], Iterator[list[str]]], data: bytes, rows: list[list[str]]) -> None:
    assert [list(row) for row in convert(data)] == rows


@pytest.mark.parametrize(
    ("convert", "data"),
    [(elec2_from_arff, b"<html>"), (bike_from_zip, b"no zip"), (bike_from_zip, zipped("day.csv", ""))],
)
def test_what_a_source_should_not_send(convert: Callable[[bytes], Iterator[list[str]]], data: bytes) -> None:
    with pytest.raises(DependencyError, match="did not send"):
        list(convert(data))


@pytest.mark.parametrize(
    ("text", "normal"),
    [("20000.0", "20000"), (" 1e3 ", "1000"), ("0.10", "0.1"), ("NA", ""), ("-0.0", "0"), ("30-Sep-97", "30-Sep-97")],
)
def test_normalised_fields(text: str, normal: str) -> None:
    assert normalised_field(text) == normal


def test_the_digest_is_of_rows_not_of_their_writing() -> None:
    assert rows_digest(["a"], [["1.0"], [" x"]]) == rows_digest(["a"], [["1"], ["x "]])
    assert rows_digest(["a"], [["1"]])[0] != rows_digest(["b"], [["1"]])[0]
    assert rows_digest(["a", "b"], [["1", "2"]])[0] != rows_digest(["a", "b"], [["2", "1"]])[0]


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A small elec2 on a local HTTP server: ``source(body, status)`` sets what it answers and returns an opener."""
    answer: dict[str, Any] = {"body": ARFF, "status": 200}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(answer["status"])
            self.end_headers()
            self.wfile.write(answer["body"])

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    elec2 = DATASETS["elec2"]
    digest, count = rows_digest(elec2.columns, elec2_from_arff(ARFF))
    monkeypatch.setitem(datasets.DATASETS, "elec2", replace(elec2, sha256=digest, rows=count))

    def opener(url: str) -> AbstractContextManager[IO[bytes]]:
        assert url == elec2.url
        found: AbstractContextManager[IO[bytes]] = urllib.request.urlopen(
            f"http://127.0.0.1:{server.server_port}/electricity.arff", timeout=5
        )
        return found

    def serve(body: bytes = ARFF, status: int = 200) -> Any:
        answer.update(body=body, status=status)
        return opener

    yield serve
    server.shutdown()
    thread.join()
    server.server_close()


def test_fetch_converts_verifies_and_writes(source: Any, tmp_path: Path) -> None:
    path = fetch("elec2", tmp_path / "new", source())
    assert path == dataset_path("elec2", tmp_path / "new")
    assert gzip.decompress(path.read_bytes()).splitlines() == [
        b"date,day,period,nswprice,nswdemand,vicprice,vicdemand,transfer,class",
        b"0,2,0.5,1,1,1,1,1,1",
        b"0,3,0.5,1,1,1,1,1,0",
    ]
    verify("elec2", path)
    again = fetch("elec2", tmp_path / "new", source(b"", 500))  # what is there and right is kept
    assert again == path


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (ARFF.replace(b"0.5", b"0.6"), 200, "other rows than the published ones"),
        (b"<html>sorry</html>", 200, "did not send an ARFF file"),
        (b"@data\n\xff\xfe", 200, "sent something unexpected"),
        (b"", 404, "cannot be reached"),
    ],
)
def test_fetch_writes_nothing_that_is_wrong(source: Any, tmp_path: Path, body: bytes, status: int, says: str) -> None:
    with pytest.raises(DependencyError, match=says) as caught:
        fetch("elec2", tmp_path, source(body, status))
    assert caught.value.exit_code == 3
    assert list(tmp_path.iterdir()) == []


def test_the_usual_opener_reads_an_address(source: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with source()(DATASETS["elec2"].url) as response:
        address = response.url
    monkeypatch.setitem(datasets.DATASETS, "elec2", replace(datasets.DATASETS["elec2"], url=address))
    verify("elec2", fetch("elec2", tmp_path))


def test_a_changed_file_is_not_taken_for_the_data_set(source: Any, tmp_path: Path) -> None:
    path = fetch("elec2", tmp_path, source())
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()).replace(b"0.5", b"0.7")))
    with pytest.raises(DependencyError, match="holds other rows"):
        fetch("elec2", tmp_path, source())


def test_what_cannot_be_fetched_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(DependencyError, match="by hand"):
        fetch("sba_loans_22k", tmp_path)


@pytest.mark.parametrize(
    ("name", "directory", "error", "says"),
    [
        ("nope", Path(), UsageError, "there are sba_loans_22k"),
        ("elec2", None, DependencyError, "set PENSTOCK_DATASETS_DIR"),
        ("elec2", Path("nowhere"), DependencyError, "penstock datasets fetch elec2"),
        ("noaa_weather", Path("nowhere"), DependencyError, "by hand"),
    ],
)
def test_a_missing_data_set_gets_one_clear_line(
    name: str, directory: Path | None, error: type[PenstockError], says: str
) -> None:
    with pytest.raises(error, match=says) as caught:
        dataset_path(name, directory)
    assert "\n" not in str(caught.value)


def test_a_plain_csv_is_found_too(tmp_path: Path) -> None:
    (tmp_path / "elec2.csv").write_text("x")
    assert dataset_path("elec2", tmp_path) == tmp_path / "elec2.csv"
    here = {entry["name"]: entry["here"] for entry in describe(tmp_path)}
    assert here == dict.fromkeys(DATASETS, False) | {"elec2": True}


@pytest.mark.parametrize("name", DATASETS)
def test_every_data_set_has_a_pipeline_and_drift_at_known_places(name: str) -> None:
    dataset = DATASETS[name]
    pipeline = load_pipeline(ROOT / "pipelines" / f"{name}.py")
    assert pipeline.name == name
    assert pipeline.target == dataset.target
    used = {feature.name for feature in pipeline.features} | set(pipeline.ignored) | {pipeline.target}
    assert used == set(dataset.columns)
    injected, own = demo_drifts(name, 10_000)
    parsed = [parse_injection(text, pipeline) for text in injected]
    assert parsed or own
    assert all(2000 < injection.row < 10_000 for injection in parsed)
    assert demo_drifts(name, 10**9) == demo_drifts(name, dataset.rows)


def test_own_drifts_beyond_the_end_are_left_out() -> None:
    assert demo_drifts("sba_loans_22k", 7000) == ([], [])
    assert [drift.row for drift in demo_drifts("sba_loans_22k", 8000)[1]] == [7341]


@pytest.mark.data
@pytest.mark.parametrize("name", DATASETS)
def test_the_real_files_are_the_published_rows(name: str) -> None:
    if not DATA.is_dir():
        pytest.skip(f"{DATA} is not there: set PENSTOCK_DATASETS_DIR")
    verify(name, dataset_path(name, DATA))
