"""From the start of serving to its first answer: the log's present is caught up with, however long the log is away."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial

from starlette.types import ASGIApp, Receive, Scope, Send

from penstock.errors import LogUnavailableError
from penstock.runtime.patience import Patience
from serving.problems import RETRY_AFTER_S, problem

#: Answered from the first moment on: they say how the start gets on.
ALWAYS = ("/health/", "/metrics")
#: How long a stop waits for a step that is under way.
STOP_S = 1.0


class Opening:
    """One thread that takes the steps of the start, each as often as the log is unavailable.

    ``why`` says what requests wait for; it is None once the last step is done. ``failure`` is what ended the start.
    """

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._tried, self._stopping = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self.why: str | None = "serving has not started"
        self.failure: BaseException | None = None

    @property
    def alive(self) -> bool:
        """Whether the steps are being taken."""
        return self._thread is not None and self._thread.is_alive()

    def start(self, steps: Sequence[Callable[[], None]]) -> None:
        """Take ``steps``, one after the other."""
        self.why, self.failure = "serving is starting", None
        self._tried.clear()
        self._stopping.clear()
        self._thread = threading.Thread(target=self._run, args=(steps,), name="opening", daemon=True)
        self._thread.start()

    def wait_for_first_try(self) -> None:
        """Return when all steps are done, or something went wrong for the first time: mostly the former."""
        self._tried.wait()

    def stop(self) -> None:
        """Wait for the step that is under way; one that hangs is left behind."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(STOP_S)
        self.why = "serving has stopped"

    def _run(self, steps: Sequence[Callable[[], None]]) -> None:
        try:
            for step in steps:
                self._patience.call("start", partial(self._try, step))
                if self._stopping.is_set():
                    return
            self.why = None
        except BaseException as error:  # noqa: BLE001 - raised by who waits for us
            self.failure = error
        finally:
            self._tried.set()

    def _try(self, step: Callable[[], None]) -> None:
        try:
            step()
        except LogUnavailableError as error:
            self.why = str(error)
            self._tried.set()
            raise


class Gate:
    """An ASGI layer that refuses requests while ``opening`` is not done: a score would be of an outdated model."""

    def __init__(self, app: ASGIApp, opening: Opening) -> None:
        self._app, self._opening = app, opening

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer 503 with the reason."""
        why = self._opening.why
        if scope["type"] == "http" and why is not None and not scope["path"].startswith(ALWAYS):
            await problem(503, why, headers={"Retry-After": str(RETRY_AFTER_S)})(scope, receive, send)
        else:
            await self._app(scope, receive, send)
