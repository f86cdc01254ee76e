"""Errors as ``application/problem+json`` (RFC 9457): one line for people, and the field that is wrong."""

from __future__ import annotations

from http import HTTPStatus

import msgspec
import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from penstock.errors import ContractError, LogError

RETRY_AFTER_S = 1
MEDIA_TYPE = "application/problem+json"
#: The field of a problem that is about all of the body.
BODY = "body"

_logger = structlog.get_logger("serving")


class BodyTooLargeError(ContractError):
    """A request body is larger than ``PENSTOCK_MAX_BODY_BYTES``."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        super().__init__(BODY, f"larger than {limit} bytes; send fewer rows per request")


def problem(status: int, detail: str, *, field: str | None = None, headers: dict[str, str] | None = None) -> Response:
    """A problem response. The type is ``about:blank``, so the title is the status' own phrase."""
    body: dict[str, str | int] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    if field is not None:
        body["field"] = field
    return Response(msgspec.json.encode(body), status, headers, MEDIA_TYPE)


async def _contract_problem(_request: Request, error: Exception) -> Response:
    if isinstance(error, BodyTooLargeError):
        return problem(413, str(error), field=error.field, headers={"Connection": "close"})
    if not isinstance(error, ContractError):
        raise error
    broken = error.problem.startswith("not JSON")
    field = error.field or BODY
    return problem(400 if broken else 422, f"{field}: {error.problem}", field=field)


async def _log_problem(_request: Request, error: Exception) -> Response:
    _logger.error("the log did not answer", error=str(error))
    detail = "the event log is not available; nothing may be assumed written, repeat with the same id"
    return problem(503, detail, headers={"Retry-After": str(RETRY_AFTER_S)})


async def _http_problem(_request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    return problem(error.status_code, str(error.detail), headers=dict(error.headers or {}))


async def _validation_problem(_request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"][1:])
    return problem(422, f"{field}: {first['msg']}", field=field)


async def _bug_problem(_request: Request, _error: Exception) -> Response:
    return problem(500, "serving failed on this request; its log has the reason")


def install_problems(app: FastAPI) -> None:
    """Answer every error of ``app``, unknown routes and methods included, as a problem."""
    app.add_exception_handler(ContractError, _contract_problem)
    app.add_exception_handler(LogError, _log_problem)
    app.add_exception_handler(HTTPException, _http_problem)
    app.add_exception_handler(RequestValidationError, _validation_problem)
    app.add_exception_handler(Exception, _bug_problem)
