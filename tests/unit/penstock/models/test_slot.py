from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import ArtifactError
from penstock.events import Features, ModelKind, ModelRecord, Score
from penstock.models.artifact import MemoryArtifacts, Signer
from penstock.models.model import Model
from penstock.models.slot import Canary, ServedModels


class Constant:
    """Answers every row with one score, and counts its calls."""

    def __init__(self, score: Score) -> None:
        self.score = score
        self.calls = 0

    def score_many(self, rows: Sequence[Features]) -> list[Score]:
        """The same for each row."""
        self.calls += 1
        return [self.score for _ in rows]


class Bench:
    """Served models over memory artifacts whose bytes are the score."""

    def __init__(self) -> None:
        self.artifacts = MemoryArtifacts(Signer(b"a key of sixteen bytes"))
        self.refused: list[tuple[str, str]] = []
        self.loaded: list[Constant] = []
        self.models = ServedModels(
            self.artifacts, self._load, Constant(0.5), lambda record, why: self.refused.append((record.version, why))
        )

    def _load(self, kind: ModelKind, data: bytes) -> Model:
        if data == b"broken":
            raise ValueError("no model in here")
        model = Constant(float(data))
        self.loaded.append(model)
        return model

    def record(
        self, slot: str, version: str, data: bytes = b"0.25", generation: int = 0, **rest: object
    ) -> ModelRecord:
        """A record of an artifact that is really there."""
        ref = self.artifacts.put(data)
        kind: ModelKind = "online" if version == "online" else "batch"
        return ModelRecord(
            slot=slot,
            version=version,
            kind=kind,
            generation=generation,
            uri=ref.uri,
            digest=ref.digest,
            signature=ref.signature,
            **rest,  # type: ignore[arg-type]
        )

    def champion_score(self) -> Score:
        """What is served for one empty row."""
        return self.models.serving.champion.model.score_many([{}])[0]

    def shadow_versions(self) -> list[str]:
        """Who is scored in shadow."""
        return [shadow.version for shadow in self.models.serving.shadows]


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_the_prior_serves_until_the_first_snapshot(bench: Bench) -> None:
    serving = bench.models.serving
    assert (serving.generation, serving.champion.version, serving.champion.kind) == (0, "online", "prior")
    assert serving.champion.snapshot == 0
    assert serving.shadows == ()
    assert bench.models.apply(bench.record("online-0", "online", b"0.75", snapshot=200))
    assert (bench.models.serving.champion.kind, bench.models.serving.champion.snapshot) == ("online", 200)
    assert bench.champion_score() == 0.75
    assert bench.models.serving.generation == 0


def test_a_new_epoch_is_served_at_once_though_its_count_starts_again(bench: Bench) -> None:
    bench.models.apply(bench.record("online-0", "online", b"0.75", snapshot=4000, offset=4010))
    assert bench.models.apply(bench.record("online-0", "online", b"0.25", snapshot=200, offset=4211))
    assert (bench.champion_score(), bench.models.serving.champion.snapshot) == (0.25, 200)
    assert not bench.models.apply(bench.record("online-0", "online", b"0.75", snapshot=4000, offset=4010))


def test_an_older_snapshot_changes_nothing(bench: Bench) -> None:
    bench.models.apply(bench.record("online-0", "online", b"0.75", snapshot=400))
    for snapshot in (400, 200, None):
        assert not bench.models.apply(bench.record("online-0", "online", b"0.1", snapshot=snapshot))
    assert bench.champion_score() == 0.75


def test_partitions_are_served_as_their_mean(bench: Bench) -> None:
    bench.models.apply(bench.record("online-1", "online", b"0.25", snapshot=200))
    bench.models.apply(bench.record("online-0", "online", b"0.75", snapshot=400))
    assert bench.champion_score() == 0.5
    assert bench.models.serving.champion.snapshot == 600


def test_an_ensemble_names_its_parts_and_leaves_out_what_is_missing_or_refused(bench: Bench) -> None:
    for partition, data in ((10, b"0.4"), (2, b"0.1"), (0, b"0.7")):
        bench.models.apply(bench.record(f"online-{partition}", "online", data, snapshot=100, offset=partition))
    assert not bench.models.apply(bench.record("online-1", "online", b"broken", snapshot=100))
    champion = bench.models.serving.champion
    assert bench.champion_score() == pytest.approx(0.4)
    assert (champion.snapshot, [part.slot for part in champion.parts]) == (300, ["online-0", "online-2", "online-10"])
    assert [part.offset for part in champion.parts] == [0, 2, 10]


