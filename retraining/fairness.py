"""Group fairness of a model's decisions on the rows that it is judged on, measured by Fairlearn's ``MetricFrame``."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2_contingency

from online.detectors.categorical import category
from online.disparate_impact import LEAST_GROUP
from online.fairness import favourable, quarters, range_name
from penstock.events import FeatureValue, GateResult, Score
from penstock.spec import Numeric, Pipeline
from retraining.dataset import Row
from retraining.figures import as_array, decided

#: A group with fewer favourable outcomes is too small for equal opportunity.
LEAST_DESERVING = 30
#: A disparity that chance gives this often is no verdict.
SIGNIFICANCE = 0.05


class Group(msgspec.Struct, frozen=True):
    """Of one group: rows, favourable decisions; rows whose outcome was favourable, and those decided so."""

    name: str
    rows: int
    favoured: int
    deserving: int
    deserving_favoured: int

    @property
    def selection_rate(self) -> float | None:
        """Share of favourable decisions."""
        return self.favoured / self.rows if self.rows else None

    @property
    def true_positive_rate(self) -> float | None:
        """Share of favourable decisions among those whose outcome was favourable."""
        return self.deserving_favoured / self.deserving if self.deserving else None


class Disparity(msgspec.Struct, frozen=True):
    """Rates of favourable decisions between groups that are large enough: least over greatest, and their difference.

    ``p_value``: how often chance gives groups with one rate so unequal ones (Pearson's χ² test of homogeneity).
    ``ratio`` is None where nobody is favoured; all three are where fewer than two groups are large enough.
    """

    ratio: float | None
    difference: float | None
    p_value: float | None
    judged: list[str]
    too_small: list[str]


class AttributeReport(msgspec.Struct, frozen=True):
    """One protected attribute: its groups, and the disparities over all rows and over the deserving ones."""

    attribute: str
    favourable: str
    groups: list[Group]
    selection: Disparity
    opportunity: Disparity


def fairness_report(pipeline: Pipeline, rows: Sequence[Row], scores: Sequence[Score]) -> list[AttributeReport]:
    """One report per protected attribute; none for a regression, which decides nothing.

    Numbers are grouped by their quarters on ``rows``; a missing value is of no group.
    """
    wanted = favourable(pipeline)
    if wanted is None:
        return []
    favoured = decided(pipeline, as_array(pipeline, scores)) == pipeline.classes.index(wanted)
    deserving = np.array([row.outcome == wanted for row in rows])
    return [_attribute(pipeline, name, wanted, rows, favoured, deserving) for name in pipeline.protected]


def _attribute(
    pipeline: Pipeline,
    attribute: str,
    wanted: str,
    rows: Sequence[Row],
    favoured: NDArray[np.bool_],
    deserving: NDArray[np.bool_],
) -> AttributeReport:
    names = _groups(pipeline, attribute, [row.features[attribute] for row in rows])
    known = np.array([name is not None for name in names], dtype=bool)
    named = np.array([name or "" for name in names], dtype=object)
    groups = []
    for name in _ordered(names):
        here = known & (named == name)
        counts = [int((here & part).sum()) for part in (known, favoured, deserving, deserving & favoured)]
        groups.append(Group(name, *counts))
    selection = _disparity(named[known], favoured[known], {g.name: g.rows for g in groups}, LEAST_GROUP)
    able = known & deserving
    opportunity = _disparity(named[able], favoured[able], {g.name: g.deserving for g in groups}, LEAST_DESERVING)
    return AttributeReport(attribute, wanted, groups, selection, opportunity)


def _groups(pipeline: Pipeline, attribute: str, values: Sequence[FeatureValue]) -> list[str | None]:
    if not isinstance(pipeline.feature(attribute), Numeric):
        return [category(value) for value in values]
    edges = quarters([float(value) for value in values if isinstance(value, int | float)])
    return [
        range_name(edges, bisect_right(edges, float(value))) if isinstance(value, int | float) else None
        for value in values
    ]


def _ordered(names: Sequence[str | None]) -> list[str]:
    """The groups, the largest first; equals by name."""
    counts = Counter(name for name in names if name is not None)
    return sorted(counts, key=lambda name: (-counts[name], name))


def _disparity(groups: NDArray[Any], favoured: NDArray[np.bool_], counts: dict[str, int], least: int) -> Disparity:
    judged = [name for name, count in counts.items() if count >= least]
    too_small = [name for name in counts if name not in judged]
    if len(judged) < 2:
        return Disparity(None, None, None, judged, too_small)
    from fairlearn.metrics import MetricFrame, selection_rate  # with scikit-learn, which fits have imported already

    kept = np.isin(groups, judged)
    chosen = favoured[kept].astype(int)
    frame = MetricFrame(
        metrics=selection_rate, y_true=chosen, y_pred=chosen, sensitive_features=groups[kept].astype(str)
    )
    difference = float(frame.difference(method="between_groups"))
    ratio = float(frame.ratio(method="between_groups")) if chosen.any() else None
    table = [[int(chosen[groups[kept] == name].sum()), counts[name]] for name in judged]
    return Disparity(ratio, difference, _chance(table), judged, too_small)


def _chance(table: Sequence[Sequence[int]]) -> float:
    """``table``: per group (favoured, rows)."""
    split = np.array([[good, rows - good] for good, rows in table])
    if (split.sum(axis=0) == 0).any():
        return 1.0
    return float(chi2_contingency(split, correction=False).pvalue)


def fairness_gates(pipeline: Pipeline, reports: Sequence[AttributeReport]) -> list[GateResult]:
    """Verdicts per protected attribute: demographic parity, disparate impact, equal opportunity."""
    gates, results = pipeline.gates, []
    for report in reports:
        exempt = gates.exempt.get(report.attribute)
        shares = {group.name: (group.favoured, group.rows) for group in report.groups}
        chances = {group.name: (group.deserving_favoured, group.deserving) for group in report.groups}
        chosen, able = report.selection, report.opportunity
        for name, value, limit, below, found, counts in (
            ("demographic_parity", chosen.difference, gates.max_demographic_parity, True, chosen, shares),
            ("disparate_impact", chosen.ratio, gates.min_disparate_impact, False, chosen, shares),
            ("equal_opportunity", able.ratio, gates.min_equal_opportunity, False, able, chances),
        ):
            result = _verdict(f"{name}:{report.attribute}", value, limit, below, found)
            detail = f"{result.detail}; {_counted(counts, found)}"
            if exempt is not None:
                detail = f"{detail}; not applied: {exempt}"
                result = msgspec.structs.replace(result, passed=None)
            results.append(msgspec.structs.replace(result, detail=detail))
    return results


def _verdict(name: str, value: float | None, limit: float | None, below: bool, found: Disparity) -> GateResult:
    """A disparity beyond its limit is refused unless chance may have made it (29 CFR 1607.4 D says the same)."""
    said = name.replace("_", " ").replace(":", " of ")
    if value is None or found.p_value is None:
        why = "nobody is favoured" if found.p_value is not None else "fewer than two groups are large enough"
        return GateResult(name=name, value=None, threshold=limit, passed=None, detail=f"{said}: {why}")
    detail = f"{said} {value:.4g}"
    if limit is None:
        return GateResult(name=name, value=value, threshold=None, passed=None, detail=detail)
    detail = f"{detail}, {'below' if below else 'above'} {limit:.4g} wanted"
    passed: bool | None = value < limit if below else value > limit
    if not passed and found.p_value > SIGNIFICANCE:
        passed, detail = None, f"{detail}; the groups are too small to tell it from chance (p = {found.p_value:.2g})"
    return GateResult(name=name, value=value, threshold=limit, passed=passed, detail=detail)


def _counted(counts: dict[str, tuple[int, int]], found: Disparity) -> str:
    said = ", ".join(f"{name}: {counts[name][0]}/{counts[name][1]}" for name in found.judged)
    small = ", ".join(f"{name}: {counts[name][1]}" for name in found.too_small)
    return "; ".join(part for part in (said, f"too small to judge {small}" if small else "") if part) or "no rows"
