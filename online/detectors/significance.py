"""How small a p-value must be, so that the bound on false incidents holds."""

from __future__ import annotations

from penstock.spec import Boolean, Categorical, Date, DriftPolicy, Numeric, Pipeline

#: The stretch of stationary predictions that ``DriftPolicy.false_incidents_per_50k`` speaks of.
STRETCH = 50_000
#: Predictions that an hourly look needs at least.
HOURLY_LEAST = 50
#: p-values of one look about what was served (score, decision, confidence, entropy), and about the population.
SERVED_SIGNALS, POPULATION_SIGNALS = 4, 1
#: The test of where a number lies, its p-values of one look, and its floor as a share of ``effect_floor``.
LOCATION, LOCATION_P_VALUES, LOCATION_SHARE = "location", 6, 0.8
#: The version that findings about a model that stands still name.
REFERENCE_MODEL = "reference model"


def numeric_features(pipeline: Pipeline) -> list[Numeric]:
    """The features that the two-sample KS test watches."""
    return [feature for feature in pipeline.features if isinstance(feature, Numeric)]


def category_features(pipeline: Pipeline) -> list[Categorical | Boolean]:
    """The features that the χ² test watches."""
    return [feature for feature in pipeline.features if isinstance(feature, Categorical | Boolean)]


def monitored_count(pipeline: Pipeline) -> int:
    """How many features are watched: all but dates, which always move."""
    return sum(not isinstance(feature, Date) for feature in pipeline.features)


def has_range(feature: Numeric) -> bool:
    """Whether a value can be out of the declared range."""
    return feature.low is not None or feature.high is not None


def signal_count(pipeline: Pipeline) -> int:
    """How many p-values one look has at most.

    Each of the whole window and of its newest quarter: per feature one of its distribution, for a number a second one
    (of its share in each decile), one of its missing rate, and one of its unexpected values where the spec declares
    what is expected. Of a number besides six of where it lies. Per pipeline what was served and the population.
    """
    numbers = len(numeric_features(pipeline))
    ranges = sum(has_range(feature) for feature in numeric_features(pipeline))
    values = sum(isinstance(feature, Categorical) and bool(feature.values) for feature in category_features(pipeline))
    per_window = 2 * monitored_count(pipeline) + numbers + ranges + values
    return 2 * per_window + LOCATION_P_VALUES * numbers + SERVED_SIGNALS + POPULATION_SIGNALS


def significance_level(policy: DriftPolicy, signals: int) -> float:
    """The greatest p-value that counts as significant, for one signal at one look.

    In 50,000 predictions there are at most 50,000 / l looks, l = min(``look_every``, 50) as an hour's look needs 50
    predictions, each look with at most ``signals`` p-values, *however many
    partitions share the predictions*: a look is always about the partition that looked. Without drift a p-value is
    at most a with probability at most a. So the expected number of significant p-values is at most ::

        a × signals × 50,000 / l

    whatever their dependence (linearity of expectation), and an incident needs one. The level a puts this at
    ``false_incidents_per_50k``. Overlapping windows make neighbouring looks fail together, and one incident takes in
    many of them, so the real rate lies well below.
    """
    looks = STRETCH / min(policy.look_every, HOURLY_LEAST)
    return min(1.0, policy.false_incidents_per_50k / (looks * max(1, signals)))
