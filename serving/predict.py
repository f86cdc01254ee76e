"""``POST /v1/predict``, ``/v1/predict/batch`` and ``/v1/labels``: answered once the log holds the answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypeVar

import anyio.to_thread
from anyio import CapacityLimiter
from fastapi import APIRouter, Request, Response

from online.scoring import score_requests
from penstock import events
from penstock.errors import LogError, LogUnavailableError
from penstock.log.port import Message
from penstock.models.watch import topic_of
from penstock.telemetry import CounterName
from serving.deps import ServingDeps
from serving.incoming import decode_labels, decode_rows, label_decoder, read_body, request_decoder
from serving.schemas import BATCH_BODY, LABELS_BODY, PROBLEMS, REQUEST_BODY, answer

#: Requests that wait for the log at the same time; their appends share commits.
MAX_APPENDING = 64
#: Who waited this long is told to try again, before most clients give up by themselves.
ANSWER_WITHIN_S = 4.0

T = TypeVar("T")


def predict_routes(deps: ServingDeps) -> APIRouter:
    """The routes that write to the log."""
    router = APIRouter()
    decode_request, decode_label = request_decoder(deps.pipeline), label_decoder(deps.pipeline)
    limiter = CapacityLimiter(MAX_APPENDING)
    max_bytes, max_rows = deps.settings.max_body_bytes, deps.settings.max_batch_rows

    async def in_thread(work: Callable[[], T]) -> T:
        try:
            with anyio.fail_after(ANSWER_WITHIN_S):
                return await anyio.to_thread.run_sync(work, limiter=limiter, abandon_on_cancel=True)
        except TimeoutError as error:
            raise LogUnavailableError(f"log: it has not answered for {ANSWER_WITHIN_S:g} s") from error

    @router.post(
        "/v1/predict",
        summary="Score one request",
        description="Answered once the prediction is durable in the log.",
        openapi_extra={"requestBody": REQUEST_BODY},
        responses={200: answer("Prediction"), **PROBLEMS},
    )
    async def predict(request: Request) -> Response:
        event = decode_request(await read_body(request, max_bytes))
        [encoded] = await in_thread(lambda: _score(deps, [event]))
        return Response(encoded, media_type="application/json")

    @router.post(
        "/v1/predict/batch",
        summary="Score many requests",
        description="All are scored by the same version; one that is wrong refuses them all.",
        openapi_extra={"requestBody": BATCH_BODY},
        responses={200: answer("Predictions"), **PROBLEMS},
    )
    async def predict_batch(request: Request) -> Response:
        body = await read_body(request, max_bytes)
        encoded = await in_thread(lambda: _score(deps, decode_rows(body, decode_request, max_rows)))
        return Response(b'{"predictions":[' + b",".join(encoded) + b"]}", media_type="application/json")

    @router.post(
        "/v1/labels",
        status_code=202,
        summary="Say what really happened",
        description="One label, or many under `labels`. Answered once they are durable in the log.",
        openapi_extra={"requestBody": LABELS_BODY},
        responses={202: answer("Accepted"), **PROBLEMS},
    )
    async def labels(request: Request) -> Response:
        body = await read_body(request, max_bytes)
        accepted = await in_thread(lambda: _append_labels(deps, decode_labels(body, decode_label, max_rows)))
        return Response(b'{"accepted":%d}' % accepted, 202, media_type="application/json")

    return router


def _score(deps: ServingDeps, requests: Sequence[events.Request]) -> list[bytes]:
    """The predictions' JSON, in order, once they are durable."""
    if not requests:
        return []
    serving = deps.served.serving  # read once: a swap cannot come between two rows of one answer
    now_ms = deps.clock.now_ms()
    watch = deps.watch
    predictions = score_requests(
        deps.pipeline, serving, [(request, now_ms) for request in requests], watch.asking(serving)
    )
    watch.answered(serving, predictions)
    encoded = [events.encode(prediction) for prediction in predictions]
    messages = [
        Message("predictions", prediction.entity.encode(), value)
        for prediction, value in zip(predictions, encoded, strict=True)
    ]
    news = watch.news(now_ms)
    messages += [Message(topic_of(said), said.id.encode(), events.encode(said)) for said in news]
    try:
        deps.log.append(messages)
    except LogError:
        watch.unsaid(news)
        raise
    for version, rows in Counter(prediction.version for prediction in predictions).items():
        deps.telemetry.count(CounterName.PREDICTIONS, rows, version=version)
    return encoded


def _append_labels(deps: ServingDeps, labels: Sequence[events.Label]) -> int:
    if labels:
        deps.log.append(
            [Message("labels", (label.entity or label.id).encode(), events.encode(label)) for label in labels]
        )
    return len(labels)
