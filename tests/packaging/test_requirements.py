"""What the images install: parts of the lock, complete, and enough for what they run."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.system.processes import kill_session, wait_for

ROOT = Path(__file__).parents[2]
PIPELINE = ROOT / "pipelines" / "credit.py"
APPLICATION = {
    "salary": 50_000,
    "commission": 0,
    "age": 40,
    "elevel": "1",
    "car": "3",
    "zipcode": "2",
    "hvalue": 200_000,
    "hyears": 10,
    "loan": 100_000,
}
#: File → (extras of the product, further requirements).
PARTS: dict[str, tuple[set[str], set[str]]] = {
    "serving": ({"kafka"}, {"scikit-learn", "skops"}),
    "worker": ({"kafka", "cluster", "notify", "retrain"}, set()),
}


def locked(name: str) -> dict[tuple[str, str], set[str]]:
    """(name, version) → hashes."""
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    blocks = re.split(r"\n(?=[a-z0-9])", re.sub(r"\n\s+#.*", "", text))
    return {
        (found[1], found[2]): set(re.findall(r"sha256:[0-9a-f]{64}", block))
        for block in blocks
        if (found := re.match(r"([a-z0-9._-]+)(?:\[[^]]*\])?==([^\s;\\]+)", block))
    }


def closure(requirements: set[str], extras: set[str]) -> set[str]:
    """Names of all that is needed here, as the installed packages say."""
    seen: set[tuple[str, str]] = set()

    def visit(name: str, wanted: set[str]) -> None:
        for extra in sorted(wanted | {""}):
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            for text in distribution(name).requires or ():
                needed = Requirement(text)
                if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                    visit(canonicalize_name(needed.name), needed.extras)

    visit("penstock", extras)
    for name in requirements:
        visit(name, set())
    return {name for name, _ in seen} - {"penstock"}


@pytest.mark.parametrize("part", ["build", *PARTS])
def test_a_part_pins_what_the_lock_pins(part: str) -> None:
    whole = locked("lock")
    for pin, hashes in locked(part).items():
        assert hashes
        assert hashes == whole.get(pin), f"{pin}: make lock"


@pytest.mark.parametrize("part", PARTS)
def test_a_part_is_complete(part: str) -> None:
    extras, further = PARTS[part]
    assert closure(further, extras) - {name for name, _ in locked(part)} == set(), "make lock"


def test_serving_is_lean() -> None:
    names = {name for name, _ in locked("serving")}
    assert not names & {"mlflow", "mlflow-skinny", "distributed", "dask", "pytest", "mypy", "pyarrow", "sqlalchemy"}
    assert len(names) <= 50


#: The command line, where only the given top-level modules of installed packages can be imported.
LEAN = """
import json, sys
hidden = set(json.loads(sys.argv.pop(1)))
class Lean:
    def __init__(self, finder):
        self.finder = finder
    def __getattr__(self, name):
        return getattr(self.finder, name)
    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in hidden else self.finder.find_spec(name, path, target)
sys.meta_path[:] = [Lean(finder) for finder in sys.meta_path]
"""


@pytest.fixture(scope="module")
def hidden() -> str:
    """Modules that the serving image does not have, as JSON."""
    there = {name for name, _ in locked("serving")} | {"penstock"}
    modules = [
        module
        for module, owners in packages_distributions().items()
        if not {canonicalize_name(owner) for owner in owners} & there
    ]
    assert "mlflow" in modules
    assert "sklearn" not in modules
    return json.dumps(modules)


@pytest.fixture
def serving(hidden: str, tmp_path: Path) -> Iterator[tuple[Path, subprocess.Popen[bytes]]]:
    code = LEAN + "from penstock.__main__ import main\nmain()\n"
    with (tmp_path / "out.txt").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", code, hidden, "--pipeline", str(PIPELINE), "run", "serving"],
            cwd=tmp_path,
            env={"PENSTOCK_PORT": "0", "PYTHONPATH": str(ROOT), "PATH": ""},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield tmp_path, process
    finally:
        if process.poll() is None:
            kill_session(process)


@pytest.mark.system
def test_serving_answers_with_what_its_image_has(serving: tuple[Path, subprocess.Popen[bytes]]) -> None:
    folder, process = serving
    address = folder / ".penstock" / "serving.url"
    try:
        wait_for(address.exists, "serving's address", 60, process)
    except AssertionError as error:
        raise AssertionError((folder / "out.txt").read_text()) from error
    url = address.read_text().strip()
    body = json.dumps({"id": "lean", "features": APPLICATION}).encode()
    asked = urllib.request.Request(f"{url}/v1/predict", body, {"Content-Type": "application/json"})  # noqa: S310
    with urllib.request.urlopen(asked, timeout=30) as answer:  # noqa: S310 - ours
        assert 0 <= json.loads(answer.read())["score"] <= 1


LOAD = """
from pathlib import Path
from online.loading import model_loader
from penstock.spec import load_pipeline
import penstock.log.kafka, penstock.log.librdkafka
model = model_loader(load_pipeline(Path(sys.argv[1])))("batch", Path(sys.argv[2]).read_bytes())
print(json.dumps(model.score_many([json.loads(sys.argv[3])])))
"""


def test_a_batch_model_loads_with_what_the_serving_image_has(hidden: str, tmp_path: Path) -> None:
    import numpy as np
    from sklearn.ensemble import HistGradientBoostingClassifier

    from online.batch import BatchModel, dump_batch
    from online.tabular import learn_encoding
    from penstock.spec import load_pipeline

    pipeline = load_pipeline(PIPELINE)
    rows = [APPLICATION | {"salary": 20_000 + row, "age": 20 + row % 60} for row in range(200)]
    wanted = (np.arange(200) > 100).astype(float)
    encoding = learn_encoding(pipeline, rows, wanted, "ordinal")
    fitted = HistGradientBoostingClassifier(max_iter=5).fit(encoding.matrix(pipeline, rows), wanted.astype(int))
    model = BatchModel(pipeline, encoding, fitted)
    (tmp_path / "model").write_bytes(dump_batch(model))
    done = subprocess.run(
        [sys.executable, "-c", LEAN + LOAD, hidden, str(PIPELINE), str(tmp_path / "model"), json.dumps(rows[180])],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == model.score_many([rows[180]])
