"""How often the comparison of two versions errs, and how soon it decides: simulated streams, a look every 100 rows.

Each stream is what two binary models say of the same 20,000 rows. The world has a probability per row; a model's log
odds are the world's plus noise of its own. A/A: both have the same noise, so neither is better. A/B: the second has
less noise (it is better) or more. The decision is the product's own bound (`retraining.sequential`) at alpha 0.05.

    .venv/bin/python -m benchmarks.sequential [--quick] --json

``false_promotions``: the share of streams in which a version that is no better wins; at most 0.05 is promised.
``power``: the share in which the better one wins within the stream, ``median_rows`` the rows that this took.
"""

from __future__ import annotations

import time
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.output import finish, is_quick, table
from retraining.sequential import LEAST_ROWS, half_width

ALPHA = 0.05
ROWS = 20_000
LOOK = 100
#: Streams that are drawn at a time: memory stays below 100 MB.
CHUNK = 50

Floats = NDArray[np.float64]


class Scenario(NamedTuple):
    """``odds``: mean and spread of the world's log odds; ``noise`` of the first and of the second model's log odds.

    So many rows in a row (``run``) have the same odds and the same errors.
    """

    name: str
    odds: tuple[float, float]
    noise: tuple[float, float]
    run: int = 1


SAME = (
    Scenario("balanced", (0.0, 1.5), (0.5, 0.5)),
    Scenario("rare", (-4.5, 1.0), (0.7, 0.7)),
    Scenario("wild", (0.0, 3.0), (2.0, 2.0)),
    Scenario("clustered", (0.0, 1.5), (0.5, 0.5), run=20),
)
BETTER = (
    Scenario("balanced", (0.0, 1.5), (0.7, 0.3)),
    Scenario("slightly", (0.0, 1.5), (0.5, 0.4)),
    Scenario("rare", (-4.5, 1.0), (1.0, 0.3)),
)


def differences(rng: np.random.Generator, scenario: Scenario, streams: int, rows: int) -> Floats:
    """Log loss of the first model minus that of the second, ``streams`` × ``rows``."""
    runs = (streams, rows // scenario.run)
    odds = np.repeat(rng.normal(*scenario.odds, runs), scenario.run, axis=1)
    happened = rng.random((streams, rows)) < 1.0 / (1.0 + np.exp(-odds))
    sign = np.where(happened, -1.0, 1.0)
    errors = [np.repeat(rng.normal(0.0, noise, runs), scenario.run, axis=1) for noise in scenario.noise]
    losses = [np.logaddexp(0.0, sign * (odds + error)) for error in errors]
    return losses[0] - losses[1]


def decided(values: Floats, alpha: float = ALPHA) -> NDArray[np.int64]:
    """Per stream, the rows after which the mean is surely above 0; 0 where it never is."""
    by_look = values.reshape(len(values), -1, LOOK)
    looks = np.arange(1, by_look.shape[1] + 1) * LOOK
    counted = looks >= LEAST_ROWS
    sums, squares = (np.cumsum(each.sum(axis=2), axis=1) for each in (by_look, by_look**2))
    look_squared = np.cumsum(by_look.sum(axis=2) ** 2 / LOOK, axis=1)
    means = sums / looks
    of_rows = squares / looks - means**2
    of_looks = (look_squared - looks * means**2) / np.maximum(1, looks // LOOK - 1)
    spreads = np.sqrt(np.maximum(np.maximum(of_rows, of_looks), 0.0))
    widths = np.array([half_width(int(n), alpha) for n in looks])
    crossed = (means - spreads * widths > 0.0) & counted
    rows: NDArray[np.int64] = np.where(crossed.any(axis=1), looks[crossed.argmax(axis=1)], 0)
    return rows


def run(scenario: Scenario, streams: int, rows: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Per stream, when the second version won, and when the first did (0: never)."""
    rng = np.random.default_rng(seed)
    second, first = [], []
    for start in range(0, streams, CHUNK):
        values = differences(rng, scenario, min(CHUNK, streams - start), rows)
        second.append(decided(values))
        first.append(decided(-values))
    return np.concatenate(second), np.concatenate(first)


def measured(streams: int, rows: int) -> dict[str, dict[str, dict[str, float | None]]]:
    """Shares of the streams that were decided, and the median row of those that were."""
    same: dict[str, dict[str, float | None]] = {}
    better: dict[str, dict[str, float | None]] = {}
    worse: dict[str, dict[str, float | None]] = {}
    for number, scenario in enumerate(SAME):
        second, first = run(scenario, streams, rows, seed=100 + number)
        same[scenario.name] = {
            "false_promotions": float((second > 0).mean()),
            "false_rejections": float((first > 0).mean()),
        }
    for number, scenario in enumerate(BETTER):
        second, first = run(scenario, streams, rows, seed=200 + number)
        found = second[second > 0]
        better[scenario.name] = {
            "power": float((second > 0).mean()),
            "median_rows": float(np.median(found)) if found.size else None,
            "false_rejections": float((first > 0).mean()),
        }
        # The other way round: the second version is the worse one.
        worse[scenario.name] = {
            "false_promotions": float(((first > 0) & ((second == 0) | (first < second))).mean()),
            "rejected": float((second > 0).mean()),
        }
    return {"aa": same, "ab_better": better, "ab_worse": worse}


def main() -> None:
    """Simulate 1,000 streams of each kind and print."""
    quick, began = is_quick(__doc__), time.perf_counter()
    figures = measured(100 if quick else 1000, 5000 if quick else ROWS)
    for kind, scenarios in figures.items():
        columns = list(next(iter(scenarios.values())))
        table(kind, ("scenario", *columns), [(name, *each.values()) for name, each in scenarios.items()])
    false = [each["false_promotions"] or 0.0 for kind in ("aa", "ab_worse") for each in figures[kind].values()]
    finish({**figures, "worst_false_promotions": max(false), "seconds": round(time.perf_counter() - began)})


if __name__ == "__main__":
    main()
