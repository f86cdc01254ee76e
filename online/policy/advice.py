"""What to do about an incident of each kind."""

from __future__ import annotations

ADVICE = {
    "concept": "The error rose: retrain on examples since the change and compare before promoting.",
    "covariate": "Inputs moved: check the listed features at their source; retrain if the error follows.",
    "schema": "Inputs broke: check the sender of the listed features (missing, out of range or unknown values).",
}
