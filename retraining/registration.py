"""What is registered of a fit that passed: its number among the versions, its card, and the evidence as documents."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from penstock.models.artifact import ArtifactRef, ArtifactStore
from penstock.models.registry import RegisteredVersion, Registration
from penstock.spec import Pipeline
from retraining.judging import Judgement
from retraining.model_card import Subject, model_card
from retraining.versioning import SEMANTIC_VERSION, next_version

#: Where a version's lineage names its card in the artifact store.
MODEL_CARD = "model_card"


def completed(
    pipeline: Pipeline,
    registration: Registration,
    subject: Subject,
    held: Sequence[RegisteredVersion],
    artifacts: ArtifactStore,
) -> Registration:
    """``registration`` with all that needs the versions ``held`` (the oldest first) and the artifact store.

    A run that is registered already keeps its semantic version. The card is stored as a signed artifact, which the
    lineage names. Repeated, it gives the same.

    Raises:
        ArtifactError: the card cannot be stored.
    """
    others = [version.lineage for version in held if version.run_id != registration.run_id]
    own = next((version.lineage for version in held if version.run_id == registration.run_id), {})
    number = own.get(SEMANTIC_VERSION) or str(next_version(others, registration.lineage))
    lineage = {**registration.lineage, SEMANTIC_VERSION: number}
    card = model_card(pipeline, subject._replace(lineage=lineage))
    reference = artifacts.put(card.encode())
    lineage[MODEL_CARD] = msgspec.json.encode(reference._asdict()).decode()
    return registration._replace(
        lineage=lineage,
        documents={"model_card.md": card, **_evidence(subject.judgement)},
        description=f"{subject.kind} for pipeline {pipeline.name}, {number}: {registration.lineage.get('trigger', '')}",
    )


class _Reference(msgspec.Struct):
    uri: str
    digest: str
    signature: str
    size_bytes: int


def card_reference(text: str) -> ArtifactRef:
    """The reference that a lineage's ``model_card`` holds. Raises ``msgspec.DecodeError`` for any other text."""
    held = msgspec.json.decode(text, type=_Reference)
    return ArtifactRef(held.uri, held.digest, held.signature, held.size_bytes)


def _evidence(judgement: Judgement) -> dict[str, str]:
    documents = {
        "gates.json": judgement.gates,
        "metrics.json": judgement.figures,
        "fairness.json": judgement.fairness,
        "explanation.json": {"candidate": judgement.explanation, "champion": judgement.champion_explanation},
    }
    return {name: msgspec.json.format(msgspec.json.encode(value)).decode() for name, value in documents.items()}