def test_a_promotion_serves_the_model_and_shadows_online_and_predecessor(bench: Bench) -> None:
    first = bench.record("champion", "v1", b"0.1", generation=1)
    assert bench.models.apply(first)
    assert bench.shadow_versions() == ["online"]
    bench.models.apply(bench.record("champion", "v2", b"0.2", generation=2, predecessor=first))
    assert (bench.models.serving.generation, bench.champion_score()) == (2, 0.2)
    assert bench.shadow_versions() == ["online", "v1"]
    assert len(bench.loaded) == 2  # the predecessor was held already


def test_a_later_record_of_the_generation_drops_the_predecessor(bench: Bench) -> None:
    first = bench.record("champion", "v1", b"0.1", generation=1)
    bench.models.apply(bench.record("champion", "v2", b"0.2", generation=2, predecessor=first))
    assert bench.models.apply(bench.record("champion", "v2", b"0.2", generation=2))
    assert bench.shadow_versions() == ["online"]


def test_generations_never_go_back(bench: Bench) -> None:
    bench.models.apply(bench.record("champion", "v2", b"0.2", generation=2))
    assert not bench.models.apply(bench.record("champion", "v1", b"0.1", generation=1))
    assert (bench.models.serving.generation, bench.models.serving.champion.version) == (2, "v2")


def test_the_same_record_again_is_no_swap(bench: Bench) -> None:
    record = bench.record("champion", "v1", b"0.1", generation=1)
    assert bench.models.apply(record)
    assert not bench.models.apply(record)


def test_a_rollback_to_online_raises_the_generation_and_shadows_the_loser(bench: Bench) -> None:
    loser = bench.record("champion", "v1", b"0.1", generation=1)
    bench.models.apply(loser)
    assert bench.models.apply(
        ModelRecord(slot="champion", version="online", kind="online", generation=2, predecessor=loser)
    )
    assert bench.models.serving.champion.version == "online"
    assert bench.shadow_versions() == ["v1"]


def test_a_challenger_is_shadowed_until_its_slot_is_cleared_or_it_wins(bench: Bench) -> None:
    challenger = bench.record("challenger", "v1", b"0.1")
    assert bench.models.apply(challenger)
    assert bench.shadow_versions() == ["v1"]
    bench.models.apply(bench.record("champion", "v1", b"0.1", generation=1))
    assert (bench.models.serving.champion.version, bench.shadow_versions()) == ("v1", ["online"])
    empty = ModelRecord(slot="challenger", version="", kind="batch", generation=1)
    assert bench.models.apply(empty)
    assert not bench.models.apply(empty)


def damaged(record: ModelRecord) -> ModelRecord:
    """A record that is signed by nobody."""
    return ModelRecord(
        slot=record.slot,
        version=record.version,
        kind=record.kind,
        generation=record.generation,
        uri=record.uri,
        digest=record.digest,
        signature="é",
        snapshot=record.snapshot,
    )


def lost(bench: Bench, record: ModelRecord) -> ModelRecord:
    """A record whose artifact is gone."""
    bench.artifacts.discard(record.uri)
    return record


FAULTS: list[Callable[[Bench], ModelRecord]] = [
    lambda bench: damaged(bench.record("champion", "bad", b"0.9", generation=5)),
    lambda bench: lost(bench, bench.record("champion", "bad", b"0.9", generation=5)),
    lambda bench: bench.record("champion", "bad", b"broken", generation=5),
    lambda bench: bench.record("champion", "bad", b"nan", generation=5),
    lambda bench: damaged(bench.record("online-0", "online", b"0.9", snapshot=800)),
    lambda bench: bench.record("challenger", "bad", b"inf"),
]


@pytest.mark.parametrize("fault", FAULTS)
def test_what_fails_is_refused_and_what_served_keeps_serving(
    fault: Callable[[Bench], ModelRecord], bench: Bench
) -> None:
    bench.models.remember([{"x": 1.0}])
    bench.models.apply(bench.record("champion", "v1", b"0.1", generation=1))
    before = bench.models.serving
    record = fault(bench)
    assert not bench.models.apply(record)
    assert bench.models.serving is before
    assert [version for version, _ in bench.refused] == [record.version]
    assert bench.models.apply(bench.record("champion", "v3", b"0.3", generation=6))


def test_a_predecessor_that_is_gone_does_not_keep_the_champion_out(bench: Bench) -> None:
    """After a restart the champion's record is read first: it must serve even if only its predecessor is missing."""
    gone = lost(bench, bench.record("champion", "v1", b"0.1", generation=1))
    assert bench.models.apply(bench.record("champion", "v2", b"0.2", generation=2, predecessor=gone))
    assert (bench.models.serving.champion.version, bench.shadow_versions()) == ("v2", ["online"])
    assert [version for version, _ in bench.refused] == ["v1"]


