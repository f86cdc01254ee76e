"""One fit, from a decision and its data to an outcome; a pure function but for the artifact it stores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from online import snapshot
from online.batch import dump_batch, load_batch
from penstock.errors import PenstockError
from penstock.events import CandidateResult, Decision, GateResult, ModelRecord, Score
from penstock.models.artifact import ArtifactRef, ArtifactStore
from penstock.models.registry import Registration
from penstock.models.slot import ONLINE
from penstock.spec import Pipeline
from retraining.backend import FitBackend, local
from retraining.candidates import Candidate, evidence, fit_candidates
from retraining.dataset import Dataset
from retraining.gates import Comparison, choose, compare, incumbents, recorded
from retraining.judging import Champion, Contender, judge, judge_recorded, passed
from retraining.lineage import lineage
from retraining.model_card import Subject, summarised
from retraining.quality import LEAST_ROWS, fits, quality_of
from retraining.soundness import artifact_gate
from retraining.states import State
from retraining.warm_start import ONLINE_COPY, UNTRAINED, Base, BaseSource, no_base


class Fit(NamedTuple):
    """What came of a fit. ``error``: nothing could be compared. ``registration``: it passed and is to be registered.

    ``subject`` is what the model card of that registration is about.
    """

    error: str = ""
    results: Sequence[CandidateResult] = ()
    gates: Sequence[GateResult] = ()
    winner: str = ""
    rows_train: int = 0
    rows_compared: int = 0
    model: ModelRecord | None = None
    registration: Registration | None = None
    lineage: Mapping[str, str] = {}
    subject: Subject | None = None


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
    provenance: Mapping[str, str] | None = None,
) -> Fit:
    """Fit, compare and judge for the run of ``decision`` (``collected``; ``state`` is the fold up to it).

    1. Check the data; where nothing can be fitted on it, only champion and online model are compared. 2. Fit on the
    earlier rows. 3. Compare on the later ones with what the champion and the online model had recorded there. 4. Judge
    the best candidate, or else the online model. 5. Store the winner's artifact, and read it back.

    ``monotonic_s`` times the search and the scoring; ``bases`` finds what a copy of the online model starts from;
    ``settings`` of the candidates, as an earlier fit of the same run recorded them, take the place of a search;
    ``provenance`` joins the lineage.

    Raises:
        ArtifactError: the artifact cannot be stored.
        ClusterError: ``backend`` is a cluster that cannot be used now; the same call may be repeated.
    """
    share = pipeline.retraining.comparison_share
    quality = quality_of(pipeline, data, share)
    if quality.problem:
        refused = Fit(error=quality.problem) if quality.refused is None else Fit(gates=[quality.refused])
        return _incumbents_only(pipeline, state.champion.version, data, refused)
    earlier, later = data.split(share)
    base = bases(earlier, later)
    known = base if isinstance(base, Base) else None
    candidates = fit_candidates(pipeline, earlier, backend, base=known, recorded=settings, monotonic_s=monotonic_s)
    version = state.champion.version
    features = [row.features for row in later]
    columns: dict[str, Sequence[Score | None]] = {name: recorded(later, name) for name in incumbents(version)}
    columns |= {candidate.name: candidate.model.score_many(features) for candidate in candidates}
    comparison = compare(pipeline, later, columns)
    best = choose(comparison, [candidate.name for candidate in candidates])
    winner = next(candidate for candidate in candidates if candidate.name == best)
    contender = Contender(best, winner.model, dump_batch(winner.model), lambda blob: load_batch(pipeline, blob))
    judgement = judge(
        pipeline,
        later,
        comparison,
        contender,
        incumbents(version),
        len(candidates),
        champion_of(pipeline, state.champion, artifacts, base),
        monotonic_s,
    )
    warnings = list(quality.warnings)
    if isinstance(base, str):
        warnings.append(f"no {ONLINE_COPY}: {base}")
    elif base.why:
        warnings.append(f"{ONLINE_COPY} started with nothing: {base.why}")
    origin = lineage(pipeline, state, decision, data, provenance or {}) | evidence(candidates, warnings)
    fit = Fit("", comparison.results, judgement.gates, best, len(earlier), len(later), lineage=origin)
    if judgement.passed:
        ref = artifacts.put(contender.blob)
        intact = artifact_gate(artifacts, ref, contender.blob)
        judgement = judgement._replace(gates=[*judgement.gates, intact])
        fit = fit._replace(gates=judgement.gates)
        if intact.passed:
            summary = summarised(pipeline, earlier, later)
            subject = Subject(
                version_of(state), best, winner.settings, ref.size_bytes, summary, fit.results, judgement, origin
            )
            return _announceable(state, decision, fit._replace(subject=subject), ref, candidates)
    if version != ONLINE and ONLINE in comparison.losses:
        return _online_instead(pipeline, data, comparison, version, fit)
    return fit


def champion_of(pipeline: Pipeline, record: ModelRecord, artifacts: ArtifactStore, base: Base | str) -> Champion:
    """Who serves by ``record``, to be asked what it looks at; one that cannot be had says why.

    The online model is asked as it was in ``base``, a snapshot from before the rows (a text: why there is none).
    """
    try:
        if record.uri:
            blob = artifacts.get(record.uri, record.digest, record.signature)
            return Champion(record.version, load_batch(pipeline, blob))
        if isinstance(base, Base) and base.record.slot != UNTRAINED:
            return Champion(record.version, snapshot.load(pipeline, base.data))
    except PenstockError as error:
        return Champion(record.version, None, f"the champion {record.version} does not load: {error}")
    why = base if isinstance(base, str) else base.why or "no snapshot of it was at hand"
    return Champion(record.version, None, f"the champion is the online model: {why}")


def version_of(state: State) -> str:
    """The name of the version that the run of ``state`` may make."""
    return f"v{state.run.number if state.run else state.runs}"


def _online_instead(pipeline: Pipeline, data: Dataset, comparison: Comparison, champion: str, fit: Fit) -> Fit:
    """The online model takes the slot of a batch champion that it beats; else the candidate's refusal stands."""
    _, later = data.split(pipeline.retraining.comparison_share)
    gates = judge_recorded(pipeline, later, recorded(later, ONLINE), comparison, ONLINE, [champion]).gates
    if not passed(gates):
        return fit
    # The candidate's own verdicts stay in the evidence, but no longer decide.
    reported = [
        msgspec.structs.replace(gate, name=f"{fit.winner or 'candidates'}_{gate.name}", passed=None)
        for gate in fit.gates
    ]
    return fit._replace(winner=ONLINE, gates=[*gates, *reported])


