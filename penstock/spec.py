"""What a use case declares: one frozen `Pipeline`, built by a Python file in ``pipelines/``."""

from __future__ import annotations

import hashlib
import re
import runpy
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import msgspec

from penstock.cron import parse_cron
from penstock.errors import SpecError

Task: TypeAlias = Literal["binary", "multiclass", "regression"]
Tier: TypeAlias = Literal["light", "balanced", "full"]
#: What inputs and scores are compared with: the first records since a promotion, the first of all, or the last window.
ReferenceMode: TypeAlias = Literal["promotion", "fixed", "sliding"]
#: Detectors of a rise of the error: the project's own likelihood ratio, and River's.
ErrorDetector: TypeAlias = Literal["likelihood_ratio", "adwin", "page_hinkley", "ddm", "eddm", "hddm_a", "hddm_w"]

DAY_MS = 86_400_000
#: Endings of the thresholds of effects, which are in [0, 1].
_IN_UNIT = ("_floor", "_drop", "_share", "_score")
#: Gates that only classes, or only numbers, can be held to.
CLASS_FLOORS = ("min_accuracy", "min_roc_auc", "min_precision", "min_recall", "min_f1")
NUMBER_FLOORS = ("min_r2", "max_mae")
#: Gates that are in [0, 1].
_SHARES = (
    *CLASS_FLOORS,
    "min_equal_opportunity",
    "min_disparate_impact",
    "max_demographic_parity",
    "max_explanation_drift",
)
_NAME = re.compile(r"^[a-z][a-z0-9_-]{0,62}$")


def _at_least(where: str, name: str, value: int, least: int) -> None:
    if value < least:
        raise SpecError(f"{where}: {name} is {value}, it must be at least {least}")


@dataclass(frozen=True, slots=True)
class Numeric:
    """A number. ``low`` and ``high`` are the expected range: values outside are scored, and are evidence of drift."""

    name: str
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        if self.low is not None and self.high is not None and self.low > self.high:
            raise SpecError(f"feature {self.name}: low {self.low} is greater than high {self.high}")


@dataclass(frozen=True, slots=True)
class Categorical:
    """A string. ``values`` are the expected ones: others are scored, and are evidence of drift. Empty: any."""

    name: str
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Boolean:
    """True or false."""

    name: str


@dataclass(frozen=True, slots=True)
class Date:
    """A date as a string in ``format`` (strptime). Models see year, month, weekday and days since 1970.

    Dates always move, so drift detectors leave them out.
    """

    name: str
    format: str = "%Y-%m-%d"


Feature: TypeAlias = Numeric | Categorical | Boolean | Date


@dataclass(frozen=True, slots=True)
class Rows:
    """A delay counted in rows of the stream."""

    count: int


@dataclass(frozen=True, slots=True)
class Millis:
    """A delay in milliseconds of event time."""

    count: int


