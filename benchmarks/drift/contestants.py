"""Everybody on one stream: rows of alarms by contestant."""

from __future__ import annotations

from benchmarks.drift import product, river_detectors
from benchmarks.drift.frouros_peer import Frouros
from benchmarks.drift.streams import Stream
from online.detectors.significance import REFERENCE_MODEL
from penstock.spec import Numeric

#: The product as it ships: all detectors under the policy.
PRODUCT = "Penstock"
DUMMY = "random dummy"
#: Families whose drift is in the features.
MOVED = ("covariate", "real covariate")


def ours(stream: Stream) -> tuple[dict[str, list[int]], list[product.Opening], list[int]]:
    """Alarms of the product and of each of its detectors alone under the same policy; its incidents; the errors."""
    known = product.examples(stream)
    records = list(product.evidence(stream.pipeline, known))
    opened = product.incidents(stream.pipeline, records)
    found = {PRODUCT: [opening.row for opening in opened]}
    on_errors = list(product.error_evidence(stream.pipeline, known))
    for said in (records, on_errors):
        for detector in product.detectors(said):
            of_errors = detector.startswith("concept: ") and not detector.endswith(REFERENCE_MODEL)
            if said is records and of_errors:
                continue  # here some only report; on_errors holds what they would have decided
            alone = product.incidents(stream.pipeline, product.only(said, detector))
            found[f"{PRODUCT} {detector}"] = [opening.row for opening in alone]
    return found, opened, product.errors(known)


def theirs(stream: Stream, errors: list[int], frouros: Frouros | None, slow: bool) -> dict[str, list[int]]:
    """River's and Frouros' alarms: on errors, and where features moved on features too.

    ``slow`` lets KSWIN take part, which needs about 0.3 ms per value.
    """
    found = {f"River {name}": river_detectors.alarms(make, errors) for name, make in river_detectors.ON_ERRORS.items()}
    if stream.family in MOVED:
        names = [feature.name for feature in stream.pipeline.features if isinstance(feature, Numeric)]
        columns = list(river_detectors.numeric_columns(names, [features for features, _ in stream.rows]))
        for name, make in river_detectors.ON_FEATURES.items():
            if slow or not name.startswith("KSWIN"):
                found[f"River {name}"] = river_detectors.alarms_of_any(make, columns)
    if frouros is not None:
        found |= {f"Frouros {name}": rows for name, rows in frouros.alarms(errors).items()}
    return found
