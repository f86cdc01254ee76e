"""The served slots: a fold of the ``models`` topic in which a bad model never replaces a good one."""

from __future__ import annotations

import hashlib
import math
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

from penstock.errors import ArtifactError, PenstockError
from penstock.events import Features, ModelKind, ModelRecord, Score
from penstock.models.artifact import ArtifactStore
from penstock.models.model import Model

Loader: TypeAlias = Callable[[ModelKind, bytes], Model]

ONLINE = "online"
#: The version that answers where no model can.
PRIOR = "prior"
#: Prefix of the online models' slots, one per partition. A slot of any other name is a newer writer's, and ignored.
_ONLINE_SLOT = "online-"
WARM_ROWS = 32


class Loaded(NamedTuple):
    """A model that was verified, loaded and warmed up.

    For the online model ``snapshot`` is how many examples it has learned, over all partitions, and ``parts`` are the
    records of the partitions' snapshots whose mean it is, by slot (none while the prior is served).
    """

    version: str
    kind: ModelKind
    model: Model
    snapshot: int | None = None
    parts: tuple[ModelRecord, ...] = ()


class Canary(NamedTuple):
    """Who answers ``share`` of the entities instead of the champion: always the same ones, drawn anew by ``seed``."""

    version: str
    share: float
    seed: str

    def answers(self, entity: str) -> bool:
        """Whether ``entity`` is one of those: its BLAKE2b hash, keyed by ``seed``, is in the lowest ``share``."""
        key = hashlib.sha256(self.seed.encode()).digest()
        return int.from_bytes(hashlib.blake2b(entity.encode(), digest_size=8, key=key).digest()) < self.share * 2.0**64


class Serving(NamedTuple):
    """What is served at one moment; replaced as a whole.

    ``shadows`` are other versions than the champion's; the ``canary`` is one of them. ``fallbacks`` answer, in this
    order, where the champion cannot: the last good version, the online model, the prior.
    """

    generation: int
    champion: Loaded
    shadows: tuple[Loaded, ...] = ()
    canary: Canary | None = None
    fallbacks: tuple[Loaded, ...] = ()


class _Average:
    """The online models of several partitions, served as one: the mean of their scores."""

    def __init__(self, members: Sequence[Model]) -> None:
        self._members = tuple(members)

    def score_many(self, rows: Sequence[Features]) -> list[Score]:
        """The members' mean score, row by row."""
        columns = [member.score_many(rows) for member in self._members]
        return [_mean(scores) for scores in zip(*columns, strict=True)]


def _mean(scores: Sequence[Score]) -> Score:
    numbers = [score for score in scores if not isinstance(score, dict)]
    if len(numbers) == len(scores):
        return sum(numbers) / len(numbers)
    tables = [score for score in scores if isinstance(score, dict)]
    return {name: sum(table[name] for table in tables) / len(tables) for name in tables[0]}


def sound_scores(loaded: Loaded, rows: Sequence[Features]) -> list[Score]:
    """One finite score per row.

    Raises:
        ArtifactError: they are not; or whatever the model raises.
    """
    scores = loaded.model.score_many(rows)
    if len(scores) != len(rows) or not _finite(scores):
        raise ArtifactError(f"model {loaded.version}: its scores are not one finite score per row")
    return scores


def _finite(scores: Sequence[Score]) -> bool:
    numbers = [number for score in scores for number in (score.values() if isinstance(score, dict) else (score,))]
    # The sum of finite numbers is finite unless it overflows: one look at it is enough in all but that case.
    return math.isfinite(sum(numbers)) or all(map(math.isfinite, numbers))


def is_older(record: ModelRecord, held: ModelRecord | None) -> bool:
    """Whether ``held`` is newer news of the same slot: of a higher generation, or a snapshot of later examples."""
    return held is not None and (record.generation, _snapshot_age(record)) < (held.generation, _snapshot_age(held))


def _partition_of(slot: str) -> tuple[int, str]:
    number = slot.removeprefix(_ONLINE_SLOT)
    return (int(number) if number.isdecimal() else -1, slot)


def _snapshot_age(record: ModelRecord) -> tuple[int, int]:
    """Not the snapshot's number alone, which starts again with a new epoch."""
    return record.offset, record.snapshot or 0