def test_a_model_is_warmed_up_on_the_newest_rows_before_it_serves(bench: Bench) -> None:
    bench.models.remember([{"x": float(row)} for row in range(100)])
    bench.models.apply(bench.record("champion", "v1", b"0.1", generation=1))
    assert bench.loaded[0].calls == 1


def test_a_reader_in_between_sees_one_whole_state(bench: Bench) -> None:
    """`serving` is one reference: what was read before a swap stays as it was."""
    before = bench.models.serving
    bench.models.apply(bench.record("champion", "v1", b"0.1", generation=1))
    assert (before.generation, before.champion.version) == (0, "online")


def test_the_loader_s_own_refusal_is_passed_on_as_it_is() -> None:
    def load(_: ModelKind, __: bytes) -> Model:
        raise ArtifactError("model v9: made for other classes")

    refused: list[str] = []
    artifacts = MemoryArtifacts(Signer(b"a key of sixteen bytes"))
    models = ServedModels(artifacts, load, Constant(math.pi), lambda _, why: refused.append(why))
    ref = artifacts.put(b"x")
    record = ModelRecord(
        slot="champion",
        version="v9",
        kind="batch",
        generation=1,
        uri=ref.uri,
        digest=ref.digest,
        signature=ref.signature,
    )
    assert not models.apply(record)
    assert refused == ["model v9: made for other classes"]


def test_a_slot_that_is_not_known_is_ignored(bench: Bench) -> None:
    assert not bench.models.apply(bench.record("understudy", "v9", b"0.9", snapshot=10_000))
    assert (bench.champion_score(), bench.refused) == (0.5, [])


def test_a_canary_is_scored_with_the_others_until_its_slot_is_cleared(bench: Bench) -> None:
    bench.models.apply(bench.record("challenger", "v1", b"0.1"))
    canary = bench.record("canary", "v1", b"0.1", share=0.25, run_id="r1")
    assert bench.models.apply(canary)
    assert not bench.models.apply(canary)
    assert bench.models.serving.canary == Canary("v1", 0.25, "r1")
    assert bench.shadow_versions() == ["v1"]
    assert len(bench.loaded) == 1  # the challenger was held already
    cleared = ModelRecord(slot="canary", version="", kind="batch", generation=0)
    assert bench.models.apply(cleared)
    assert not bench.models.apply(cleared)
    assert bench.models.serving.canary is None


def test_the_online_model_can_be_the_canary(bench: Bench) -> None:
    bench.models.apply(bench.record("champion", "v1", b"0.1", generation=1))
    bench.models.apply(ModelRecord(slot="canary", version="online", kind="online", generation=1, share=0.5))
    assert bench.models.serving.canary == Canary("online", 0.5, "online")
    bench.models.apply(ModelRecord(slot="champion", version="online", kind="online", generation=2))
    assert bench.models.serving.canary is None, "who serves is no canary"


def test_the_last_good_version_stands_in_and_what_was_rolled_back_does_not(bench: Bench) -> None:
    def fallbacks() -> list[str]:
        return [fallback.version for fallback in bench.models.serving.fallbacks]

    assert fallbacks() == ["prior"]
    first = bench.record("champion", "v1", b"0.1", generation=1)
    bench.models.apply(first)
    assert fallbacks() == ["online", "prior"]
    second = bench.record("champion", "v2", b"0.2", generation=2, predecessor=first)
    bench.models.apply(second)
    assert fallbacks() == ["v1", "online", "prior"]
    bench.models.apply(bench.record("champion", "v2", b"0.2", generation=2))
    assert fallbacks() == ["v1", "online", "prior"], "it is kept when it is no longer scored"
    bench.models.apply(bench.record("champion", "v1", b"0.1", generation=3, predecessor=second))
    assert fallbacks() == ["online", "prior"]


@given(st.text(min_size=1, max_size=40), st.text(max_size=40))
def test_a_greater_share_keeps_the_entities_of_a_smaller_one(seed: str, entity: str) -> None:
    answers = [Canary("v1", share, seed).answers(entity) for share in (0.0, 0.2, 0.6, 1.0)]
    assert answers == sorted(answers)
    assert (answers[0], answers[-1]) == (False, True)


def test_the_share_is_met_and_runs_draw_independently() -> None:
    one, other = Canary("v1", 0.2, "run-1"), Canary("v2", 0.2, "run-2")
    drawn = [(one.answers(str(entity)), other.answers(str(entity))) for entity in range(10_000)]
    assert sum(first for first, _ in drawn) == pytest.approx(2000, abs=120)  # three standard deviations
    assert sum(first and second for first, second in drawn) == pytest.approx(400, abs=60)
