from __future__ import annotations

import inspect

import pytest

from penstock import errors

CLASSES = [
    value
    for _, value in inspect.getmembers(errors, inspect.isclass)
    if issubclass(value, Exception) and value.__module__ == errors.__name__
]


@pytest.mark.parametrize("error", CLASSES)
def test_every_error_has_one_root_a_name_and_a_documented_exit_code(error: type[errors.PenstockError]) -> None:
    assert issubclass(error, errors.PenstockError)
    assert error.__name__.endswith("Error")
    assert error.exit_code in (1, 2, 3)
    assert error.__doc__


def test_errors_carry_data_and_one_line() -> None:
    unknown = errors.UnknownTopicError("requests", 3)
    assert (unknown.topic, unknown.partition) == ("requests", 3)
    assert str(unknown).startswith("requests/3: ")
    gone = errors.OffsetOutOfRangeError("labels", 0, 4, 10, 20)
    assert (gone.offset, gone.first, gone.end) == (4, 10, 20)
    fenced = errors.FencedError("joiner", 1)
    assert (fenced.group, fenced.partition) == ("joiner", 1)
    for error in (unknown, gone, fenced, errors.ContractError("features.x", "absent")):
        assert "\n" not in str(error)


def test_a_contract_error_names_the_field_where_there_is_one() -> None:
    assert str(errors.ContractError("features.x", "absent")) == "features.x: absent"
    assert str(errors.ContractError("", "not JSON")) == "not JSON"
