"""Variants of a pipeline for a comparison: the same spec with some of its settings changed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any, get_args, get_origin, get_type_hints

import msgspec

from penstock.errors import SpecError, UsageError
from penstock.spec import DriftPolicy, Gates, Pipeline, RetrainingPolicy

#: Settings of the pipeline itself that a variant may change; the others say what the data is.
OWN = ("tier", "threshold")
SECTIONS: Mapping[str, type] = {"drift": DriftPolicy, "retraining": RetrainingPolicy, "gates": Gates}


@dataclass(frozen=True, slots=True)
class Variant:
    """``changes``: setting (as in ``drift.effect_floor``) → value. The pipeline as declared has none."""

    name: str
    pipeline: Pipeline
    changes: Mapping[str, Any]


@cache
def valid_keys() -> Mapping[str, Any]:
    """Every setting that a variant may change → its type."""
    own = get_type_hints(Pipeline)
    keys = {name: own[name] for name in OWN}
    for section, policy in SECTIONS.items():
        hints = get_type_hints(policy)
        keys |= {f"{section}.{field.name}": hints[field.name] for field in fields(policy)}
    return keys


def parse_variant(text: str, pipeline: Pipeline) -> Variant:
    """Read ``KEY=VALUE[,KEY=VALUE]``; ``none`` clears a setting that may be empty, ``+`` joins several names.

    Raises:
        UsageError: one line that says what does not fit, and what would.
    """
    keys = valid_keys()
    changes: dict[str, Any] = {}
    for part in text.split(","):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not key or not value:
            raise UsageError(f"--compare {text!r}: write KEY=VALUE[,KEY=VALUE], for instance drift.effect_floor=0.05")
        if key not in keys:
            raise UsageError(f"--compare {text!r}: no setting {key!r}; there are {', '.join(keys)}")
        if key in changes:
            raise UsageError(f"--compare {text!r}: {key} is set twice")
        changes[key] = _value(text, key, value, keys[key])
    try:
        return Variant(
            ", ".join(f"{key}={_said(value)}" for key, value in changes.items()), _with(pipeline, changes), changes
        )
    except SpecError as error:
        raise UsageError(f"--compare {text!r}: {error}") from error


def _value(text: str, key: str, value: str, wanted: Any) -> Any:
    if value.lower() == "none" and type(None) in get_args(wanted):
        return None
    given = value.split("+") if get_origin(wanted) is tuple else value
    try:
        found = msgspec.convert(given, wanted, strict=False)
    except msgspec.ValidationError as error:
        raise UsageError(f"--compare {text!r}: {key} cannot be {value!r} ({_expected(wanted)} wanted)") from error
    if isinstance(found, float) and not math.isfinite(found):
        raise UsageError(f"--compare {text!r}: {key} cannot be {value!r} (a finite number wanted)")
    return found


def _expected(wanted: Any) -> str:
    names = {int: "a whole number", float: "a number", bool: "true or false"}
    if get_origin(wanted) is tuple:
        return f"{_expected(get_args(wanted)[0])}, or several joined by +"
    choices = get_args(wanted)
    if not choices:
        return names.get(wanted, str(wanted))
    return " or ".join(names.get(choice, "none" if choice is type(None) else str(choice)) for choice in choices)


def _said(value: Any) -> str:
    if isinstance(value, tuple):
        return "+".join(value)
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def _with(pipeline: Pipeline, changes: Mapping[str, Any]) -> Pipeline:
    own = {key: value for key, value in changes.items() if key in OWN}
    for section in SECTIONS:
        inner = {key.partition(".")[2]: value for key, value in changes.items() if key.startswith(f"{section}.")}
        if inner:
            own[section] = replace(getattr(pipeline, section), **inner)
    return replace(pipeline, **own)
