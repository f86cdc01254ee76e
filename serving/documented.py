"""How OpenAPI documents the routes of the management API: their bodies and answers."""

from __future__ import annotations

from typing import Any

from serving.answers import REF
from serving.schemas import PROBLEMS, answer, problem_answer

_DENIED: dict[int | str, dict[str, Any]] = {
    401: problem_answer("No valid API key."),
    403: problem_answer("The role does not allow it."),
    503: PROBLEMS[503],
}
_ABSENT: dict[int | str, dict[str, Any]] = {404: problem_answer("No such model, version or run.")}


def read_answers(name: str, *, absent: bool = False) -> dict[int | str, dict[str, Any]]:
    """What a route that reads may answer: schema ``name``, or a problem (``absent``: 404 too)."""
    return {200: answer(name), 422: PROBLEMS[422], **_DENIED, **(_ABSENT if absent else {})}


#: What a route that changes something may answer.
COMMANDED: dict[int | str, dict[str, Any]] = {
    200: answer("Commanded") | {"description": "It was decided, and done."},
    202: answer("Commanded") | {"description": "It is in the log; no decision yet."},
    409: answer("Commanded") | {"description": "It was refused, or not started; `detail` says why."},
    400: PROBLEMS[400],
    413: PROBLEMS[413],
    422: PROBLEMS[422],
    **_DENIED,
    **_ABSENT,
}


def takes(name: str) -> dict[str, Any]:
    """A body that may be left out where all of it is optional."""
    return {"requestBody": {"content": {"application/json": {"schema": {"$ref": REF + name}}}}}
