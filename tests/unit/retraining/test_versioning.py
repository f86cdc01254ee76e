"""Semantic versions of models."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from retraining.versioning import SemanticVersion, next_version


def of(spec: str, data: str, version: str = "") -> dict[str, str]:
    return {"spec_digest": spec, "data_digest": data} | ({"semantic_version": version} if version else {})


def test_spec_data_and_refit_raise_their_own_numbers() -> None:
    held: list[dict[str, str]] = []
    for spec, data, wanted in (
        ("s1", "d1", "1.0.0"),
        ("s1", "d2", "1.1.0"),
        ("s1", "d1", "1.0.1"),  # the first one's data again
        ("s1", "d1", "1.0.2"),
        ("s1", "d3", "1.2.0"),
        ("s2", "d3", "2.0.0"),
        ("s2", "d4", "2.1.0"),
        ("s1", "d1", "3.0.0"),  # back to an older spec is another spec than the newest's
        ("s1", "d1", "3.0.1"),
    ):
        assert str(next_version(held, of(spec, data))) == wanted
        held.append(of(spec, data, wanted))


def test_versions_without_a_number_are_passed_over() -> None:
    assert str(next_version([of("s", "d")], of("s", "d"))) == "1.0.0"
    assert str(next_version([of("s", "d", "1.4.2"), of("s", "x", "latest")], of("s", "e"))) == "1.5.0"


@given(st.lists(st.tuples(st.sampled_from("st"), st.sampled_from("abc")), max_size=12))
def test_no_version_is_given_twice(fits: list[tuple[str, str]]) -> None:
    held: list[dict[str, str]] = []
    for spec, data in fits:
        held.append(of(spec, data, str(next_version(held, of(spec, data)))))
    given_out = [lineage["semantic_version"] for lineage in held]
    assert len(set(given_out)) == len(given_out)
    assert all(SemanticVersion(*map(int, version.split("."))).major >= 1 for version in given_out)
