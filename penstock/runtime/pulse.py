"""Whether a process gets on, for whoever probes it."""

from __future__ import annotations

from penstock.clock import Clock

#: The longest that a batch, a checkpoint or one try of the log may take before the process counts as hung.
LIVE_WITHIN_S = 60.0


class Pulse:
    """Hears from every `Patience` of a process how its tries of the log end. Any thread may tell, any may ask.

    Loops try the log several times a second, replays once per batch, and waits for a log that is away before every
    pause: silence means that something hangs, and a wait does not.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._beaten_s = clock.monotonic_s()
        self._waits: dict[str, str] = {"start": "starting"}

    def heard(self, what: str, why: str | None) -> None:
        """``what`` was tried, and has to wait because of ``why`` (None: it was done)."""
        self._beaten_s = self._clock.monotonic_s()
        if why is not None:
            self._waits[what] = why
        else:
            self._waits.pop(what, None)

    @property
    def live(self) -> bool:
        """Whether anything was heard lately."""
        return self._clock.monotonic_s() - self._beaten_s < LIVE_WITHIN_S

    @property
    def waits_for(self) -> str | None:
        """Why the process cannot work now; None: it can."""
        return next(iter(list(self._waits.values())), None)
