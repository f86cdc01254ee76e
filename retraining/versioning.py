"""Semantic versions of models: what changed since the versions before, in three numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

#: Where a version's lineage holds them.
SEMANTIC_VERSION, SPEC_DIGEST, DATA_DIGEST = "semantic_version", "spec_digest", "data_digest"
_FORM = re.compile(r"(\d+)\.(\d+)\.(\d+)\Z")


class SemanticVersion(NamedTuple):
    """``major``: another spec; ``minor``: a fit on other data; ``patch``: a fit on the same data again."""

    major: int
    minor: int
    patch: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"


def next_version(held: Sequence[Mapping[str, str]], lineage: Mapping[str, str]) -> SemanticVersion:
    """The version after those of the lineages ``held`` (the oldest first) for one of ``lineage``.

    The first is 1.0.0. Another spec digest than the newest's raises the major number; the same spec and data as one
    that is held, its patch number; anything else the minor number. A lineage without a version is passed over.
    """
    known = [(version, each) for each in held if (version := _parsed(each)) is not None]
    if not known:
        return SemanticVersion(1, 0, 0)
    newest = max(version for version, _ in known)
    if known[-1][1].get(SPEC_DIGEST) != lineage.get(SPEC_DIGEST):
        return SemanticVersion(newest.major + 1, 0, 0)
    same = [
        version
        for version, each in known
        if all(each.get(name) == lineage.get(name) for name in (SPEC_DIGEST, DATA_DIGEST))
    ]
    if same:
        return max(same)._replace(patch=max(same).patch + 1)
    return SemanticVersion(newest.major, newest.minor + 1, 0)


def _parsed(lineage: Mapping[str, str]) -> SemanticVersion | None:
    match = _FORM.match(lineage.get(SEMANTIC_VERSION, ""))
    return SemanticVersion(*(int(part) for part in match.groups())) if match else None
