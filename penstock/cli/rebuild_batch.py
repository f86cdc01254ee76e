"""Batch models fitted again on the examples that their run recorded, and compared with what was published."""

from __future__ import annotations

import time
from collections.abc import Sequence

from penstock.cli.compose import System
from penstock.cli.rebuild import RECENT_ROWS, Rebuilt, compare
from penstock.contract import decoder_for
from penstock.errors import UsageError
from penstock.events import Decision, ModelRecord
from penstock.models.artifact import MemoryArtifacts, Signer
from penstock.models.probe import probe_rows


def rebuild_batch(system: System, decisions: Sequence[Decision], version: str) -> Rebuilt:
    """Fit ``version`` again: the same rows, seed and settings give the same model, bit for bit, in the same libraries.

    1. Fetch, verify and load what was published. 2. Read the examples of the range that the run's decision names.
    3. Fit in memory. 4. Compare scores on probe rows and on rows of the range.

    Raises:
        UsageError: no such version.
        ArtifactError: what was published is missing, changed, or not signed by our key.
        OffsetOutOfRangeError: retention has passed the start of the range.
    """
    from online.loading import model_loader
    from retraining.dataset import read_dataset
    from retraining.fitting import fit_run
    from retraining.states import State, fold

    started_s = time.monotonic()
    pipeline = system.pipeline
    record, collected = _run_of(decisions, version)
    load = model_loader(pipeline)
    published = load("batch", system.artifacts.get(record.uri, record.digest, record.signature))
    data = collected.data
    assert data is not None  # noqa: S101 - `_run_of` chose a decision that has it
    dataset = read_dataset(system.log, data, decoder_for("examples", pipeline))
    state = State()
    for decision in decisions[: collected.seq + 1]:
        state = fold(state, decision)
    memory = MemoryArtifacts(Signer(bytes(32)))  # read back at once; nobody else ever sees these signatures
    fit = fit_run(pipeline, state, collected, dataset, memory)
    rows = [*probe_rows(pipeline), *(row.features for row in dataset.rows[-RECENT_ROWS:])]
    start = min((start for start, _ in data.offsets.values()), default=0)
    stop = max((stop for _, stop in data.offsets.values()), default=0)
    found, note = None, f"the fit gives no model now: {fit.error or 'another candidate is better'}"
    if fit.model is not None:
        again = load("batch", memory.get(fit.model.uri, fit.model.digest, fit.model.signature))
        found, note = compare(published, again, rows)
    seconds = round(time.monotonic() - started_s, 3)
    return Rebuilt(version, None, None, "data", start, stop, len(dataset.rows), len(rows), found, seconds, note)


def _run_of(decisions: Sequence[Decision], version: str) -> tuple[ModelRecord, Decision]:
    announced = [d.model for d in decisions if d.model is not None and d.model.version == version and d.model.uri]
    for record in announced:
        for decision in decisions:
            if decision.run_id == record.run_id and decision.step == "collected" and decision.data is not None:
                return record, decision
    raise UsageError(f"models rebuild: no version {version!r} was made from the log; see `penstock models list`")
