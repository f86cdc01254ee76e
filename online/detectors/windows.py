"""What the window detectors share: sliding, ageing of alarms, and dating a change."""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from penstock.spec import DriftPolicy, ReferenceMode

FloatArray: TypeAlias = npt.NDArray[np.float64]
IntArray: TypeAlias = npt.NDArray[np.int64]
BoolArray: TypeAlias = npt.NDArray[np.bool_]

#: Fewer values than this on either side are no basis for a finding.
MIN_VALUES = 50
#: The newest 1 / SHORT of a window is compared with the reference as well.
SHORT = 4
#: More records than any stream has.
NEVER = 2**62


class Packed(msgspec.Struct, array_like=True):
    """A NumPy array as raw bytes, for checkpoints."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes


def pack(array: npt.NDArray[np.generic]) -> Packed:
    """``array`` as raw bytes in C order."""
    return Packed(array.dtype.str, array.shape, array.tobytes())


def unpack_floats(packed: Packed) -> FloatArray:
    """The writable array that was packed, as float64."""
    return np.frombuffer(packed.data, dtype=packed.dtype).reshape(packed.shape).astype(np.float64)


def unpack_integers(packed: Packed) -> IntArray:
    """The writable array that was packed, as int64."""
    return np.frombuffer(packed.data, dtype=packed.dtype).reshape(packed.shape).astype(np.int64)


_NONE: IntArray = np.empty(0, dtype=np.int64)


class SlidingColumns:
    """The newest ``size`` records of several series (series × records), oldest first, without a copy per record."""

    def __init__(self, series: int, size: int, dtype: npt.DTypeLike) -> None:
        self._size = size
        self._held = np.empty((series, 2 * size), dtype=dtype)
        self._start = self._stop = 0

    def __len__(self) -> int:
        return self._stop - self._start

    def __getstate__(self) -> tuple[int, npt.NDArray[Any]]:
        return self._size, self.view.copy()

    def __setstate__(self, state: tuple[int, npt.NDArray[Any]]) -> None:
        size, held = state
        self.__init__(len(held), size, held.dtype)  # type: ignore[misc]
        self.push(held)

    @property
    def view(self) -> npt.NDArray[Any]:
        """The records that are held; valid until the next `push`."""
        return self._held[:, self._start : self._stop]

    def clear(self) -> None:
        """Hold nothing."""
        self._start = self._stop = 0

    def leaving(self, columns: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The records, oldest first, that a `push` of ``columns`` would drop."""
        over = max(0, len(self) + columns.shape[1] - self._size)
        beyond = max(0, over - len(self))
        gone = self.view[:, : over - beyond]
        return np.concatenate((gone, columns[:, :beyond]), axis=1) if beyond else gone.copy()

    def push(self, columns: npt.NDArray[Any]) -> None:
        """Take ``columns`` (series × records) and drop what is too old."""
        columns = columns[:, -self._size :]
        more = columns.shape[1]
        if self._stop + more > self._held.shape[1]:
            kept = min(len(self), self._size - more)
            self._held[:, :kept] = self._held[:, self._stop - kept : self._stop].copy()
            self._start, self._stop = 0, kept
        self._held[:, self._stop : self._stop + more] = columns
        self._stop += more
        self._start = max(self._start, self._stop - self._size)


class AlarmAges:
    """How long each signal has been alarmed, in records, to tell when its reference is out of date.

    A signal's alarm begins at its first significant look and ends after 10 looks in a row (the default of
    ``DriftPolicy.quiet_looks``) that are not. It is *due* once it has lasted 2 × window records, and then starts
    afresh; with fixed references it never is. Significance is judged by the default thresholds here, so changed
    thresholds never change a detector's state.
    """

    def __init__(self, signals: int, window: int, mode: ReferenceMode = "promotion") -> None:
        self._limit = NEVER if mode == "fixed" else 2 * window
        self._quiet_limit = DriftPolicy().quiet_looks
        self._ages = np.full(signals, -1, dtype=np.int64)
        self._quiet = np.zeros(signals, dtype=np.int64)

    def update(self, significant: BoolArray, records: int) -> IntArray:
        """Count one look of ``records`` records; the indices of the signals that are due."""
        running = self._ages >= 0
        if not (running.any() or significant.any()):
            return _NONE
        self._ages[running] += records
        self._ages[significant & ~running] = 0
        self._quiet = np.where(significant, 0, self._quiet + running)
        self._ages[self._quiet >= self._quiet_limit] = -1
        due = np.flatnonzero(significant & (self._ages >= self._limit))
        self._ages[due] = -1
        return due

    @property
    def running(self) -> BoolArray:
        """Which signals are alarmed."""
        return np.asarray(self._ages >= 0)

    def pack(self) -> tuple[Packed, Packed]:
        """All state."""
        return pack(self._ages), pack(self._quiet)

    def unpack(self, packed: tuple[Packed, Packed]) -> None:
        """Replace the state by what `pack` returned."""
        self._ages, self._quiet = unpack_integers(packed[0]), unpack_integers(packed[1])


def onset(member: BoolArray, reference_share: float) -> int:
    """The index at which the share of true values most likely left ``reference_share``.

    ``member`` is chronological and not empty. Maximises S_k² / (n - k), where S_k is the sum of
    member - reference_share from k to the end: the Gaussian log-likelihood ratio of a change of the mean at k
    (Page, Biometrika 41, 1954).
    """
    excess = member.astype(np.float64) - reference_share
    tail = np.cumsum(excess[::-1])[::-1]
    return int(np.argmax(tail * tail / np.arange(len(member), 0, -1)))
