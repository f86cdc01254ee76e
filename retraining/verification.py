"""Is the trail whole? Checks of the chain of decisions against what else the log and the stores hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from penstock.errors import ArtifactError, BrokenChainError, ContractError
from penstock.events import Command, Decision, ModelRecord
from penstock.log.port import Record
from penstock.models.artifact import ArtifactStore
from penstock.models.registry import RegisteredVersion
from penstock.models.slot import ONLINE
from retraining import slots
from retraining.states import State, fold


class Problem(NamedTuple):
    """Something that does not fit: where (a record, a version, a command), and what."""

    where: str
    what: str


class Chain(NamedTuple):
    """The decisions up to the first that does not fit, and what is wrong with that one."""

    decisions: list[Decision]
    broken: Problem | None


def place(record: Record) -> str:
    """A record's place as people write it."""
    return f"{record.topic}/{record.partition}:{record.offset}"


def whole_chain(records: Iterable[Record], decode: Callable[[bytes], object]) -> Chain:
    """Fold all records of ``decisions``, from the first: every hash, every number, every step."""
    state, decisions = State(), list[Decision]()
    for record in records:
        try:
            decision = decode(record.value)
            if not isinstance(decision, Decision):
                raise BrokenChainError("not a decision")
            state = fold(state, decision)
        except (BrokenChainError, ContractError) as error:
            return Chain(decisions, Problem(place(record), str(error)))
        decisions.append(decision)
    return Chain(decisions, None)


def head_problem(decisions: Sequence[Decision], seq: int, hash_: str) -> Problem | None:
    """Whether the chain still holds the decision that was pinned, and so all before it, as they were then."""
    if seq >= len(decisions):
        return Problem(f"decision {seq}", f"missing: the chain ends at {len(decisions) - 1}; its end was cut off")
    if decisions[seq].hash != hash_:
        return Problem(f"decision {seq}", f"not the one that was pinned: its hash is {decisions[seq].hash}")
    return None


def announced(decisions: Iterable[Decision]) -> Iterator[ModelRecord]:
    """The records of ``models`` that the decisions (a whole chain from the first on) announce, in order."""
    state = State()
    for decision in decisions:
        before, state = state, fold(state, decision)
        yield from slots.announced(before, state)


def model_problems(decisions: Sequence[Decision], models: Sequence[tuple[Record, ModelRecord]]) -> list[Problem]:
    """Records of ``models`` that no decision announced, or out of order, and announcements that are not in force.

    The topic is compacted: of each slot only the newest has to be there. Online snapshots are not decided on.
    """
    problems = []
    expected: dict[str, list[ModelRecord]] = {}
    for model in announced(decisions):
        expected.setdefault(model.slot, []).append(model)
    held: dict[str, ModelRecord] = {}
    position: dict[str, int] = {}
    for record, model in models:
        if model.slot.startswith(f"{ONLINE}-"):
            continue
        held[model.slot] = model
        wanted, start = expected.get(model.slot, []), position.get(model.slot, 0)
        if model in wanted[start:]:
            position[model.slot] = wanted.index(model, start) + 1
        else:
            what = f"slot {model.slot} was given to {model.version or 'nobody'} (generation {model.generation})"
            problems.append(Problem(place(record), f"{what}, which no decision announced there"))
    for slot, wanted in expected.items():
        if held.get(slot) != wanted[-1]:
            what = f"{wanted[-1].version or 'nobody'} (generation {wanted[-1].generation})"
            problems.append(Problem(f"models, slot {slot}", f"holds another record than the newest decision's: {what}"))
    return problems


def versions_in(decisions: Iterable[Decision]) -> dict[str, tuple[Decision, ModelRecord]]:
    """Each version that has an artifact: the decision that first named it, and the record there."""
    found: dict[str, tuple[Decision, ModelRecord]] = {}
    for decision in decisions:
        if decision.model is not None and decision.model.uri:
            found.setdefault(decision.model.version, (decision, decision.model))
    return found


def artifact_problems(decisions: Sequence[Decision], artifacts: ArtifactStore) -> list[Problem]:
    """Versions whose artifact is missing, changed or not signed by our key, or that changed it on the way."""
    problems = []
    first = versions_in(decisions)
    for version, (decision, model) in first.items():
        try:
            artifacts.get(model.uri, model.digest, model.signature)
        except ArtifactError as error:
            problems.append(Problem(f"version {version} (decision {decision.seq})", str(error)))
    for decision in decisions:
        later = decision.model
        if later is not None and later.uri and later.digest != first[later.version][1].digest:
            what = f"names another artifact of {later.version} than decision {first[later.version][0].seq} did"
            problems.append(Problem(f"decision {decision.seq}", what))
    return problems


def registry_problems(decisions: Sequence[Decision], registered: Sequence[RegisteredVersion]) -> list[Problem]:
    """Versions that registry and chain do not hold alike. One whose outcome is not decided yet is no problem."""
    problems = []
    first = versions_in(decisions)
    known = {held.version: held for held in registered}
    ended = {decision.run_id for decision in decisions if decision.step in ("registered", "failed", "rejected")}
    for version, (decision, model) in first.items():
        held = known.get(version)
        if held is None:
            problems.append(Problem(f"version {version} (decision {decision.seq})", "not in the registry"))
        elif (held.artifact.digest, held.artifact.signature) != (model.digest, model.signature):
            problems.append(Problem(f"version {version}", "the registry holds another digest or signature of it"))
    for version, held in known.items():
        if version not in first and held.run_id in ended:
            problems.append(Problem(f"version {version}", "in the registry, but no decision registered it"))
    return problems


def command_problems(
    decisions: Iterable[Decision], commands: Iterable[tuple[Record, Command]], position: int
) -> list[Problem]:
    """Commands before ``position`` (the retrainer's: the next that it will read) without a decision on them."""
    answered = {decision.command for decision in decisions}
    return [
        Problem(place(record), f"command {command.id} has no decision")
        for record, command in commands
        if record.offset < position and command.id not in answered
    ]
