"""Calibrated probabilities: what was learned about how often a score comes true, as plain data."""

from __future__ import annotations

from typing import Literal

import msgspec
import numpy as np
from scipy.special import softmax

from online.tabular import Matrix

#: Log loss of a certain and wrong answer would be infinite.
FLOOR = 1e-6


class Calibration(msgspec.Struct, frozen=True):
    """A map from probabilities p (rows × classes) to better ones; each row's depends on that row alone.

    ``sigmoid``: p'_k ∝ exp(slope · ln p_k + shift_k). With two classes that is Platt's sigmoid on the log odds (Platt
    1999; on log odds: Kull et al. 2017), with more it is bias-corrected temperature scaling (Alexandari et al. 2020).
    ``isotonic``: p'_k ∝ a monotone function of p_k, linear between ``knots`` (Zadrozny and Elkan 2002, one against the
    rest).
    """

    kind: Literal["sigmoid", "isotonic"]
    slope: float = 1.0
    shifts: list[float] = []
    knots: list[list[float]] = []
    levels: list[list[float]] = []

    def calibrated(self, table: Matrix) -> Matrix:
        """``table`` (rows × classes, each row adds up to 1) calibrated, of the same shape."""
        if self.kind == "sigmoid":
            raw = self.slope * np.log(np.clip(table, FLOOR, 1.0)) + np.array(self.shifts)
            shifted: Matrix = softmax(raw, axis=1)
            return shifted
        columns = [
            np.interp(table[:, index], knots, levels)
            for index, (knots, levels) in enumerate(zip(self.knots, self.levels, strict=True))
        ]
        mapped: Matrix = np.clip(np.stack(columns, axis=1), FLOOR, 1.0)
        mapped /= mapped.sum(axis=1, keepdims=True)
        return mapped
