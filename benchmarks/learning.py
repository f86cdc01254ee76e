"""The committee on real streams: log loss and accuracy against its members, River's models alone, and no change.

    .venv/bin/python -m benchmarks.learning [--quick] [--tier T] [--dataset NAME] [--delay ROWS] --json

Test, then train, row by row, on every data set that is there (PENSTOCK_DATASETS_DIR, else beside the checkout); nothing
is tuned per data set. Per data set ``datasets.NAME``: ``accuracy``, ``kappa``, ``log_loss``, ``roc_auc`` and
``calibration_error`` (ECE, 10 bins) of the committee; the same of each member (``members``), and the best of
them in hindsight, the forecasts from the newest outcomes included; ``cost_ratio``: the committee's CPU seconds over
the sum of its members' own, learning and scoring, in the same run; ``events_per_second`` per core;
``no_change_accuracy``: that of the previous label. ``log_loss_ratio_geomean``: the committee's log loss over the best
member's. ``--delay``: each row is scored while the labels of that many rows before it are still missing. ``--quick``:
the first rows of each data set (all of it within 60 s), without River's models.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
from river import ensemble, forest, linear_model, naive_bayes, preprocessing, tree

from benchmarks.environment import environment
from benchmarks.output import finish, rounded, say, table
from benchmarks.stream import SHARED
from online.committee import Committee
from penstock.events import Features, Label, Request
from penstock.spec import Categorical, Date, Pipeline
from producers.datasets import dataset_path
from producers.rows import table_rows

DATASETS = ("elec2", "sba_loans_22k", "noaa_weather", "taiwan_credit", "bike_demand")
#: Rows per data set of a quick run, by tier.
QUICK_ROWS = {"light": 10_000, "balanced": 4_000, "full": 600}
#: Probabilities are cut here before their logarithm is taken: the committee's own limit for its members.
LEAST = 1.0 / (1.0 + math.exp(8.0))
BINS = 10

Rows = list[tuple[Features, bool]]


class Tally:
    """Log loss, accuracy, kappa, AUC and calibration of a stream of probabilities."""

    def __init__(self) -> None:
        self.scores: list[float] = []
        self.labels: list[bool] = []

    def add(self, score: float, label: bool) -> None:
        self.scores.append(score)
        self.labels.append(label)

    @property
    def accuracy(self) -> float:
        return sum((s >= 0.5) == y for s, y in zip(self.scores, self.labels, strict=True)) / len(self.scores)

    @property
    def log_loss(self) -> float:
        cut = [min(max(score, LEAST), 1.0 - LEAST) for score in self.scores]
        pairs = zip(cut, self.labels, strict=True)
        return -math.fsum(math.log(score if label else 1.0 - score) for score, label in pairs) / len(cut)

    @property
    def kappa(self) -> float:
        positive, said = sum(self.labels) / len(self.labels), sum(s >= 0.5 for s in self.scores) / len(self.scores)
        chance = positive * said + (1.0 - positive) * (1.0 - said)
        return (self.accuracy - chance) / (1.0 - chance) if chance < 1.0 else 0.0

    @property
    def roc_auc(self) -> float:
        """Mann–Whitney with mid-ranks."""
        order = sorted(range(len(self.scores)), key=self.scores.__getitem__)
        ranks, index = 0.0, 0
        while index < len(order):
            end = index
            while end < len(order) and self.scores[order[end]] == self.scores[order[index]]:
                end += 1
            ranks += sum(self.labels[each] for each in order[index:end]) * (index + end + 1) / 2.0
            index = end
        ones = sum(self.labels)
        zeros = len(self.labels) - ones
        return (ranks - ones * (ones + 1) / 2.0) / (ones * zeros) if ones and zeros else math.nan

    @property
    def calibration_error(self) -> float:
        """Expected calibration error over `BINS` bins of equal width."""
        gaps = [0.0] * BINS
        for score, label in zip(self.scores, self.labels, strict=True):
            gaps[min(int(score * BINS), BINS - 1)] += score - label
        return sum(map(abs, gaps)) / len(self.scores)


class _Timed:
    """A member that counts the CPU time that it takes, and what it said."""

    def __init__(self, member: Any) -> None:
        self.member = member
        self.seconds = 0.0
        self.said = 0.5

    def predict(self, x: Any) -> Sequence[float]:
        began = time.process_time()
        output: Sequence[float] = self.member.predict(x)
        self.seconds += time.process_time() - began
        self.said = output[0]
        return output

    def learn(self, x: Any, target: float, output: Sequence[float]) -> None:
        began = time.process_time()
        self.member.learn(x, target, output)
        self.seconds += time.process_time() - began


def rows_of(name: str, most: int | None = None) -> tuple[Pipeline, Rows]:
    """The pipeline of a data set and its rows, decoded as a learner gets them."""
    pipeline: Pipeline = import_module(f"pipelines.{name}").PIPELINE
    path = dataset_path(name, Path(os.environ.get("PENSTOCK_DATASETS_DIR") or SHARED))
    rows: Rows = []
    for row in table_rows(pipeline, path):
        if row.label is not None and (most is None or len(rows) < most):
            request = msgspec.json.decode(row.request, type=Request)
            value = msgspec.json.decode(row.label, type=Label).value
            rows.append((request.features, str(value) == pipeline.positive))
    return pipeline, rows


def committee_figures(pipeline: Pipeline, rows: Rows, delay: int) -> dict[str, Any]:
    """Two runs: one as it is, for its cost; one that also looks at what each member said, and what each cost."""
    plain = Committee(pipeline)
    began = time.process_time()
    tally = _scored(pipeline, plain, rows, delay)
    spent = time.process_time() - began
    watched = Committee(pipeline)
    timed = [_Timed(member) for member in watched._members]
    watched._members = list(timed)
    said = {name: Tally() for name in watched.members}
    recent = [Tally() for _ in watched._recency.forecasts()]
    began = time.process_time()
    for features, label in rows:
        for forecast, one in zip(watched._recency.forecasts(), recent, strict=True):
            one.add(forecast[0], label)
        watched.learn_one(features, pipeline.classes[label])
        for member, own in zip(timed, said.values(), strict=True):
            own.add(member.said, label)
    watched_spent = time.process_time() - began
    rivals = [*said.values(), *recent]
    best = min(rival.log_loss for rival in rivals)
    figures: dict[str, Any] = _figures(tally) | {
        "best_member_accuracy": rounded(max(rival.accuracy for rival in rivals), 4),
        "best_member_log_loss": rounded(best, 4),
        "log_loss_ratio": rounded(tally.log_loss / best, 4),
        "cost_ratio": rounded(watched_spent / sum(member.seconds for member in timed)),
        "no_change_accuracy": rounded(
            sum(before[1] == after[1] for before, after in pairwise(rows)) / (len(rows) - 1), 4
        ),
        "events": len(rows),
        "members": {name: _figures(own) for name, own in said.items()},
    }
    if delay == 0:
        figures["events_per_second"] = round(len(rows) / spent)
    return figures


def _scored(pipeline: Pipeline, committee: Committee, rows: Rows, delay: int) -> Tally:
    tally, classes = Tally(), pipeline.classes
    for index, (features, label) in enumerate(rows):
        if not delay:
            score = committee.learn_one(features, classes[label])
        else:
            score = committee.score_one(features)
            if index >= delay:
                late, outcome = rows[index - delay]
                known = max(index - 2 * delay, 0)
                committee.learn_one(late, classes[outcome], committee.learned - known)
        if not isinstance(score, dict):
            tally.add(score, label)
    return tally


def river_figures(pipeline: Pipeline, rows: Rows) -> dict[str, Any]:
    """River's models alone: numbers scaled by River, categories as River's models take them."""
    texts = {each.name for each in pipeline.features if isinstance(each, Categorical | Date)}
    figures = {}
    for name, make in RIVER.items():
        model, tally = make(), Tally()
        for features, label in rows:
            x: dict[Any, Any] = {key: str(v) if key in texts else float(v or 0.0) for key, v in features.items()}
            tally.add(model.predict_proba_one(x).get(True, 0.5), label)
            model.learn_one(x, label)
        figures[name] = _figures(tally)
        say(f"  {name}: {figures[name]}")
    return figures


def _scaled(model: Any) -> Any:
    from river import compose

    numbers = compose.SelectType(float) | preprocessing.StandardScaler()
    return (numbers + (compose.SelectType(str) | preprocessing.OneHotEncoder())) | model


_FOREST: Any = forest.ARFClassifier
_BAYES: Any = naive_bayes.GaussianNB
#: The models that stand in comparisons; trees read categories as they are.
RIVER: dict[str, Callable[[], Any]] = {
    "logistic_regression": lambda: _scaled(linear_model.LogisticRegression()),
    "gaussian_bayes": lambda: _scaled(_BAYES()),
    "hoeffding_adaptive_tree": lambda: tree.HoeffdingAdaptiveTreeClassifier(seed=1),
    "leveraging_bagging": lambda: ensemble.LeveragingBaggingClassifier(tree.HoeffdingTreeClassifier(), seed=1),
    "adaptive_random_forest": lambda: _FOREST(n_models=10, seed=1),
    "mondrian_forest": lambda: _scaled(forest.AMFClassifier(n_estimators=10, seed=1)),
}


def _figures(tally: Tally) -> dict[str, float]:
    names = ("accuracy", "kappa", "log_loss", "roc_auc", "calibration_error")
    return {name: rounded(getattr(tally, name), 4) for name in names}


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="end within 60 seconds, with rougher figures")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line (always printed)")
    parser.add_argument("--tier", choices=("light", "balanced", "full"), default="balanced")
    parser.add_argument("--dataset", choices=DATASETS, action="append")
    parser.add_argument("--delay", type=int, default=0, help="rows until a label is known")
    asked = parser.parse_args()
    figures: dict[str, Any] = {"tier": asked.tier, "delay": asked.delay, "datasets": {}}
    for name in asked.dataset or DATASETS:
        pipeline, rows = rows_of(name, QUICK_ROWS[asked.tier] if asked.quick else None)
        say(f"{name}: {len(rows)} rows")
        figures["datasets"][name] = committee_figures(replace(pipeline, tier=asked.tier), rows, asked.delay)
        if not asked.quick:
            figures["datasets"][name]["river"] = river_figures(pipeline, rows)
        say(f"  {figures['datasets'][name]}")
    ratios = [each["log_loss_ratio"] for each in figures["datasets"].values()]
    figures["log_loss_ratio_geomean"] = rounded(math.exp(math.fsum(map(math.log, ratios)) / len(ratios)), 4)
    figures["environment"] = environment(libraries=("river", "numpy", "scipy"))
    _print(figures)
    finish(figures)


def _print(figures: dict[str, Any]) -> None:
    columns = ("accuracy", "kappa", "log_loss", "best_member_log_loss", "log_loss_ratio", "cost_ratio")
    rows = [(name, *(each[column] for column in columns)) for name, each in figures["datasets"].items()]
    table(f"learning, {figures['tier']}", ("data set", *columns), rows)


if __name__ == "__main__":
    main()
