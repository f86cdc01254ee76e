"""One fit, from a decision and its data to an outcome; a pure function but for the artifact it stores."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from online.batch import dump_batch
from penstock.events import CandidateResult, Decision, GateResult, ModelRecord, Score
from penstock.models.artifact import ArtifactRef, ArtifactStore
from penstock.models.registry import Registration
from penstock.models.slot import ONLINE
from penstock.spec import Pipeline
from retraining.backend import FitBackend, local
from retraining.candidates import Candidate, evidence, fit_candidates
from retraining.dataset import Dataset
from retraining.gates import (
    Comparison,
    accuracy_gate,
    choose,
    compare,
    improvement_gate,
    incumbents,
    recorded,
    size_gate,
)
from retraining.quality import LEAST_ROWS, fits, quality_of
from retraining.states import State
from retraining.warm_start import ONLINE_COPY, Base, BaseSource, no_base


class Fit(NamedTuple):
    """What came of a fit. ``error``: nothing could be compared. ``registration``: it passed and is to be registered."""

    error: str = ""
    results: Sequence[CandidateResult] = ()
    gates: Sequence[GateResult] = ()
    winner: str = ""
    rows_train: int = 0
    rows_compared: int = 0
    model: ModelRecord | None = None
    registration: Registration | None = None
    lineage: Mapping[str, str] = {}


def _still_s() -> float:
    """A clock that stands still: nothing is measured by it."""
    return 0.0


def fit_run(
    pipeline: Pipeline,
    state: State,
    decision: Decision,
    data: Dataset,
    artifacts: ArtifactStore,
    backend: FitBackend = local,
    *,
    monotonic_s: Callable[[], float] = _still_s,
    bases: BaseSource = no_base,
    settings: Mapping[str, str] | None = None,
) -> Fit:
    """Fit, compare and judge for the run of ``decision`` (``collected``; ``state`` is the fold up to it).

    1. Check the data; where nothing can be fitted on it, only champion and online model are compared. 2. Fit on the
    earlier rows. 3. Compare on the later ones with what the champion and the online model had recorded there. 4. Judge
    the best candidate, or else the online model. 5. Store the winner's artifact.

    ``monotonic_s`` times the search; ``bases`` finds what a copy of the online model starts from; ``settings`` of the
    candidates, as an earlier fit of the same run recorded them, take the place of a search.

    Raises:
        ClusterError: ``backend`` is a cluster that cannot be used now; the same call may be repeated.
    """
    share = pipeline.retraining.comparison_share
    quality = quality_of(pipeline, data, share)
    if quality.problem:
        return _incumbents_only(pipeline, state.champion.version, data, Fit(error=quality.problem))
    earlier, later = data.split(share)
    base = bases(earlier, later)
    known = base if isinstance(base, Base) else None
    candidates = fit_candidates(pipeline, earlier, backend, base=known, recorded=settings, monotonic_s=monotonic_s)
    champion = state.champion.version
    features = [row.features for row in later]
    columns: dict[str, Sequence[Score | None]] = {name: recorded(later, name) for name in incumbents(champion)}
    columns |= {candidate.name: candidate.model.score_many(features) for candidate in candidates}
    comparison = compare(pipeline, later, columns)
    best = choose(comparison, [candidate.name for candidate in candidates])
    blob = dump_batch(next(candidate.model for candidate in candidates if candidate.name == best))
    gates = _judged(pipeline, comparison, best, incumbents(champion), len(candidates))
    gates.append(size_gate(pipeline, len(blob)))
    warnings = [*quality.warnings, *([f"no {ONLINE_COPY}: {base}"] if isinstance(base, str) else [])]
    made = evidence(candidates, warnings)
    fit = Fit("", comparison.results, gates, best, len(earlier), len(later), lineage=made)
    if _passed(gates):
        return _announceable(pipeline, state, decision, data, fit, artifacts.put(blob), candidates)
    if champion != ONLINE and ONLINE in comparison.losses:
        return _online_instead(pipeline, comparison, champion, fit)
    return fit


def _judged(
    pipeline: Pipeline, comparison: Comparison, name: str, against: Sequence[str], chosen_from: int
) -> list[GateResult]:
    gates = [improvement_gate(pipeline, comparison, name, other, chosen_from) for other in against]
    floor = accuracy_gate(pipeline, comparison, name)
    return gates if floor is None else [*gates, floor]


def _passed(gates: Sequence[GateResult]) -> bool:
    return all(gate.passed is not False for gate in gates)


def _online_instead(pipeline: Pipeline, comparison: Comparison, champion: str, fit: Fit) -> Fit:
    """The online model takes the slot of a batch champion that it beats; else the candidate's refusal stands."""
    gates = _judged(pipeline, comparison, ONLINE, [champion], 1)
    if not _passed(gates):
        return fit
    # The candidate's own verdicts stay in the evidence, but no longer decide.
    reported = [msgspec.structs.replace(gate, name=f"{fit.winner}_{gate.name}", passed=None) for gate in fit.gates]
    return fit._replace(winner=ONLINE, gates=[*gates, *reported])


