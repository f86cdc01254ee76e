"""Is the data fit to fit on? What stops a run, with the reason, and what is only worth a warning."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from penstock.events import GateResult
from penstock.spec import Pipeline
from retraining.dataset import Dataset, Row
from retraining.leakage import LEAKAGE_AUC, LEAST_PER_CLASS, leak

#: Fewer rows than these say nothing about a model.
LEAST_ROWS = 200
#: A class with fewer rows to compare on is judged, but roughly.
ROUGH_PER_CLASS = 30
#: A feature is gone where at least this share of its values is missing ...
GONE = 0.95
#: ... and it went missing within the window if at most this share was missing before.
PRESENT = 0.5
#: A change of the share of missing values within the window that is worth a warning.
MISSING_CHANGE = 0.2
#: Shares of rows that repeat an earlier one: features and outcome alike, or the same id.
MOST_DUPLICATES, WORTH_A_WORD = 0.5, 0.05
MOST_REPEATED_IDS = 0.1


class Quality(NamedTuple):
    """``problem``: why no model can be fitted on the data; empty: one can. ``warnings`` stop nothing.

    ``refused``: the problem is not that nothing can be fitted, but that nothing of it may serve.
    """

    problem: str = ""
    warnings: tuple[str, ...] = ()
    refused: GateResult | None = None


def quality_of(pipeline: Pipeline, dataset: Dataset, comparison_share: float) -> Quality:
    """Look at ``dataset``, on whose earlier rows models are fitted and on whose later share they are compared.

    In this order: rows of another spec, volume, class balance, missing values, duplicates, leakage of the label. The
    first problem ends it.
    """
    rows, warnings = dataset.rows, list[str]()
    stranger = next((row for row in rows if not fits(pipeline, row)), None)
    if stranger is not None:
        return Quality(
            f"example {stranger.id} was recorded under another spec: it lacks a feature or has an unknown class"
        )
    earlier, later = dataset.split(comparison_share)
    if len(rows) < LEAST_ROWS or not later or not earlier:
        return Quality(f"too little data: {len(rows)} labelled rows, at least {LEAST_ROWS} are needed")
    for look in (_balance, _missing, _duplicates):
        found = look(pipeline, earlier, later)
        warnings.extend(found.warnings)
        if found.problem:
            return Quality(found.problem, tuple(warnings))
    leaking = leak(pipeline, rows)
    if leaking is None:
        return Quality("", tuple(warnings))
    problem = f"leakage: {leaking}"
    gate = GateResult(name="leakage", value=leaking.power, threshold=LEAKAGE_AUC, passed=False, detail=problem)
    return Quality(problem, tuple(warnings), gate)


def fits(pipeline: Pipeline, row: Row) -> bool:
    """Whether ``row`` was recorded under this spec: all its features, and an outcome of its kind."""
    known = isinstance(row.outcome, float) if pipeline.task == "regression" else row.outcome in pipeline.classes
    return known and all(feature.name in row.features for feature in pipeline.features)


def _balance(pipeline: Pipeline, earlier: Sequence[Row], later: Sequence[Row]) -> Quality:
    for what, part in (("fit", earlier), ("compare", later)):
        wrong = _variety_problem(pipeline, part)
        if wrong:
            return Quality(f"the rows to {what} on {wrong}")
    if pipeline.task == "regression":
        return Quality()
    counts = Counter(str(row.outcome) for row in later)
    rare = [f"{name} ({counts[name]})" for name in pipeline.classes if counts[name] < ROUGH_PER_CLASS]
    few = f"fewer than {ROUGH_PER_CLASS} rows to compare on, so judged roughly: class {', '.join(rare)}"
    return Quality("", (few,) if rare else ())


def _variety_problem(pipeline: Pipeline, rows: Sequence[Row]) -> str | None:
    if pipeline.task == "regression":
        constant = len({row.outcome for row in rows}) == 1
        return f"have one value of {pipeline.target} only" if constant else None
    counts = Counter(str(row.outcome) for row in rows)
    if sum(count >= LEAST_PER_CLASS for count in counts.values()) >= 2:
        return None
    first, *others = sorted(counts, key=lambda name: (-counts[name], name))
    if not others:
        return f"have one class only ({first}: {counts[first]} rows)"
    rare = ", ".join(f"{name}: {counts[name]} rows" for name in others)
    return f"have a class too rare to judge ({rare}; at least {LEAST_PER_CLASS} are needed)"


def _missing(pipeline: Pipeline, earlier: Sequence[Row], later: Sequence[Row]) -> Quality:
    names = [feature.name for feature in pipeline.features]
    shares = {name: (_missing_share(earlier, name), _missing_share(later, name)) for name in names}
    if all(before >= GONE for before, _ in shares.values()):
        return Quality(f"every feature is missing in at least {GONE:.0%} of the rows to fit on")
    for name, (before, after) in shares.items():
        if before <= PRESENT and after >= GONE:
            return Quality(
                f"feature {name} has gone missing: in {before:.0%} of the rows to fit on, "
                f"in {after:.0%} of the later ones to compare on"
            )
    return Quality("", tuple(_missing_warnings(shares)))


def _missing_share(rows: Sequence[Row], name: str) -> float:
    return sum(row.features[name] is None for row in rows) / len(rows)


def _missing_warnings(shares: dict[str, tuple[float, float]]) -> Iterator[str]:
    for name, (before, after) in shares.items():
        if before >= GONE:
            yield f"feature {name} is missing in {before:.0%} of the rows to fit on: nothing is learned from it"
        elif abs(after - before) >= MISSING_CHANGE:
            yield f"feature {name} is missing in {before:.0%} of the rows to fit on, in {after:.0%} of the later ones"


def _duplicates(pipeline: Pipeline, earlier: Sequence[Row], later: Sequence[Row]) -> Quality:
    rows = [*earlier, *later]
    ids = 1.0 - len({row.id for row in rows}) / len(rows)
    if ids > MOST_REPEATED_IDS:
        return Quality(f"duplicates: {ids:.0%} of the rows repeat the id of another")
    names = [feature.name for feature in pipeline.features]
    contents = [(*(row.features[name] for name in names), row.outcome) for row in rows]
    share = 1.0 - len(set(contents)) / len(rows)
    if share > MOST_DUPLICATES and not _alike_by_chance(contents):
        return Quality(f"duplicates: {share:.0%} of the rows repeat the features and the outcome of another")
    warnings = [f"{ids:.1%} of the rows repeat the id of another"] if ids else []
    if share > WORTH_A_WORD:
        warnings.append(f"{share:.0%} of the rows repeat the features and the outcome of another")
    return Quality("", tuple(warnings))


def _alike_by_chance(contents: Sequence[tuple[object, ...]]) -> bool:
    """Do a few values make equal rows natural? So where a row is expected to meet at least one other that is alike.

    Two rows agree in a column with probability Σ pᵥ² over its values v; in all of them, were the columns independent,
    with the product of these. Columns that depend on each other agree more often: the test errs towards a problem.
    """
    agree = 1.0
    for column in zip(*contents, strict=True):
        counts = np.array(list(Counter(column).values()), dtype=float)
        agree *= float(((counts / len(contents)) ** 2).sum())
    return agree * len(contents) >= 1.0
