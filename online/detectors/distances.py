"""How far two samples are apart: population stability index, Jensen-Shannon and Wasserstein distance."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from online.detectors.windows import FloatArray

#: Added to every count, so that no share is zero: the Jeffreys prior of a multinomial.
SMALL_COUNT = 0.5

Counts = npt.NDArray[np.float64] | npt.NDArray[np.int64]


def population_stability(reference: Counts, current: Counts) -> FloatArray:
    """PSI = Σ (p - q) ln(p / q) of counts over the same k bins (the last axis), never infinite.

    p = (count + 0.5) / (n + 0.5 k) and q alike, over the k bins that hold something in either sample. Unlike the
    formula without the 0.5, which is infinite for an empty bin (Siddiqi, Credit Risk Scorecards, 2006). Without drift
    it is about (k - 1) (1 / n + 1 / m). 0 where both samples are empty.
    """
    held = reference + current > 0
    add = np.add.reduce  # the method ``sum`` costs twice as much on so little
    added = SMALL_COUNT * np.maximum(1, add(held, axis=-1, keepdims=True, dtype=np.int64))
    p = (reference + SMALL_COUNT) / (add(reference, axis=-1, keepdims=True) + added)
    q = (current + SMALL_COUNT) / (add(current, axis=-1, keepdims=True) + added)
    terms: FloatArray = (p - q) * np.log(p / q) * held
    return np.asarray(add(terms, axis=-1))


def jensen_shannon(reference: Counts, current: Counts) -> float:
    """The Jensen-Shannon distance of two samples' counts over the same bins, in [0, 1].

    The square root of the divergence in bits (Endres & Schindelin, IEEE Trans. Inf. Theory 49, 2003), as
    ``scipy.spatial.distance.jensenshannon(base=2)``. Both samples hold something.
    """
    p, q = reference / reference.sum(), current / current.sum()
    middle = (p + q) / 2
    divergence = sum(float((side[side > 0] * np.log2(side[side > 0] / middle[side > 0])).sum()) for side in (p, q)) / 2
    return float(np.sqrt(min(1.0, max(0.0, divergence))))


def wasserstein(reference: FloatArray, current: FloatArray) -> float:
    """W₁ = ∫ |F_reference - F_current| dx, in standard deviations of the reference.

    Where the reference is constant, in standard deviations of both samples together; 0 where all values are equal.
    Values are finite, neither sample is empty.
    """
    scale = max(float(np.abs(reference).max()), float(np.abs(current).max()))
    if scale == 0.0:
        return 0.0
    reference, current = np.sort(reference / scale), np.sort(current / scale)  # squares of 1e150 do not overflow
    both = np.concatenate((reference, current))
    both.sort()
    apart = np.abs(
        np.searchsorted(reference, both[:-1], "right") / len(reference)
        - np.searchsorted(current, both[:-1], "right") / len(current)
    )
    moved = float((apart * np.diff(both)).sum())
    spread = float(reference.std()) if reference[0] < reference[-1] else float(both.std())
    return moved / spread if moved > 0.0 and spread > 0.0 else 0.0
