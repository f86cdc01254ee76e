"""What the KS detector costs against River's KSWIN, how exact it is, and how fast the monitor stage is."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from river.drift import KSWIN
from scipy.stats import ks_2samp

from benchmarks.drift.stationary import pipeline as monitored
from benchmarks.drift.stationary import stationary_examples
from consumers.monitor import Monitor
from online.detectors.base import Batch
from online.detectors.numeric import KolmogorovSmirnov
from penstock.runtime.stage import Input
from penstock.spec import DriftPolicy, Numeric, Pipeline

FEATURES = 10
KSWIN_VALUES = 2000
#: Records that a stage gets at once.
PORTION = 500


def _pipeline(look_every: int) -> Pipeline:
    return Pipeline(
        name="bench",
        task="binary",
        target="y",
        classes=("0", "1"),
        features=tuple(Numeric(f"x{i}") for i in range(FEATURES)),
        drift=DriftPolicy(look_every=look_every),
    )


def _batches(values: npt.NDArray[np.float64], size: int) -> list[Batch]:
    rows = [{f"x{j}": value for j, value in enumerate(row)} for row in values.tolist()]
    return [Batch(range(start, start + size), rows[start : start + size]) for start in range(0, len(rows), size)]


def _normal(events: int, seed: int) -> npt.NDArray[np.float64]:
    return np.random.default_rng(seed).normal(size=(events, FEATURES))


def kswin_cost() -> float:
    """CPU seconds per value of River's KSWIN with its defaults."""
    detector: Any = KSWIN(seed=1)
    values = _normal(KSWIN_VALUES, 0)[:, 0].tolist()
    began = time.process_time()
    for value in values:
        detector.update(value)
    return (time.process_time() - began) / KSWIN_VALUES


def ks_cost(events: int, look_every: int) -> float:
    """CPU seconds per value of the KS detector at one look per ``look_every`` events, after as many other events."""
    detector = KolmogorovSmirnov(_pipeline(look_every))
    for batch in _batches(_normal(events, 0), look_every):
        detector.update(batch)
    batches = _batches(_normal(events, 1), look_every)
    began = time.process_time()
    for batch in batches:
        detector.update(batch)
    return (time.process_time() - began) / (events * FEATURES)


def ks_error(events: int) -> float:
    """The greatest difference between the detector's statistic and SciPy's at any look."""
    values = _normal(events, 2)
    detector, error = KolmogorovSmirnov(_pipeline(100)), 0.0
    for batch in _batches(values, 100):
        for j, finding in enumerate(detector.update(batch)):
            current = values[: batch.times[-1] + 1, j][-finding.n_current :]
            error = max(error, abs(finding.statistic - ks_2samp(values[:1000, j], current, method="asymp").statistic))
    return error


def monitor_rate(events: int) -> float:
    """Feature values per CPU second of the whole monitor stage on 20 features."""
    spec = monitored()
    monitor = Monitor(spec, 0)
    inputs = [
        Input("predictions", 0, row, row, example.prediction)
        for row, example in enumerate(stationary_examples(spec, events, seed=0))
    ]
    portions: Sequence[list[Input]] = [inputs[start : start + PORTION] for start in range(0, events, PORTION)]
    began = time.process_time()
    for portion in portions:
        monitor.process(portion)
    return events * len(spec.features) / (time.process_time() - began)
