"""A committee as bytes and back, with what is needed to refuse it where it does not fit."""

from __future__ import annotations

from online.committee import Committee
from online.pool import members_of
from penstock.errors import ArtifactError
from penstock.models import pickles
from penstock.spec import Pipeline

#: Raised whenever older bytes would be misread.
FORMAT = 3


def dump(committee: Committee) -> bytes:
    """The committee with its format, members and number of learned examples."""
    return pickles.dumps((FORMAT, committee.members, committee.learned, committee))


def load(pipeline: Pipeline, data: bytes) -> Committee:
    """The committee that `dump` was given; it goes on bit-identically.

    Raises:
        ArtifactError: the bytes are not a snapshot, have another format, or are of another pipeline's shape.
    """
    content = pickles.loads(data)
    if not isinstance(content, tuple) or len(content) != 4:
        raise ArtifactError("not a snapshot of an online model")
    version, members, _, committee = content
    if not isinstance(committee, Committee):
        raise ArtifactError("not a snapshot of an online model")
    if version != FORMAT:
        raise ArtifactError(f"online snapshot of format {version}, this version reads {FORMAT}; learn it again")
    if members != members_of(pipeline) or not committee.fits(pipeline):
        raise ArtifactError(
            f"online snapshot of {committee.pipeline_name}: "
            "its task, classes, features or tier are not those of the pipeline now"
        )
    return committee
