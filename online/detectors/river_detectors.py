"""River's detectors of a change of the error, by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import Any

from river.drift.adwin import ADWIN
from river.drift.binary.ddm import DDM
from river.drift.binary.eddm import EDDM
from river.drift.binary.hddm_a import HDDMA
from river.drift.binary.hddm_w import HDDMW
from river.drift.page_hinkley import PageHinkley

#: Made with River's defaults, but for ADWIN, which looks at every error, and Page-Hinkley, which looks for rises only.
_MAKERS: MappingProxyType[str, Callable[[float], Any]] = MappingProxyType(
    {
        "adwin": lambda delta: ADWIN(delta=delta, clock=1),  # type: ignore[no-untyped-call]  # River is not annotated
        "page_hinkley": lambda _: PageHinkley(mode="up"),
        "ddm": lambda _: DDM(),
        "eddm": lambda _: EDDM(),
        "hddm_a": lambda _: HDDMA(),  # type: ignore[no-untyped-call]
        "hddm_w": lambda _: HDDMW(),  # type: ignore[no-untyped-call]
    }
)
#: Of errors between 0 and 1 only these can be told; the others count right and wrong answers.
REAL_VALUED = frozenset(("adwin", "page_hinkley"))


class RiverDetector:
    """One of River's detectors; a regression's errors count as wrong for the binary ones from half a unit on.

    ADWIN: Bifet & Gavaldà, SDM 2007. Page-Hinkley: Page, Biometrika 41, 1954. DDM: Gama et al., SBIA 2004. EDDM:
    Baena-García et al., 2006. HDDM-A and HDDM-W: Frías-Blanco et al., IEEE TKDE 27, 2015.
    """

    #: Its finding waits for so many errors after the change, or it was a burst.
    least_after = 50
    #: What it suspects must be confirmed.
    believed = False

    def __init__(self, name: str, delta: float) -> None:
        self._name = name
        self._delta = delta
        self._detector = _MAKERS[name](delta)

    def update(self, errors: Sequence[float]) -> bool:
        """Take a block of errors, one by one; whether a change was suspected at any."""
        detector, suspected = self._detector, False
        for error in errors if self._name in REAL_VALUED else [error >= 0.5 for error in errors]:
            detector.update(error)
            suspected = suspected or detector.drift_detected
        return bool(suspected)

    def restart(self) -> None:
        """Forget all errors."""
        self._detector = _MAKERS[self._name](self._delta)
