"""Batch models fitted again on the examples that their run recorded, and compared with what was published."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from penstock.cli.compose import System
from penstock.cli.rebuild import RECENT_ROWS, Rebuilt, compare, refolded
from penstock.contract import decoder_for
from penstock.errors import ArtifactError, UsageError
from penstock.events import Decision, ModelRecord
from penstock.models.artifact import MemoryArtifacts, Signer
from penstock.models.probe import probe_rows

if TYPE_CHECKING:
    from retraining.warm_start import Base


def rebuild_batch(system: System, decisions: Sequence[Decision], version: str) -> Rebuilt:
    """Fit ``version`` again: the same rows, seed and settings give the same model, bit for bit, in the same libraries.

    1. Fetch, verify and load what was published. 2. Read the examples of the range that the run's decision names.
    3. Fit in memory, with the settings that the run recorded and without a search. 4. Compare scores on probe rows and
    on rows of the range.

    Raises:
        UsageError: no such version.
        ArtifactError: what was published is missing, changed, or not signed by our key; or what the run recorded of
            its settings cannot be read.
        OffsetOutOfRangeError: retention has passed the start of the range.
        UnrecoverableStateError: the snapshot that a copy of the online model started from is gone, and the log does
            not reach back far enough to make it again.
    """
    from online.loading import model_loader
    from retraining.candidates import recorded_settings
    from retraining.dataset import read_dataset
    from retraining.fitting import fit_run
    from retraining.states import State, fold

    started_s = time.monotonic()
    pipeline = system.pipeline
    record, collected, trained = _run_of(decisions, version)
    load = model_loader(pipeline)
    published = load("batch", system.artifacts.get(record.uri, record.digest, record.signature))
    data = collected.data
    assert data is not None  # noqa: S101 - `_run_of` chose a decision that has it
    dataset = read_dataset(system.log, data, decoder_for("examples", pipeline))
    state = State()
    for decision in decisions[: collected.seq + 1]:
        state = fold(state, decision)
    memory = MemoryArtifacts(Signer(bytes(32)))  # read back at once; nobody else ever sees these signatures
    settings = recorded_settings(trained.lineage)
    base = _base(system, settings or {})
    fit = fit_run(pipeline, state, collected, dataset, memory, bases=lambda *_: base, settings=settings)
    rows = [*probe_rows(pipeline), *(row.features for row in dataset.rows[-RECENT_ROWS:])]
    start = min((start for start, _ in data.offsets.values()), default=0)
    stop = max((stop for _, stop in data.offsets.values()), default=0)
    found, note = None, f"the fit gives no model now: {fit.error or 'another candidate is better'}"
    if fit.model is not None:
        again = load("batch", memory.get(fit.model.uri, fit.model.digest, fit.model.signature))
        found, note = compare(published, again, rows)
    seconds = round(time.monotonic() - started_s, 3)
    return Rebuilt(version, None, None, "data", start, stop, len(dataset.rows), len(rows), found, seconds, note)


def _base(system: System, settings: Mapping[str, str]) -> Base | str:
    """The snapshot that the run's copy of the online model started from: as stored, or else folded again."""
    from online import snapshot
    from retraining.candidates import chosen_settings
    from retraining.warm_start import ONLINE_COPY, Base, base_record, partition_of, recorded_base

    if ONLINE_COPY not in settings:
        return "the run had none"
    chosen = chosen_settings(settings, ONLINE_COPY)
    record = base_record(chosen)
    try:
        return recorded_base(system.pipeline, system.artifacts, chosen)
    except ArtifactError:
        return Base(record, snapshot.dump(refolded(system, partition_of(record), record, record.offset + 1).model))


def _run_of(decisions: Sequence[Decision], version: str) -> tuple[ModelRecord, Decision, Decision]:
    """The record of ``version``, and the decisions of its run that name its data and its lineage."""
    announced = [d.model for d in decisions if d.model is not None and d.model.version == version and d.model.uri]
    for record in announced:
        steps = {d.step: d for d in decisions if d.run_id == record.run_id}
        collected, trained = steps.get("collected"), steps.get("trained")
        if collected is not None and collected.data is not None and trained is not None:
            return record, collected, trained
    raise UsageError(f"models rebuild: no version {version!r} was made from the log; see `penstock models list`")