class ServedModels:
    """Folds model records into what is served.

    A swap is: 1. fetch and verify digest and signature, 2. load, 3. warm up on recent rows, 4. replace one
    reference. A record that fails in 1–3 is refused: what was served stays, and ``on_refused`` hears why.
    Generations never go back: a champion record of an older generation is ignored.

    ``apply`` and ``remember`` belong to one thread; ``serving`` may be read from any.
    """

    def __init__(
        self,
        artifacts: ArtifactStore,
        load: Loader,
        prior: Model,
        on_refused: Callable[[ModelRecord, str], None],
    ) -> None:
        self._artifacts = artifacts
        self._load = load
        self._on_refused = on_refused
        self._recent: deque[Features] = deque(maxlen=WARM_ROWS)
        self._online_records: dict[str, ModelRecord] = {}
        self._online_parts: dict[str, Loaded] = {}
        self._prior = Loaded(PRIOR, "prior", prior)
        self._online = Loaded(ONLINE, "prior", prior, 0)
        self._champion_batch: Loaded | None = None
        self._last_good: Loaded | None = None
        self._canary: Loaded | None = None
        self._canary_record: ModelRecord | None = None
        self._predecessor: Loaded | None = None
        self._challenger: Loaded | None = None
        self._champion_record: ModelRecord | None = None
        self._generation = 0
        self._serving = self._compose()

    @property
    def serving(self) -> Serving:
        """What is served now."""
        return self._serving

    def remember(self, rows: Sequence[Features]) -> None:
        """Keep the newest rows to warm up the next model on."""
        self._recent.extend(rows[-WARM_ROWS:])

    def apply(self, record: ModelRecord) -> bool:
        """Take one record of the ``models`` topic into account; True when what is served changed."""
        try:
            if record.slot == "champion":
                changed = self._apply_champion(record)
            elif record.slot == "challenger":
                changed = self._apply_challenger(record)
            elif record.slot == "canary":
                changed = self._apply_canary(record)
            else:
                changed = record.slot.startswith(_ONLINE_SLOT) and self._apply_online(record)
        except PenstockError as error:
            self._on_refused(record, str(error))
            return False
        if changed:
            self._serving = self._compose()
        return changed

    def _apply_champion(self, record: ModelRecord) -> bool:
        if record.generation < self._generation or record == self._champion_record:
            return False
        batch = None if record.version == ONLINE else self._reuse_or_fetch(record)
        predecessor = None
        if record.predecessor is not None and record.predecessor.version != ONLINE:
            predecessor = self._predecessor_of(record.predecessor)
        self._last_good = self._good_before(batch, predecessor)
        self._champion_batch, self._predecessor = batch, predecessor
        self._champion_record, self._generation = record, record.generation
        return True

    def _good_before(self, batch: Loaded | None, predecessor: Loaded | None) -> Loaded | None:
        """The batch model that may answer for the next champion, ``batch``; of a version we go back to, none."""
        before = self._champion_batch or predecessor
        version = batch.version if batch else ONLINE
        if before is None or before.version == version:
            return self._last_good
        went_back = self._last_good is not None and self._last_good.version == version
        return None if went_back else before

    def _predecessor_of(self, record: ModelRecord) -> Loaded | None:
        """It is only scored in shadow: one that cannot be had is refused alone, and the champion serves."""
        try:
            return self._reuse_or_fetch(record)
        except PenstockError as error:
            self._on_refused(record, str(error))
            return None

    def _apply_challenger(self, record: ModelRecord) -> bool:
        had_one = self._challenger is not None
        self._challenger = None if not record.version or record.version == ONLINE else self._reuse_or_fetch(record)
        return had_one or self._challenger is not None

    def _apply_canary(self, record: ModelRecord) -> bool:
        if record == self._canary_record or (not record.version and self._canary_record is None):
            return False
        batch = bool(record.version) and record.version != ONLINE
        self._canary = self._reuse_or_fetch(record) if batch else None
        self._canary_record = record if record.version else None
        return True

    def _apply_online(self, record: ModelRecord) -> bool:
        held = self._online_records.get(record.slot)
        if held is not None and _snapshot_age(record) <= _snapshot_age(held):
            return False
        self._online_parts[record.slot] = self._fetch(record)
        self._online_records[record.slot] = record
        slots = sorted(self._online_parts, key=_partition_of)
        parts = [self._online_parts[slot] for slot in slots]
        model: Model = parts[0].model if len(parts) == 1 else _Average([part.model for part in parts])
        learned = sum(part.snapshot or 0 for part in parts)
        self._online = Loaded(ONLINE, "online", model, learned, tuple(self._online_records[slot] for slot in slots))
        return True

    def _reuse_or_fetch(self, record: ModelRecord) -> Loaded:
        for held in (self._champion_batch, self._challenger, self._canary, self._predecessor, self._last_good):
            if held is not None and held.version == record.version:
                return held
        return self._fetch(record)

    def _fetch(self, record: ModelRecord) -> Loaded:
        data = self._artifacts.get(record.uri, record.digest, record.signature)
        try:
            model = self._load(record.kind, data)
            loaded = Loaded(record.version, record.kind, model, record.snapshot)
            if self._recent:
                sound_scores(loaded, list(self._recent))
        except PenstockError:
            raise
        except Exception as error:  # a loaded artifact may fail in any way; the old model keeps serving
            raise ArtifactError(f"model {record.version}: {type(error).__name__}: {error}") from error
        return loaded

    def _compose(self) -> Serving:
        champion, record = self._champion_batch or self._online, self._canary_record
        shadows = _others((self._online, self._challenger, self._canary, self._predecessor), champion)
        canary = None
        if record is not None and record.version in {shadow.version for shadow in shadows}:
            canary = Canary(record.version, record.share, record.run_id or record.version)
        fallbacks = _others((self._last_good, self._online, self._prior), champion)
        return Serving(self._generation, champion, shadows, canary, fallbacks)


def _others(candidates: Sequence[Loaded | None], champion: Loaded) -> tuple[Loaded, ...]:
    """Each version once, and not the champion's."""
    found: dict[str, Loaded] = {}
    for candidate in candidates:
        if candidate is not None and candidate.version != champion.version:
            found.setdefault(candidate.version, candidate)
    return tuple(found.values())
