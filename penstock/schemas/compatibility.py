"""May a contract change like this? Only optional fields may be added.

An older reader must read a newer writer and the other way round, so a field never goes, never changes its type, its
allowed values or its default, and never becomes or stops being required.
"""

from __future__ import annotations

from typing import Any, TypeAlias

Schema: TypeAlias = dict[str, Any]

#: Words for people, which change nothing.
_PROSE = frozenset({"title", "description", "examples", "$schema", "$id", "$defs"})
_OBJECT = frozenset({"properties", "required"})


def breaking_changes(old: Schema, new: Schema) -> list[str]:
    """What in ``new`` breaks readers or writers of ``old``: one line per place, empty when there is nothing.

    Both are JSON Schemas as `penstock.schemas.contracts.contract_schema` makes them (local ``$defs`` only).
    """
    return _Comparison(old.get("$defs", {}), new.get("$defs", {})).run(old, new)


class _Comparison:
    """One walk over two schemas. Contracts may be recursive: a pair of definitions is compared once."""

    def __init__(self, old_definitions: Schema, new_definitions: Schema) -> None:
        self._old_definitions = old_definitions
        self._new_definitions = new_definitions
        self._compared: set[tuple[str, str]] = set()
        self._found: list[str] = []

    def run(self, old: Schema, new: Schema) -> list[str]:
        self._compare(old, new, "")
        return self._found

    def _compare(self, old: Schema, new: Schema, path: str) -> None:
        pair = (old.get("$ref", ""), new.get("$ref", ""))
        if all(pair):
            if pair not in self._compared:
                self._compared.add(pair)
                self._compare(
                    _resolved(pair[0], self._old_definitions), _resolved(pair[1], self._new_definitions), path
                )
            old, new = _without_reference(old), _without_reference(new)
        if "properties" in old and "properties" in new:
            self._compare_fields(old, new, path)
        for keyword in sorted((old.keys() | new.keys()) - _PROSE):
            if keyword in _OBJECT and "properties" in old and "properties" in new:
                continue
            self._compare_keyword(keyword, old, new, path)

    def _compare_fields(self, old: Schema, new: Schema, path: str) -> None:
        old_required, new_required = set(old.get("required", ())), set(new.get("required", ()))
        for name, schema in old["properties"].items():
            where = f"{path}.{name}" if path else name
            if name not in new["properties"]:
                self._found.append(f"{where}: removed")
                continue
            if name in new_required - old_required:
                self._found.append(f"{where}: became required")
            if name in old_required - new_required:
                self._found.append(f"{where}: is no longer required, which older readers rely on")
            self._compare(schema, new["properties"][name], where)
        for name in new["properties"]:
            if name not in old["properties"] and name in new_required:
                self._found.append(f"{path}.{name}: added as required".lstrip("."))

    def _compare_keyword(self, keyword: str, old: Schema, new: Schema, path: str) -> None:
        if keyword not in old or keyword not in new:
            verb = "added" if keyword in new else "removed"
            self._found.append(f"{path or '(value)'}: {keyword} {verb}")
            return
        before, after = old[keyword], new[keyword]
        if isinstance(before, dict) and isinstance(after, dict) and keyword in ("items", "additionalProperties"):
            self._compare(before, after, f"{path}[]")
        elif keyword in ("anyOf", "prefixItems") and len(before) == len(after):
            for one, other in zip(before, after, strict=True):
                self._compare(one, other, path)
        elif before != after:
            self._found.append(f"{path or '(value)'}: {keyword} changed from {before!r} to {after!r}")


def _resolved(reference: str, definitions: Schema) -> Schema:
    schema: Schema = definitions[reference.rpartition("/")[2]]
    return schema


def _without_reference(schema: Schema) -> Schema:
    return {key: value for key, value in schema.items() if key != "$ref"}