Delay: TypeAlias = Rows | Millis


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftPolicy:
    """When a change is an alarm.

    ``window`` and ``reference`` are records, ``look_every`` predictions (or labelled examples) between two looks;
    together with ``reference_mode``, ``adwin_delta``, ``error_detectors`` and ``deciding`` they shape the detectors'
    state. The rest are thresholds and may change at any time.
    ``reference_mode``: inputs are compared with the first records since the last promotion, with the very first records
    for good (``fixed``), or window after window with the one before (``sliding``).
    ``error_detectors`` watch the error for concept drift; those that are also ``deciding`` raise alarms, the others
    are only reported.

    ``false_incidents_per_50k`` bounds the expected number of false incidents in 50,000 stationary predictions over all
    features, kinds, looks and partitions. The floors are the least effects worth an alarm: ``effect_floor`` of a
    feature (KS statistic, total variation, rise of the share of broken values), or instead ``psi_warning`` (a feature
    with a PSI of ``psi_critical`` also counts as moved for ``critical_feature_share``); ``error_floor`` a rise of the
    error (concept), ``performance_floor`` a drop of a metric, ``prior_floor`` a total variation of the labels' shares,
    ``prediction_floor`` a KS statistic or total variation of the scores or decisions, ``uncertainty_floor`` a rise of
    the mean uncertainty, ``population_floor`` 2 (AUC - 0.5) of the domain classifier, ``fairness_floor`` how far a
    ratio of groups lies below its limit (what it was before, at most 0.85).
    Critical: performance fell by more than ``critical_performance_drop``, or more than ``critical_feature_share`` of
    the features moved, or an effect is above ``critical_drift_score``. An incident closes after ``quiet_looks``.
    """

    window: int = 1000
    reference: int = 1000
    reference_mode: ReferenceMode = "promotion"
    look_every: int = 100
    adwin_delta: float = 0.002
    error_detectors: tuple[ErrorDetector, ...] = ("likelihood_ratio", "adwin")
    deciding: tuple[ErrorDetector, ...] = ("likelihood_ratio",)
    false_incidents_per_50k: float = 1.0
    effect_floor: float = 0.1
    psi_warning: float = 0.1
    psi_critical: float = 0.25
    error_floor: float = 0.02
    performance_floor: float = 0.02
    prior_floor: float = 0.05
    prediction_floor: float = 0.1
    uncertainty_floor: float = 0.05
    population_floor: float = 0.1
    fairness_floor: float = 0.05
    critical_performance_drop: float = 0.05
    critical_feature_share: float = 0.30
    critical_drift_score: float = 0.70
    quiet_looks: int = 10

    def __post_init__(self) -> None:
        for name in ("window", "reference", "look_every", "quiet_looks"):
            _at_least("drift policy", name, getattr(self, name), 1)
        if self.reference_mode not in get_args(ReferenceMode):
            known_modes = ", ".join(get_args(ReferenceMode))
            raise SpecError(f"drift policy: reference_mode {self.reference_mode!r} is not one of {known_modes}")
        if not 0.0 < self.adwin_delta < 1.0:
            raise SpecError(f"drift policy: adwin_delta is {self.adwin_delta}, it must be between 0 and 1")
        for name, known in (("error_detectors", get_args(ErrorDetector)), ("deciding", self.error_detectors)):
            named: tuple[str, ...] = getattr(self, name)
            strangers = [each for each in named if each not in known]
            if strangers or len(set(named)) != len(named):
                raise SpecError(f"drift policy: {name} must be different ones of {', '.join(known)}, not {list(named)}")
        if not self.false_incidents_per_50k > 0.0:
            raise SpecError("drift policy: false_incidents_per_50k must be positive; no detector can promise none")
        for name in (each.name for each in fields(self) if each.name.endswith(_IN_UNIT)):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise SpecError(f"drift policy: {name} is {getattr(self, name)}, it must be in [0, 1]")
        for name in ("psi_warning", "psi_critical"):
            if not getattr(self, name) >= 0.0:
                raise SpecError(f"drift policy: {name} is {getattr(self, name)}, it must be at least 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainingPolicy:
    """When a new model is fitted. All counts are labelled rows, but for ``effect_rows`` (rows of the stream).

    ``rollback``: whether a promoted model that proves worse than its predecessor is replaced by it at once.

    What starts a run, each None (or False) to switch it off:

    - ``critical`` drift;
    - ``warnings`` incidents within ``warnings_window_ms`` of event time, since the last run;
    - one warning that is still open ``warning_rows`` labelled rows after it opened, and after the last run started;
    - a ``performance_drop``: accuracy or F1 of what serves (regression: the mean absolute error, relative) is worse by
      more than this than since its promotion, beyond what chance does (`online.performance_drop`);
    - a drift score above ``drift_score`` for ``drift_score_ms`` of event time;
    - more than ``drifted_share`` of the watched features drifted;
    - ``schedule``, a cron line (`penstock.cron`, UTC), and ``at_latest_ms`` of wall time after the last run;
    - ``new_rows`` labelled since the last run started.

    ``enabled`` False switches all of them off. At most ``daily_runs`` start within 24 hours of event time, whoever
    asks. A search for settings tries ``trials`` of them within ``tuning_s``; fewer where there are few rows, or where
    the last ones brought nothing.

    Raises:
        SpecError: a value cannot be; the text names the field.
    """

    enabled: bool = True
    rollback: bool = True
    critical: bool = True
    warnings: int | None = 3
    warnings_window_ms: int = DAY_MS
    warning_rows: int | None = 2000
    performance_drop: float | None = 0.05
    drift_score: float | None = 0.70
    drift_score_ms: int = DAY_MS
    drifted_share: float | None = 0.30
    schedule: str | None = "0 2 * * 0"
    at_latest_ms: int | None = 30 * DAY_MS
    new_rows: int | None = None
    daily_runs: int = 24
    trials: int = 24
    tuning_s: float = 20.0
    collect_rows: int = 1500
    effect_rows: int = 500
    cooldown_rows: int = 500
    comparison_share: float = 0.3
    trial_rows: int = 2000
    seed: int = 7

    def __post_init__(self) -> None:
        for name, least in (("collect_rows", 1), ("effect_rows", 0), ("cooldown_rows", 0), ("trial_rows", 1)):
            _at_least("retraining policy", name, getattr(self, name), least)
        for name in ("warnings", "warning_rows", "new_rows", "at_latest_ms"):
            if (count := getattr(self, name)) is not None:
                _at_least("retraining policy", name, count, 1)
        for name, least in (("warnings_window_ms", 1), ("drift_score_ms", 0), ("daily_runs", 1)):
            _at_least("retraining policy", name, getattr(self, name), least)
        for name in ("performance_drop", "drift_score", "drifted_share"):
            value = getattr(self, name)
            if value is not None and not 0.0 <= value <= 1.0:
                raise SpecError(f"retraining policy: {name} is {value}, it must be in [0, 1] or None")
        if self.schedule is not None:
            try:
                parse_cron(self.schedule)
            except ValueError as error:
                raise SpecError(f"retraining policy: schedule {error}") from error
        if not 0.0 < self.comparison_share < 1.0:
            raise SpecError(
                f"retraining policy: comparison_share is {self.comparison_share}, it must be between 0 and 1"
            )
        _at_least("retraining policy", "trials", self.trials, 1)
        if not self.tuning_s > 0.0:
            raise SpecError(f"retraining policy: tuning_s is {self.tuning_s}, it must be positive")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """How a model that passed its gates comes to serve: shadow, canary, full.

    ``canary_share`` of the entities are answered by it first, for ``canary_rows`` rows of the stream (0: straight from
    the shadow). ``approval``: a person has to say yes before it serves, within ``approval_ms`` of event time (None:
    whenever). An experiment between two versions ends without a winner after ``experiment_rows`` labelled rows. A
    champion whose scoring fails in more than ``failures`` calls in a row, in more than ``error_rate`` of the newest
    calls, or takes more than ``latency_s`` again and again is rolled back.
    """

    canary_share: float = 0.0
    canary_rows: int = 1000
    approval: bool = False
    approval_ms: int | None = 7 * DAY_MS
    experiment_rows: int = 20_000
    failures: int = 3
    error_rate: float = 0.10
    latency_s: float = 5.0

    def __post_init__(self) -> None:
        _at_least("rollout", "canary_rows", self.canary_rows, 1)
        _at_least("rollout", "experiment_rows", self.experiment_rows, 1)
        _at_least("rollout", "approval_ms", 1 if self.approval_ms is None else self.approval_ms, 1)
        _at_least("rollout", "failures", self.failures, 1)
        if not 0.0 <= self.canary_share < 1.0:
            raise SpecError(f"rollout: canary_share is {self.canary_share}, it must be at least 0 and below 1")
        if not 0.0 <= self.error_rate <= 1.0:
            raise SpecError(f"rollout: error_rate is {self.error_rate}, it must be in [0, 1]")
        if not self.latency_s > 0.0:
            raise SpecError(f"rollout: latency_s is {self.latency_s}, it must be positive")


@dataclass(frozen=True, slots=True, kw_only=True)
class Gates:
    """What a candidate must show on the rows it is compared on. None: measured and reported, not applied.

    ``min_improvement`` is the least relative gain in log loss (regression: MAE) over the champion and the online model.
    Absolute floors are to be exceeded: ``min_accuracy``, ``min_roc_auc``, ``min_precision``, ``min_recall`` and
    ``min_f1`` of the positive class (multiclass: means over classes); for a regression ``min_r2``, and ``max_mae`` is
    to be kept below. Of each ``protected`` attribute's groups, the least rate over the greatest is to exceed
    ``min_disparate_impact`` (rates of favourable decisions; 0.80 is the four-fifths rule of 29 CFR 1607.4 D) and
    ``min_equal_opportunity`` (among those whose outcome was favourable), and their greatest difference is to stay below
    ``max_demographic_parity``. ``exempt`` names protected attributes whose limits are reported and not applied, each
    with the reason, which is part of the evidence. ``max_p99_ms`` bounds the 99th percentile of scoring one row,
    ``max_explanation_drift`` the total variation between importances of features, the candidate's and the champion's.
    """

    min_improvement: float = 0.01
    confidence: float = 0.95
    min_accuracy: float | None = None
    min_roc_auc: float | None = None
    min_precision: float | None = None
    min_recall: float | None = None
    min_f1: float | None = None
    min_r2: float | None = None
    max_mae: float | None = None
    min_equal_opportunity: float | None = 0.85
    min_disparate_impact: float | None = 0.80
    max_demographic_parity: float | None = None
    exempt: Mapping[str, str] = field(default_factory=dict)
    max_p99_ms: float | None = 50.0
    max_explanation_drift: float | None = None
    max_artifact_bytes: int = 64 * 1024 * 1024

    def __post_init__(self) -> None:
        for name in _SHARES:
            limit = getattr(self, name)
            if limit is not None and not 0.0 <= limit <= 1.0:
                raise SpecError(f"gates: {name} is {limit}, it must be in [0, 1]")
        for name in ("max_mae", "max_p99_ms"):
            limit = getattr(self, name)
            if limit is not None and not limit > 0.0:
                raise SpecError(f"gates: {name} is {limit}, it must be positive")
        if not 0.0 < self.confidence < 1.0:
            raise SpecError(f"gates: confidence is {self.confidence}, it must be between 0 and 1")
        if self.min_r2 is not None and not self.min_r2 < 1.0:
            raise SpecError(f"gates: min_r2 is {self.min_r2}, it must be below 1")
        _at_least("gates", "max_artifact_bytes", self.max_artifact_bytes, 1)

    def misfit(self, task: Task) -> str | None:
        """The first floor that is set and says nothing about ``task``, if any."""
        strangers = CLASS_FLOORS if task == "regression" else NUMBER_FLOORS
        return next((name for name in strangers if getattr(self, name) is not None), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """One use case: what comes in, what is predicted, and the policies around it.

    ``id``, ``entity``, ``time`` and ``label_time`` name columns of a data set for replay and backtest; without them the
    id is the row index, the entity the id, and the time the row index × 1000 ms. ``classes`` of a binary task are
    (negative, positive). ``horizon_ms`` is how long after a prediction its label may come (event time; None: for ever),
    ``early_bound_ms`` how long before; their defaults are unlimited when the label delay is in rows, else 7 d and 1 d.
    ``favourable`` is the decision that people hope for (None: the positive class); fairness compares how often each
    group of a ``protected`` attribute gets it. Metrics are also counted by each value of ``segments``.

    Raises:
        SpecError: the declaration contradicts itself; the text names the field.
    """

    name: str
    task: Task
    target: str
    features: tuple[Feature, ...]
    classes: tuple[str, ...] = ()
    id: str | None = None
    entity: str | None = None
    time: str | None = None
    time_format: str | None = None
    label_delay: Delay = Rows(0)
    label_time: str | None = None
    horizon_ms: int | None = None
    early_bound_ms: int | None = None
    protected: tuple[str, ...] = ()
    favourable: str | None = None
    segments: tuple[str, ...] = ()
    ignored: Mapping[str, str] = field(default_factory=dict)
    tier: Tier = "balanced"
    threshold: float = 0.5
    partitions: int = 1
    drift: DriftPolicy = DriftPolicy()
    retraining: RetrainingPolicy = RetrainingPolicy()
    gates: Gates = Gates()
    rollout: Rollout = Rollout()

    def __post_init__(self) -> None:
        if not _NAME.match(self.name):
            raise SpecError(
                f"pipeline name {self.name!r}: use lower-case letters, digits, - and _ (first a letter, at most 63)"
            )
        for field_name, known in (("task", get_args(Task)), ("tier", get_args(Tier))):
            if getattr(self, field_name) not in known:
                raise SpecError(
                    f"pipeline {self.name}: {field_name} {getattr(self, field_name)!r} is not one of {', '.join(known)}"
                )
        names = [feature.name for feature in self.features]
        if not names:
            raise SpecError(f"pipeline {self.name}: it has no features")
        doubled = sorted({name for name in names if names.count(name) > 1})
        if doubled:
            raise SpecError(f"pipeline {self.name}: feature {doubled[0]!r} is declared twice")
        if self.target in names:
            raise SpecError(f"pipeline {self.name}: the target {self.target!r} is also a feature")
        wanted = {"binary": (2, 2), "multiclass": (2, 1000), "regression": (0, 0)}[self.task]
        if not wanted[0] <= len(self.classes) <= wanted[1] or len(set(self.classes)) != len(self.classes):
            raise SpecError(f"pipeline {self.name}: classes {list(self.classes)} do not fit the task {self.task}")
        strangers = sorted(set(self.protected) - set(names))
        if strangers:
            raise SpecError(f"pipeline {self.name}: protected attribute {strangers[0]!r} is not a feature")
        if self.favourable is not None and self.favourable not in self.classes:
            raise SpecError(
                f"pipeline {self.name}: the favourable decision {self.favourable!r} is not one of its classes"
            )
        for name in self.segments:
            if name not in names or not isinstance(self.feature(name), Categorical | Boolean):
                raise SpecError(f"pipeline {self.name}: segment {name!r} is not a categorical or boolean feature")
        unknown = sorted(set(self.gates.exempt) - set(self.protected))
        if unknown:
            raise SpecError(f"pipeline {self.name}: gates exempt {unknown[0]!r}, which is not a protected attribute")
        misfit = self.gates.misfit(self.task)
        if misfit is not None:
            raise SpecError(f"pipeline {self.name}: gates.{misfit} says nothing about a {self.task} task")
        _at_least(f"pipeline {self.name}", "partitions", self.partitions, 1)
        _at_least(f"pipeline {self.name}", "label_delay", self.label_delay.count, 0)
        for name in ("horizon_ms", "early_bound_ms"):
            _at_least(f"pipeline {self.name}", name, getattr(self, name) or 0, 0)
        if not 0.0 < self.threshold < 1.0:
            raise SpecError(f"pipeline {self.name}: threshold must be between 0 and 1")
        if isinstance(self.label_delay, Millis):
            if self.horizon_ms is None:
                object.__setattr__(self, "horizon_ms", 7 * DAY_MS)
            if self.early_bound_ms is None:
                object.__setattr__(self, "early_bound_ms", DAY_MS)
            if self.horizon_ms is not None and self.label_delay.count > self.horizon_ms:
                raise SpecError(
                    f"pipeline {self.name}: labels come after {self.label_delay.count} ms, "
                    f"beyond the horizon of {self.horizon_ms} ms"
                )

    @property
    def positive(self) -> str:
        """The positive class of a binary task."""
        return self.classes[1]

    def feature(self, name: str) -> Feature:
        """The feature called ``name``. Raises ``KeyError``."""
        return next(feature for feature in self.features if feature.name == name)

    def state_digest(self) -> str:
        """SHA-256 over what stage state depends on. Thresholds, gates and replay columns are left out."""
        thresholds = {
            "name",
            "id",
            "time",
            "time_format",
            "label_delay",
            "label_time",
            "ignored",
            "retraining",
            "gates",
            "rollout",
            "drift",
            "protected",
            "favourable",
            "segments",
        }
        part: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in thresholds}
        part["features"] = [(type(feature).__name__, feature) for feature in self.features]
        drift = self.drift
        part["drift"] = (
            drift.window,
            drift.reference,
            drift.reference_mode,
            drift.look_every,
            drift.adwin_delta,
            drift.error_detectors,
            drift.deciding,
        )
        return hashlib.sha256(msgspec.json.encode(part)).hexdigest()


def load_pipeline(path: Path) -> Pipeline:
    """The one `Pipeline` that the Python file at ``path`` builds at its top level.

    The file is code of the user's and is run.

    Raises:
        SpecError: no such file, the file does not run, or it does not define exactly one pipeline.
    """
    if not path.is_file():
        raise SpecError(f"{path}: no such pipeline file; make one with `penstock init --from-csv FILE --target COL`")
    try:
        # run_path compiles the text itself: no bytecode is left beside the file, and none that is stale is used
        names = runpy.run_path(str(path), run_name=f"penstock_pipeline_{path.stem}")
    except SpecError as error:
        raise SpecError(f"{path}: {error}") from error
    except (Exception, SystemExit) as error:  # the user's file may raise anything; it becomes one clear line
        raise SpecError(f"{path}: {type(error).__name__}: {' '.join(str(error).split())}") from error
    found = [value for value in names.values() if isinstance(value, Pipeline)]
    distinct = [pipeline for index, pipeline in enumerate(found) if pipeline not in found[:index]]
    if len(distinct) != 1:
        raise SpecError(f"{path}: it must define exactly one Pipeline, found {len(distinct)}")
    return distinct[0]