def _incumbents_only(pipeline: Pipeline, champion: str, data: Dataset, refused: Fit) -> Fit:
    """Nothing can be fitted on ``data``: the online model may take the slot of a batch champion that it beats there."""
    if champion == ONLINE or len(data.rows) < LEAST_ROWS or not all(fits(pipeline, row) for row in data.rows):
        return refused
    _, later = data.split(pipeline.retraining.comparison_share)
    comparison = compare(pipeline, later, {name: recorded(later, name) for name in incumbents(champion)})
    if not {champion, ONLINE} <= comparison.losses.keys():
        return refused
    fit = _online_instead(pipeline, comparison, champion, refused)
    if fit is refused:
        return refused
    return fit._replace(error="", results=comparison.results, rows_compared=len(later))


def _announceable(
    pipeline: Pipeline,
    state: State,
    decision: Decision,
    data: Dataset,
    fit: Fit,
    artifact: ArtifactRef,
    candidates: Sequence[Candidate],
) -> Fit:
    version = f"v{state.run.number if state.run else state.runs}"
    record = ModelRecord(
        slot="challenger",
        version=version,
        kind="batch",
        generation=state.champion.generation,
        uri=artifact.uri,
        digest=artifact.digest,
        signature=artifact.signature,
        size_bytes=artifact.size_bytes,
        run_id=decision.run_id,
    )
    registration = Registration(
        run_id=decision.run_id,
        version=version,
        artifact=artifact,
        params={"winner": fit.winner, **{candidate.name: candidate.settings for candidate in candidates}},
        metrics=_metrics(fit.results),
        lineage={**lineage(pipeline, state, decision, data, fit.gates), **fit.lineage},
    )
    return fit._replace(model=record, registration=registration)


def _metrics(results: Sequence[CandidateResult]) -> dict[str, float]:
    figures = ("log_loss", "accuracy", "mae", "rmse")
    return {
        f"{result.name}.{figure}": value
        for result in results
        for figure in figures
        if (value := getattr(result, figure)) is not None
    }


def lineage(
    pipeline: Pipeline, state: State, decision: Decision, data: Dataset, gates: Sequence[GateResult]
) -> dict[str, str]:
    """Where a version came from, as text: enough to fit it again from the log."""
    import sklearn
    import skops

    libraries = {
        "python": platform.python_version(),
        "scikit-learn": sklearn.__version__,
        "skops": skops.__version__,
        "machine": platform.machine(),
    }
    return {
        "pipeline": pipeline.name,
        "spec_digest": pipeline.state_digest(),
        "data_range": msgspec.json.encode(decision.data).decode(),
        "data_digest": data.digest,
        "data_rows": str(len(data.rows)),
        "seed": str(pipeline.retraining.seed),
        "trigger": decision.trigger,
        "decision": decision.hash,
        "parent_version": state.champion.version,
        "parent_generation": str(state.champion.generation),
        "libraries": msgspec.json.encode(libraries).decode(),
        "gates": msgspec.json.encode(list(gates)).decode(),
    }
