"""What becomes of 100 drifts: drift, alarm, retrain, gate, rollout, and how served accuracy comes back.

    .venv/bin/python -m benchmarks.adaptation [--quick] [--drifts N] [--state FILE] --json

Each drift is a stream of its own (`KINDS` in turn, other seeds), 10,000 rows with labels 100 late, through the whole
pipeline in virtual time. At row 1,000 a person asks for a first batch model; the drift comes about row 4,000. The
number of trials ends a search, never its seconds: no time is measured there. With ``--state`` a killed run goes on: one
line of JSON is added per drift.

- ``ended``: drifts after which a run ended in a promotion, or in a rejection with its gates.
- ``better``: of the first promotions after a drift, those whose log loss over the next 2,000 labelled rows is lower
  than that of the model that was replaced: the one that served when the drift came, or the online model where the loop
  went back to it while the run went on.
- ``recovery``: rows from the drift until the accuracy of the newest 300 rows is back at 95 % of what it was (the 1,000
  rows before), or of the best that is reached after it, whichever is lower; median and p90 over the drifts, of what was
  served, of the online model alone, and of the batch models alone (the champion of that time, then those promoted;
  over the drifts that found a batch model serving). Who does not get there counts with the rows that were left.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from benchmarks.drift.generators import GENERATORS
from benchmarks.drift.streams import jitter, light_pipeline
from benchmarks.environment import environment
from benchmarks.output import finish, rounded, say, table
from online.scoring import decide
from penstock.cli.evaluation import History, read_history
from penstock.cli.report import promotions
from penstock.cli.virtual import run_virtual
from penstock.events import Decision, Label, Outcome, Request, RetrainCommand, Score, encode
from penstock.log.port import Message
from penstock.models.slot import ONLINE
from penstock.spec import Pipeline, Rows
from producers.drifts import parse_injection
from producers.injectors import inject
from producers.schedule import ROW_MS, StreamRow, Tick, schedule

DRIFTS, QUICK_DRIFTS = 100, 3
ROWS, ASKED, DRIFT = 10_000, 1_000, 4_000
#: An injection may draw more rows than it gives on: its generator keeps to one concept.
NEVER = 10**9
WINDOW, BEFORE = 300, 1_000
BACK = 0.95
DELAY = Rows(100)
#: Generator, and how it drifts: to its other concept over so many rows, or as an injection says.
KINDS: tuple[tuple[str, int | str], ...] = (
    ("Agrawal", 0),
    ("Sine", 0),
    ("Agrawal", "covariate@{row}:feature=salary"),
    ("STAGGER", 0),
    ("Agrawal", 500),
    ("SEA", 0),
    ("Agrawal", "prior@{row}"),
    ("LED", 0),
    ("Sine", "concept@{row}:feature=0"),
    ("Hyperplane", 0),
)


class Told(NamedTuple):
    """What became of one drift. Rows to recovery are None where it is not defined."""

    number: int
    kind: str
    served_then: str
    found: bool
    ended: str
    better: bool | None
    recovery: dict[str, int | None]


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few drifts, with rougher figures")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line (always printed)")
    parser.add_argument("--drifts", type=int)
    parser.add_argument("--state", type=Path, help="go on from this file, and add to it")
    asked = parser.parse_args()
    wanted = asked.drifts or (QUICK_DRIFTS if asked.quick else DRIFTS)
    told = _held(asked.state)[:wanted]
    for number in range(len(told), wanted):
        told.append(play(number))
        say(str(told[-1]))
        if asked.state is not None:
            with asked.state.open("a", encoding="utf-8") as file:
                file.write(json.dumps(told[-1]._asdict()) + "\n")
    figures = summary(told)
    table("drifts", tuple(figures), [tuple(str(value) for value in figures.values())])
    finish(figures | {"environment": environment(libraries=("scikit-learn", "optuna", "river"))})


def _held(path: Path | None) -> list[Told]:
    if path is None or not path.exists():
        return []
    return [Told(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def summary(told: Sequence[Told]) -> dict[str, Any]:
    """The figures over all drifts."""
    judged = [each.better for each in told if each.better is not None]
    figures: dict[str, Any] = {
        "drifts": len(told),
        "found": sum(each.found for each in told),
        "ended": sum(bool(each.ended) for each in told),
        "promoted": sum(each.ended == "promoted" for each in told),
        "better": sum(judged),
        "compared": len(judged),
    }
    for who in ("served", "online", "batch"):
        rows = [row for each in told if (row := each.recovery[who]) is not None]
        if rows:
            figures[f"recovery_{who}"] = {
                "n": len(rows),
                "median": rounded(median(rows)),
                "p90": rounded(float(np.quantile(rows, 0.9))),
            }
    return figures


def play(number: int) -> Told:
    """One drift, from its stream to what became of it."""
    generator, how = KINDS[number % len(KINDS)]
    source = GENERATORS[generator]
    row = DRIFT + jitter(number)
    pipeline = replace(
        light_pipeline(generator.lower(), source.features, source.classes),
        label_delay=DELAY,
    )
    rows = _rows(generator, number, row if isinstance(how, int) else NEVER, how if isinstance(how, int) else 0)
    if isinstance(how, str):
        injection = parse_injection(how.format(row=row), pipeline)
        rows = islice(inject(rows, pipeline, [injection], seed=number), ROWS)
    run = run_virtual(pipeline, _asking(schedule(islice(rows, ROWS), pipeline)), lambda _: None)
    history = read_history(run.system.log, pipeline)
    kind = f"{generator}, {how if isinstance(how, str) else 'gradual' if how else 'abrupt'}"
    return judged(pipeline, history, row, number, kind.partition("@")[0])


def _rows(generator: str, seed: int, change: int, width: int) -> Iterator[StreamRow]:
    """Endless rows of one concept, and of another after ``change``."""
    source = GENERATORS[generator]
    one, other = (iter(concept) for concept in source.concepts(seed))
    rng = np.random.default_rng(seed)
    names = {feature.name: feature for feature in source.features}
    row = 0
    while True:
        share = min(1.0, max(0.0, (row - change + 1) / (width + 1)))
        drawn, outcome = next(other if rng.random() < share else one)
        features = {str(name): _plain(value, names.get(str(name))) for name, value in drawn.items()}
        id_, time_ms = str(row), row * ROW_MS
        request = Request(id=id_, features=features, event_time_ms=time_ms)
        yield StreamRow(row, id_, id_, time_ms, encode(request), encode(Label(id=id_, value=str(outcome))))
        row += 1


def _plain(value: Any, feature: object) -> float | str | bool:
    kind = type(feature).__name__
    return bool(value) if kind == "Boolean" else str(value) if kind == "Categorical" else float(value)


def _asking(ticks: Iterator[Tick]) -> Iterator[Tick]:
    """``ticks``, and a person who asks for a first batch model."""
    command = RetrainCommand(id="first", by="benchmark", at_ms=ASKED * ROW_MS)
    for tick in ticks:
        asked = [Message("commands", b"first", encode(command))] if tick.row == ASKED and tick.messages else []
        yield tick._replace(messages=[*tick.messages, *asked])


def judged(pipeline: Pipeline, history: History, row: int, number: int, kind: str) -> Told:
    """What became of the drift at ``row``."""
    placed = [(history.rows.position(at_ms), decision) for at_ms, decision in history.decisions]
    served_then = _champion(placed, row)
    started = {d.run_id for at, d in placed if at >= row and d.step == "triggered"}
    ends = [d for at, d in placed if at >= row and d.run_id in started and d.step in ("promoted", "rejected")]
    promoted = [
        report for report in promotions(pipeline, history) if report["position"] >= row and report["rows"] > WINDOW
    ]
    better = None
    if promoted and promoted[0]["served_log_loss"] is not None:
        better = promoted[0]["served_log_loss"] < promoted[0]["predecessor_log_loss"]
    steps = {decision.step for decision in ends}
    return Told(
        number=number,
        kind=kind,
        served_then=served_then,
        found=any(history.rows.position(at_ms) >= row for at_ms, drift in history.drift if drift.status == "opened"),
        ended="promoted" if "promoted" in steps else "rejected" if steps else "",
        better=better,
        recovery=_recoveries(pipeline, history, placed, row, served_then),
    )


def _champion(placed: Sequence[tuple[int, Decision]], row: int) -> str:
    crowned = [d.version for at, d in placed if at < row and d.step in ("promoted", "rolled_back")]
    return crowned[-1] if crowned else ONLINE


def _recoveries(
    pipeline: Pipeline, history: History, placed: Sequence[tuple[int, Decision]], row: int, served_then: str
) -> dict[str, int | None]:
    crowned = [(at, d.version) for at, d in placed if at >= row and d.step == "promoted" and d.version != ONLINE]

    def batch_at(at: int) -> str:
        return next((version for since, version in reversed(crowned) if at >= since), served_then)

    hits: dict[str, list[float]] = {
        "served": _hits(pipeline, history, lambda _: ""),
        "online": _hits(pipeline, history, lambda _: ONLINE),
    }
    if served_then != ONLINE:
        hits["batch"] = _hits(pipeline, history, batch_at)
    rolling = {who: _rolling(values, row) for who, values in hits.items()}
    before = float(np.nanmean(hits["served"][row - BEFORE : row]))
    best = max(float(np.nanmax(values)) for values in rolling.values())
    goal = BACK * min(before, best)
    return {who: _first(rolling[who], goal) if who in rolling else None for who in ("served", "online", "batch")}


def _hits(pipeline: Pipeline, history: History, version_at: Callable[[int], str]) -> list[float]:
    """1 or 0 per row; NaN where the version of that row gave no score. An empty version: who was served."""
    hits = [float("nan")] * ROWS
    for item in history.scored:
        prediction = item.example.prediction
        scores: dict[str, Score] = {**prediction.shadow, prediction.version: prediction.served}
        score = scores.get(version_at(item.row) or prediction.version)
        if score is not None and item.row < ROWS:
            hits[item.row] = float(_right(pipeline, score, item.example.value))
    return hits


def _right(pipeline: Pipeline, score: Score, value: Outcome) -> bool:
    return decide(pipeline, score) == value


def _rolling(hits: Sequence[float], row: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Accuracy of the ``WINDOW`` rows that end at each row, from the first window after ``row``."""
    after = np.asarray(hits[row:])
    known = ~np.isnan(after)
    sums, counts = (np.concatenate([[0.0], np.cumsum(each)]) for each in (np.where(known, after, 0.0), known))
    held = counts[WINDOW:] - counts[:-WINDOW]
    return np.where(held > WINDOW // 2, (sums[WINDOW:] - sums[:-WINDOW]) / np.maximum(held, 1.0), np.nan)


def _first(rolling: np.ndarray[Any, np.dtype[np.float64]], goal: float) -> int:
    found = np.flatnonzero(rolling >= goal)
    return WINDOW + (int(found[0]) if len(found) else len(rolling))


if __name__ == "__main__":
    main()
