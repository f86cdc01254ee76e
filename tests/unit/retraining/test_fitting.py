"""Data on which nothing can be fitted: the incumbents are compared all the same."""

from dataclasses import replace

import numpy as np

from penstock.events import DataRange, Decision, ModelRecord
from penstock.models.artifact import MemoryArtifacts, Signer
from penstock.spec import Numeric, Pipeline
from retraining.dataset import Dataset, Row
from retraining.fitting import Fit, fit_run
from retraining.states import ORIGIN, State

PIPELINE = Pipeline(name="p", task="binary", target="y", features=(Numeric("x"),), classes=("0", "1"))
BATCH = ModelRecord(slot="champion", version="v1", kind="batch", generation=1)


def leaking(online_is_right: bool, rows: int = 600) -> Dataset:
    """One feature tells the label; the champion knows nothing, the online model everything (or nothing either)."""
    rng = np.random.default_rng(0)
    made = []
    for index in range(rows):
        wanted = int(rng.integers(2))
        sure = 0.9 if wanted else 0.1
        scores = {"v1": 0.4 + 0.2 * float(rng.random()), "online": sure if online_is_right else 0.5}
        made.append(Row(str(index), index, {"x": wanted + 0.01 * float(rng.normal())}, str(wanted), scores))
    return Dataset(tuple(made), "d")


def fitted(data: Dataset, champion: ModelRecord) -> Fit:
    decision = Decision(
        seq=0,
        run_id="r",
        step="collected",
        event_time_ms=0,
        record_id="0",
        trigger="drift:d",
        reason="",
        generation=champion.generation,
        data=DataRange(offsets={"0": (0, len(data.rows))}),
    )
    state = replace(State(), champion=champion)
    return fit_run(PIPELINE, state, decision, data, MemoryArtifacts(Signer(b"k" * 16)))


def test_the_online_model_takes_the_slot_of_a_champion_that_it_beats() -> None:
    fit = fitted(leaking(online_is_right=True), BATCH)
    assert (fit.error, fit.winner, fit.model) == ("", "online", None)
    assert all(gate.passed is not False for gate in fit.gates)
    assert fit.rows_compared == 180


def test_an_online_model_that_is_no_better_leaves_the_refusal() -> None:
    fit = fitted(leaking(online_is_right=False), BATCH)
    assert (fit.error, fit.winner, [(gate.name, gate.passed) for gate in fit.gates]) == ("", "", [("leakage", False)])


def test_where_the_online_model_serves_already_the_refusal_stands() -> None:
    (gate,) = fitted(leaking(online_is_right=True), ORIGIN).gates
    assert gate.passed is False
    assert gate.detail.startswith("leakage: the value of feature x alone tells the target")
