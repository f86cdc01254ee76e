"""An inferred pipeline as a Python file that a person reads and edits, laid out as ``ruff format`` would."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

from penstock.spec import Categorical, Date, Feature, Gates
from producers.infer import Inferred

WIDTH = 120
_INDENT = "    "


def render(inferred: Inferred) -> str:
    """The text of ``pipelines/<name>.py``; loading it gives ``inferred.pipeline`` again."""
    pipeline = inferred.pipeline
    floors = _floors(pipeline.gates)
    used = {type(feature).__name__ for feature in pipeline.features} | {"Pipeline", "Rows"}
    used |= {"Gates"} if floors else set()
    about = f"Predicts {_plain(pipeline.target)} ({pipeline.task}), as inferred from {_plain(inferred.source)}."
    lines = [
        f'"""{about}"""',
        "",
        f"from penstock.spec import {', '.join(sorted(used))}",
        "",
    ]
    lines += [f"# - {_plain(note)}" for note in inferred.notes if not note.startswith("ignored ")]
    lines += ["PIPELINE = Pipeline("]
    lines += _argument("name", quote(pipeline.name))
    lines += _argument("task", quote(pipeline.task))
    lines += _argument("target", quote(pipeline.target))
    if pipeline.classes:
        if pipeline.task == "binary":
            lines.append(f"{_INDENT}# (negative, positive)")
        lines += _sequence("classes=", [quote(name) for name in pipeline.classes], depth=1)
    lines.append(f"{_INDENT}features=(")
    for feature in pipeline.features:
        lines += _feature_lines(feature, inferred.remarks.get(feature.name, ""))
    lines.append(f"{_INDENT}),")
    for keyword, value in (("entity", pipeline.entity), ("time", pipeline.time), ("time_format", pipeline.time_format)):
        if value is not None:
            lines += _argument(keyword, quote(value))
    lines.append(f"{_INDENT}# How long after its row a label is known: Rows(n) or Millis(n).")
    lines += _argument("label_delay", f"Rows({pipeline.label_delay.count})")
    if pipeline.protected:
        lines += _sequence("protected=", [quote(name) for name in pipeline.protected], depth=1)
    if pipeline.ignored:
        lines.append(f"{_INDENT}ignored={{")
        for column, reason in pipeline.ignored.items():
            lines.append(f"{_INDENT * 2}{quote(column)}: {quote(reason)},")
        lines.append(f"{_INDENT}}},")
    if floors:
        lines.append(f"{_INDENT}# What a new model has to be better than, whatever it replaces.")
        lines += _argument("gates", f"Gates({', '.join(floors)})")
    lines.append(")")
    return "\n".join(lines) + "\n"


def _floors(gates: Gates) -> list[str]:
    """The gates that differ from the defaults, as arguments."""
    plain = Gates()
    changed = [field.name for field in fields(Gates) if getattr(gates, field.name) != getattr(plain, field.name)]
    return [f"{name}={getattr(gates, name)!r}" for name in changed]


def quote(text: str) -> str:
    """``text`` as a Python literal, in the quotes that need fewer escapes (double ones when equal)."""
    mark = "'" if text.count('"') > text.count("'") else '"'
    return mark + "".join(_escaped(char, mark) for char in text) + mark


def _escaped(char: str, mark: str) -> str:
    if char in ("\\", mark):
        return f"\\{char}"
    return char if char.isprintable() else char.encode("unicode_escape").decode()


def _plain(text: str) -> str:
    """``text`` for a comment or a docstring: one line, nothing that could end it."""
    return "".join(char if char.isprintable() else " " for char in text).replace("\\", "/").replace('"', "'")


def _argument(keyword: str, literal: str) -> list[str]:
    return [f"{_INDENT}{keyword}={literal},"]


def _sequence(prefix: str, items: Sequence[str], depth: int) -> list[str]:
    """``prefix(item, item),`` on one line where it fits, else one item per line."""
    indent = _INDENT * depth
    comma = "," if len(items) == 1 else ""
    flat = f"{indent}{prefix}({', '.join(items)}{comma}),"
    if len(flat) <= WIDTH:
        return [flat]
    return [f"{indent}{prefix}(", *(f"{indent}{_INDENT}{item}," for item in items), f"{indent}),"]


def _feature_lines(feature: Feature, remark: str) -> list[str]:
    indent = _INDENT * 2
    callee, arguments = type(feature).__name__, [quote(feature.name)]
    values: list[str] = []
    if isinstance(feature, Date):
        arguments.append(f"format={quote(feature.format)}")
    elif isinstance(feature, Categorical) and feature.values:
        values = [quote(value) for value in feature.values]
        arguments.append(f"values=({', '.join(values)}{',' if len(values) == 1 else ''})")
    code = f"{indent}{callee}({', '.join(arguments)}),"
    trailing = f"{code}  # {remark}"
    if len(trailing) <= WIDTH and remark:
        return [trailing]
    comment = [f"{indent}# {remark}"] if remark else []
    return [*comment, code] if len(code) <= WIDTH else [*comment, *_exploded(callee, arguments, values)]


def _exploded(callee: str, arguments: Sequence[str], values: Sequence[str]) -> list[str]:
    """A call too long for a line: its arguments on a line of their own, else one per line."""
    indent, inner = _INDENT * 2, _INDENT * 3
    together = f"{inner}{', '.join(arguments)}"
    if len(together) <= WIDTH:
        body = [together]
    elif values:
        body = [f"{inner}{arguments[0]},", *_sequence("values=", values, depth=3)]
    else:
        body = [f"{inner}{argument}," for argument in arguments]
    return [f"{indent}{callee}(", *body, f"{indent}),"]