def _incumbents_only(pipeline: Pipeline, champion: str, data: Dataset, refused: Fit) -> Fit:
    """Nothing can be fitted on ``data``: the online model may take the slot of a batch champion that it beats there."""
    if champion == ONLINE or len(data.rows) < LEAST_ROWS or not all(fits(pipeline, row) for row in data.rows):
        return refused
    _, later = data.split(pipeline.retraining.comparison_share)
    comparison = compare(pipeline, later, {name: recorded(later, name) for name in incumbents(champion)})
    if not {champion, ONLINE} <= comparison.losses.keys():
        return refused
    fit = _online_instead(pipeline, data, comparison, champion, refused)
    if fit is refused:
        return refused
    return fit._replace(error="", results=comparison.results, rows_compared=len(later))


def _announceable(
    state: State, decision: Decision, fit: Fit, artifact: ArtifactRef, candidates: Sequence[Candidate]
) -> Fit:
    version = version_of(state)
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
        metrics=_metrics(fit),
        lineage=fit.lineage,
    )
    return fit._replace(model=record, registration=registration)


def _metrics(fit: Fit) -> dict[str, float]:
    """The winner's figures by name, and the losses of all that were compared as ``name.figure``."""
    compared = ("log_loss", "accuracy", "mae", "rmse")
    own = {} if fit.subject is None else fit.subject.judgement.figures
    return {name: figure.value for name, figure in own.items()} | {
        f"{result.name}.{figure}": value
        for result in fit.results
        for figure in compared
        if (value := getattr(result, figure)) is not None
    }
