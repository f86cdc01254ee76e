"""Drift benchmark: `python -m benchmarks.drift [--quick] --json`; the last line on stdout is one JSON object.

``ks_vs_kswin``: CPU seconds per value of River's KSWIN over those of the KS detector (10 features, 100 events per look,
after a run over other data). ``ks_max_error``: the greatest difference of its statistic from SciPy's.
``false_incidents_per_50k``: over stationary streams of 20 features. ``detection_rate``, ``median_delay``: a rise of the
error by 0.1 and 0.2, and shifts of one of ten features by 0.5, 1 and 2 standard deviations, found within 1,000 events.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Iterator

import numpy as np
from river.drift import KSWIN
from scipy.stats import ks_2samp

from consumers.incidents import Incidents
from consumers.monitor import Monitor
from online.detectors.base import Batch
from online.detectors.concept import ErrorDetectors
from online.detectors.numeric import KolmogorovSmirnov
from penstock.events import Drift, Example, Prediction
from penstock.runtime.stage import Input
from penstock.spec import Categorical, Numeric, Pipeline

WITHIN = 1000


def pipeline(numeric: int, categorical: int = 0) -> Pipeline:
    features = (
        *(Numeric(f"x{i}") for i in range(numeric)),
        *(Categorical(f"c{i}") for i in range(categorical)),
    )
    return Pipeline(name="bench", task="binary", target="y", classes=("0", "1"), features=features)


def prediction(i: int, features: dict[str, float | int | str | bool | None], wrong: bool = False) -> Prediction:
    return Prediction(
        id=f"r{i}",
        entity="e",
        event_time_ms=i,
        features=features,
        version="v",
        generation=0,
        decision="1" if wrong else "0",
        score=0.9 if wrong else 0.1,
    )


def opened(spec: Pipeline, values: np.ndarray, names: np.ndarray) -> Iterator[int]:
    """The rows at which incidents open, by the stages themselves."""
    monitor, incidents, offset = Monitor(spec, 0), Incidents(spec), 0
    for i, row in enumerate(values.tolist()):
        features = {f"x{j}": value for j, value in enumerate(row)}
        features |= {f"c{j}": str(name) for j, name in enumerate(names[i])}
        for output in monitor.process([Input("predictions", 0, i, i, prediction(i, features))]):
            if output.topic == "evidence":
                for found in incidents.process([Input("evidence", 0, offset, i, output.event)]):
                    if isinstance(found.event, Drift) and found.event.status == "opened":
                        yield i
                offset += 1


def false_incidents(events: int) -> tuple[float, float]:
    """False incidents per 50,000 stationary events of 20 features, and feature values per CPU second."""
    spec, alarms, started, spent = pipeline(14, 6), 0, 0.0, 0.0
    for seed in range(events // 50_000):
        rng = np.random.default_rng(seed)
        values, names = rng.normal(size=(50_000, 14)), rng.integers(0, 8, size=(50_000, 6))
        started = time.process_time()
        alarms += len(list(opened(spec, values, names)))
        spent += time.process_time() - started
    return alarms / (events / 50_000), events * 20 / spent


def covariate_delays(seeds: int) -> list[int | None]:
    """Delays of the first incident after a shift of one of ten features; None where it was not found in time."""
    delays: list[int | None] = []
    for shift in (0.5, 1.0, 2.0):
        for seed in range(seeds):
            rng = np.random.default_rng(1000 + seed)
            at = 4000 + 37 * seed % 100
            values = rng.normal(size=(at + WITHIN, 10))
            values[at:, 0] += shift
            rows = [row - at for row in opened(pipeline(10), values, np.empty((len(values), 0))) if row >= at]
            delays.append(rows[0] if rows else None)
    return delays


def concept_delays(seeds: int) -> list[int | None]:
    """The same for the error detectors and errors that rise from 0.2."""
    delays: list[int | None] = []
    for rate in (0.3, 0.4):
        for seed in range(seeds):
            rng, detectors = np.random.default_rng(seed), ErrorDetectors(pipeline(1))
            rows = []
            for i, draw in enumerate(rng.random(5000 + WITHIN)):
                wrong = bool(draw < (0.2 if i < 5000 else rate))
                asked = prediction(i, {}, wrong)
                if detectors.update(Example(id=asked.id, prediction=asked, value="0", label_time_ms=i), 0.1):
                    rows.append(i - 5000)
            delays.append(next((row for row in rows if row >= 0), None))
    return delays


def batches_of(values: np.ndarray) -> list[Batch]:
    """One batch per 100 rows."""
    rows = [{f"x{j}": value for j, value in enumerate(row)} for row in values.tolist()]
    return [Batch(range(start, start + 100), rows[start : start + 100]) for start in range(0, len(rows), 100)]


def against_kswin(events: int) -> tuple[float, float]:
    """Cost of KSWIN over cost of the KS detector per value, and the greatest error of its statistic."""
    values = np.random.default_rng(0).normal(size=(events, 10))
    batches = batches_of(values)
    detector, error = KolmogorovSmirnov(pipeline(10)), 0.0
    for batch in batches:
        for j, finding in enumerate(detector.update(batch)):
            current = values[: batch.times[-1] + 1, j][-finding.n_current :]
            error = max(error, abs(finding.statistic - ks_2samp(values[:1000, j], current, method="asymp").statistic))
    others, detector = batches_of(np.random.default_rng(1).normal(size=(events, 10))), KolmogorovSmirnov(pipeline(10))
    began = time.process_time()
    for batch in others:
        detector.update(batch)
    ours = time.process_time() - began
    kswin = KSWIN(seed=1)
    began = time.process_time()
    for value in values[:2000, 0].tolist():
        kswin.update(value)
    return (time.process_time() - began) / 2000 / (ours / values.size), error


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="within 60 seconds")
    parser.add_argument("--json", action="store_true", help="one JSON object (always printed)")
    quick = parser.parse_args().quick
    ratio, error = against_kswin(5000 if quick else 20_000)
    false, rate = false_incidents(100_000 if quick else 2_000_000)
    delays = covariate_delays(5 if quick else 40) + concept_delays(5 if quick else 40)
    found = [delay for delay in delays if delay is not None]
    figures = {
        "ks_vs_kswin": round(ratio, 1),
        "ks_max_error": error,
        "detection_rate": len(found) / len(delays),
        "false_incidents_per_50k": false,
        "median_delay": statistics.median(found),
        "monitor_values_per_second": round(rate),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
