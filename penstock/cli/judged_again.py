"""A version of the log judged again: its artifact, on the rows that its run named, by the pipeline as it is now."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from penstock.cli.compose import System
from penstock.contract import decoder_for
from penstock.errors import ArtifactError, UsageError
from penstock.events import Decision, GateResult, ModelRecord, Score
from penstock.models.artifact import ArtifactRef
from penstock.models.slot import ONLINE

if TYPE_CHECKING:
    from retraining.warm_start import Base


def judged_again(
    system: System, decisions: Sequence[Decision], version: str, monotonic_s: Callable[[], float]
) -> list[GateResult]:
    """The verdicts on ``version`` (see `retraining.judging`), and whether artifact and rows are what they were.

    1. Fold the decisions up to the run's ``collected``: who served then, and which rows it named. 2. Verify and load
    the artifact; one that is not intact is judged no further. 3. Read the rows; others than those that were recorded
    are a failed gate. 4. Judge on the later ones.

    Raises:
        UsageError: no such version was made by a run.
        OffsetOutOfRangeError: retention has passed the start of its rows.
        LogUnavailableError: a retry may succeed.
    """
    from online.loading import model_loader
    from retraining.dataset import read_dataset
    from retraining.fitting import champion_of
    from retraining.gates import compare, incumbents, recorded
    from retraining.judging import Contender, judge
    from retraining.soundness import artifact_gate
    from retraining.states import State, fold

    pipeline = system.pipeline
    record, collected, trained = run_of(decisions, version)
    intact = artifact_gate(system.artifacts, ArtifactRef(record.uri, record.digest, record.signature, 0))
    if not intact.passed:
        return [intact]
    load = model_loader(pipeline)
    blob = system.artifacts.get(record.uri, record.digest, record.signature)
    try:
        model = load(record.kind, blob)
    except ArtifactError as error:
        return [intact, GateResult(name="loads", value=0.0, threshold=1.0, passed=False, detail=str(error))]
    assert collected.data is not None  # noqa: S101 - `run_of` chose a decision that has it
    data = read_dataset(system.log, collected.data, decoder_for("examples", pipeline))
    state = State()
    for decision in decisions[: collected.seq + 1]:
        state = fold(state, decision)
    _, later = data.split(pipeline.retraining.comparison_share)
    against = incumbents(state.champion.version)
    features = [row.features for row in later]
    columns: dict[str, Sequence[Score | None]] = {name: recorded(later, name) for name in against}
    columns[version] = model.score_many(features)
    judgement = judge(
        pipeline,
        later,
        compare(pipeline, later, columns),
        Contender(version, model, blob, lambda held: load(record.kind, held)),
        against,
        max(1, sum(result.name not in against for result in trained.candidates)),
        champion_of(pipeline, state.champion, system.artifacts, _base(system, trained)),
        monotonic_s,
    )
    return [*judgement.gates, intact, *_same_rows(trained, data.digest)]


def run_of(decisions: Sequence[Decision], version: str) -> tuple[ModelRecord, Decision, Decision]:
    """What a run announced as ``version``, and its ``collected`` and ``trained`` decisions.

    Raises:
        UsageError: no run made it.
    """
    announced = [d.model for d in decisions if d.model is not None and d.model.version == version and d.model.uri]
    for record in announced:
        of_run = [decision for decision in decisions if decision.run_id == record.run_id]
        collected = [decision for decision in of_run if decision.step == "collected" and decision.data is not None]
        trained = [decision for decision in of_run if decision.step == "trained"]
        if collected and trained:
            return record, collected[-1], trained[-1]
    if version == ONLINE:
        raise UsageError("version online: it learns on and has no gates; name a version that a run made")
    known = sorted({d.model.version for d in decisions if d.model is not None and d.model.uri and d.model.run_id})
    raise UsageError(f"no version {version!r} was made by a run; there {_listed(known)}")


def _listed(known: Sequence[str]) -> str:
    return f"are {', '.join(known)}" if known else "is none yet"


def _base(system: System, trained: Decision) -> Base | str:
    """The snapshot of the online model that the run had at hand, where it is kept still."""
    from retraining.candidates import chosen_settings, recorded_settings
    from retraining.warm_start import ONLINE_COPY, recorded_base

    try:
        settings = recorded_settings(trained.lineage) or {}
        if ONLINE_COPY not in settings:
            return "the run had no snapshot of it at hand"
        return recorded_base(system.pipeline, system.artifacts, chosen_settings(settings, ONLINE_COPY))
    except ArtifactError as error:
        return str(error)


def _same_rows(trained: Decision, digest: str) -> list[GateResult]:
    """Whether the rows are those that the version was judged on; nothing where that was not recorded."""
    recorded = trained.lineage.get("data_digest")
    if recorded is None:
        return []
    same = recorded == digest
    detail = "the rows are those that were recorded" if same else "the rows are not those that were recorded"
    return [GateResult(name="data_digest", value=float(same), threshold=1.0, passed=same, detail=detail)]
