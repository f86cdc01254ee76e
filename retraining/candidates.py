"""Candidates: a model per family, its settings searched by cross-validation in time order and its probabilities
calibrated; and a copy of the online model that goes on learning over the same rows.

Everything is seeded and runs on one thread, so equal rows and settings give equal models, bit for bit. A fit of one
setting on one fold is one task: a pure function of what can be pickled, run wherever the backend says.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from online.batch import BatchModel
from online.calibration import Calibration
from online.frozen import FrozenCommittee
from online.tabular import Matrix
from penstock.errors import ArtifactError
from penstock.spec import Pipeline
from retraining.backend import FitBackend, local, spread
from retraining.calibrating import Held, calibrate
from retraining.dataset import Row
from retraining.families import Settings, families
from retraining.folds import Fitting, Training, fit_one, score_fold, training_of
from retraining.tuning import Budget, Judged, Trial, Tuned, affordable, tune
from retraining.warm_start import ONLINE_COPY, Base, continued


class Chosen(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a candidate was made, for the log: enough to make it again without a search.

    ``loss``: its mean loss on rows that it was not fitted on, in cross-validation; ``trials``: how many settings of its
    family were tried.
    """

    settings: Settings
    calibration: str = ""
    loss: float | None = None
    trials: int = 0


class Candidate(NamedTuple):
    """A fitted model, and how it was made as text (the JSON of `Chosen`)."""

    name: str
    model: BatchModel | FrozenCommittee
    settings: str


def _still_s() -> float:
    return 0.0


def fit_candidates(
    pipeline: Pipeline,
    rows: Sequence[Row],
    backend: FitBackend = local,
    *,
    base: Base | None = None,
    recorded: Mapping[str, str] | None = None,
    monotonic_s: Callable[[], float] = _still_s,
) -> list[Candidate]:
    """One fitted candidate per family, in a fixed order, and one from ``base``, where there is one.

    ``rows`` are in time order and hold at least two classes. ``recorded``: candidates' texts by name, as an earlier fit
    on the same rows recorded them; there is no search then. The search is timed by ``monotonic_s``; by default the
    number of trials alone ends it.

    Raises:
        ClusterError: ``backend`` is a cluster that cannot be used now; the same call may be repeated.
        ArtifactError: ``recorded`` is not what was recorded.
    """
    # Their thread pools are limited only if they are loaded by then.
    import sklearn.ensemble
    import sklearn.linear_model  # noqa: F401
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # it has no stubs

    kinds = families(pipeline, _shares(pipeline, rows))
    if recorded is not None:
        kinds = [kind._replace(starts=(chosen_settings(recorded, kind.name),)) for kind in kinds]
    styles = sorted({kind.style for kind in kinds})
    training = training_of(pipeline, rows, styles)
    folds = len(training.cuts[styles[0]]) - 1
    policy = pipeline.retraining
    searched = recorded is None and folds > 0
    trials = affordable(policy.trials, len(rows), len(kinds)) if searched else len(kinds)

    def judge(trials: Sequence[Trial]) -> list[Judged[Calibration | None]]:
        tasks = [
            Fitting(kinds[trial.family].name, kinds[trial.family].style, trial.settings, fold)
            for trial in trials
            for fold in range(folds)
        ]
        tables = spread(score_fold, training, tasks)
        return [_judged(training, tables[at * folds : (at + 1) * folds]) for at in range(len(trials))]

    with threadpool_limits(limits=1), backend(training):
        tuned = tune(kinds, judge, Budget(trials, policy.tuning_s, monotonic_s), policy.seed)
        finals = [Fitting(kind.name, kind.style, each.settings, folds) for kind, each in zip(kinds, tuned, strict=True)]
        fitted = spread(fit_one, training, finals)
        copies = [] if base is None else [continued(pipeline, base, rows)]
    made = [
        Candidate(kind.name, BatchModel(pipeline, fit.encoding, fit.estimator, each.judged.found), _text(each))
        for kind, each, fit in zip(kinds, tuned, fitted, strict=True)
    ]
    return made + [Candidate(ONLINE_COPY, copy, _encoded(Chosen(base.settings))) for copy in copies if base is not None]


def evidence(candidates: Sequence[Candidate], warnings: Sequence[str]) -> dict[str, str]:
    """How all ``candidates`` were made and what was strange about the data, as text for the lineage."""
    made = {candidate.name: msgspec.Raw(candidate.settings.encode()) for candidate in candidates}
    found = {"candidates": msgspec.json.encode(made).decode()}
    return found | ({"warnings": msgspec.json.encode(list(warnings)).decode()} if warnings else {})


def recorded_settings(lineage: Mapping[str, str]) -> dict[str, str] | None:
    """What `evidence` said of each candidate, by name; None where nothing was said.

    Raises:
        ArtifactError: it cannot be read.
    """
    if "candidates" not in lineage:
        return None
    try:
        made = msgspec.json.decode(lineage["candidates"], type=dict[str, msgspec.Raw])
    except msgspec.MsgspecError as error:
        raise ArtifactError(f"the settings of the candidates are not recorded as they should be: {error}") from error
    return {name: bytes(text).decode() for name, text in made.items()}


def _shares(pipeline: Pipeline, rows: Sequence[Row]) -> list[float]:
    counts = Counter(str(row.outcome) for row in rows)
    return [counts[name] / len(rows) for name in pipeline.classes]


def _judged(training: Training, tables: Sequence[Matrix]) -> Judged[Calibration | None]:
    """The mean loss of out-of-fold scores (one table per fold) and, for classes, the calibration that they allow."""
    if not tables:
        return Judged(math.inf, None)
    cuts = next(iter(training.cuts.values()))
    wanted = [training.target[cut.fitted : cut.fitted + len(table)] for cut, table in zip(cuts, tables, strict=False)]
    if training.pipeline.task == "regression":
        errors = np.abs(np.concatenate(tables)[:, 0] - np.concatenate(wanted))
        loss, found = float(errors.mean()), None
    else:
        held = [Held(table, outcomes.astype(np.int64)) for table, outcomes in zip(tables, wanted, strict=True)]
        found, loss = calibrate(held)
    return Judged(loss if math.isfinite(loss) else math.inf, found)


def _text(tuned: Tuned[Calibration | None]) -> str:
    loss, found = tuned.judged
    known = None if math.isinf(loss) else loss
    return _encoded(Chosen(tuned.settings, "" if found is None else found.kind, known, tuned.trials))


def _encoded(chosen: Chosen) -> str:
    return msgspec.json.encode(chosen).decode()


def chosen_settings(recorded: Mapping[str, str], name: str) -> Settings:
    """The settings that were recorded of the candidate called ``name``.

    Raises:
        ArtifactError: they were not, or cannot be read.
    """
    try:
        return msgspec.json.decode(recorded[name], type=Chosen).settings
    except (KeyError, msgspec.MsgspecError) as error:
        raise ArtifactError(f"the settings of {name} are not recorded as they should be: {error}") from error
