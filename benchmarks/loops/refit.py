"""A retrain in a process of its own, at the retrainer's priority, on an installation's log and artifacts."""

from __future__ import annotations

import os
import resource
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from online import snapshot
from online.committee import Committee
from penstock.cli.installation import open_store
from penstock.cli.run import RETRAINER_NICENESS
from penstock.clock import SystemClock
from penstock.contract import decoder_for
from penstock.events import DataRange, Decision, Example, Features, ModelRecord, Prediction, encode
from penstock.log.embedded import EmbeddedLog
from penstock.log.open import open_log, topic_configs
from penstock.log.port import Log, Message
from penstock.settings import Settings
from penstock.spec import Categorical, Numeric, Pipeline
from retraining.dataset import read_dataset
from retraining.fitting import fit_run
from retraining.states import State
from retraining.warm_start import newest_base

NUMBERS, CODES, VALUES = 20, 5, 8
#: Examples that the served online model has learned, before those of the retrain.
TAUGHT = 1000
SEED = 7

PIPELINE = Pipeline(
    name="wide",
    task="binary",
    target="y",
    classes=("no", "yes"),
    features=(
        *(Numeric(f"n{index}") for index in range(NUMBERS)),
        *(Categorical(f"c{index}") for index in range(CODES)),
    ),
)


def drawn(count: int) -> list[tuple[Features, str]]:
    """Rows of 25 features whose label hangs on interactions and noise, so that a search has something to find."""
    rng = np.random.default_rng(SEED)
    numbers, codes = rng.normal(size=(count, NUMBERS)), rng.integers(0, VALUES, size=(count, CODES))
    signal = numbers[:, 0] * numbers[:, 1] + numbers[:, 2] + (codes[:, 0] % 2) * numbers[:, 3]
    outcomes = signal + 0.7 * rng.normal(size=count) > 0.0
    labels = ["yes" if outcome else "no" for outcome in outcomes]
    return [(_features(*row), label) for *row, label in zip(numbers.tolist(), codes.tolist(), labels, strict=True)]


def _features(numbers: list[float], codes: list[int]) -> Features:
    return {f"n{at}": value for at, value in enumerate(numbers)} | {
        f"c{at}": f"v{code}" for at, code in enumerate(codes)
    }


def _log(data_dir: str) -> Log:
    return open_log("embedded", Path(data_dir), PIPELINE.name, SystemClock())


def prepare(data_dir: str, rows: int) -> None:
    """Write ``rows`` examples, and a snapshot of the online model from before them, into a new installation."""
    log, store = _log(data_dir), open_store(Settings(data_dir=Path(data_dir)), PIPELINE)
    assert isinstance(log, EmbeddedLog)
    log.ensure_topics(topic_configs(1))
    committee = Committee(PIPELINE)
    data = drawn(TAUGHT + rows)
    for features, outcome in data[:TAUGHT]:
        committee.learn_one(features, outcome)
    ref = store.artifacts.put(snapshot.dump(committee))
    record = ModelRecord(
        slot="online-0", version="online", kind="online", generation=0, snapshot=TAUGHT, offset=TAUGHT - 1,
        uri=ref.uri, digest=ref.digest, signature=ref.signature, size_bytes=ref.size_bytes,
    )  # fmt: skip
    log.append([Message("models", b"online-0", encode(record))])
    for start in range(0, len(data), 1000):
        log.append([_message(start + at, *each) for at, each in enumerate(data[start : start + 1000])])
    log.close()


def _message(number: int, features: Features, outcome: str) -> Message:
    prediction = Prediction(
        id=str(number), entity=str(number), event_time_ms=number * 1000, features=features, version="online",
        generation=0, decision="yes", score=0.5,
    )  # fmt: skip
    example = Example(id=str(number), prediction=prediction, value=outcome, label_time_ms=number * 1000)
    return Message("examples", str(number).encode(), encode(example), 0)


def yield_to_others() -> None:
    """What the retrainer's process does when it starts."""
    os.nice(RETRAINER_NICENESS)


def fit(data_dir: str, rows: int) -> dict[str, Any]:
    """One retrain on the newest ``rows`` examples, from reading them to the stored artifact."""
    log, store = _log(data_dir), open_store(Settings(data_dir=Path(data_dir)), PIPELINE)
    data = DataRange(offsets={"0": (TAUGHT, TAUGHT + rows)}, rows=rows)
    decision = Decision(
        seq=0, run_id="r", step="collected", event_time_ms=0, record_id="0", trigger="command:c", reason="",
        generation=0, data=data,
    )  # fmt: skip
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    found = fit_run(
        PIPELINE,
        State(),
        decision,
        read_dataset(log, data, decoder_for("examples", PIPELINE)),
        store.artifacts,
        monotonic_s=time.monotonic,
        bases=partial(newest_base, PIPELINE, log, store.artifacts),
    )
    took = {"seconds": time.perf_counter() - began_s, "cpu_seconds": time.process_time() - began_cpu_s}
    log.close()
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    losses = {result.name: result.log_loss for result in found.results}
    return {**took, "peak_rss_mb": peak_mb, "winner": found.winner, "losses": losses, "error": found.error}


def fit_on_and_on(data_dir: str, rows: int, seconds: float) -> int:
    """Retrain again and again for at least ``seconds``; how often it was begun."""
    until_s, begun = time.monotonic() + seconds, 0
    while time.monotonic() < until_s:
        fit(data_dir, rows)
        begun += 1
    return begun
