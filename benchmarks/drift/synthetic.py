"""The synthetic suite: which streams all contestants see."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.drift.generators import GENERATORS, GRADUAL, concept_stream, fixed
from benchmarks.drift.moves import MOVES, covariate_stream, error_stream
from benchmarks.drift.streams import Stream

#: Two of six, to end within a minute.
QUICK_GENERATORS = ("SEA", "Agrawal")


def synthetic(
    seeds: int, generators: Sequence[str] = tuple(GENERATORS), widths: Sequence[int] = (0, GRADUAL)
) -> Iterator[Stream]:
    """One stream at a time, each seed in full before the next."""
    for seed in range(seeds):
        for generator in generators:
            for width in widths:
                stream = concept_stream(generator, width, seed)
                yield stream
                yield fixed(stream)
        for rate in (0.3, 0.4):
            yield error_stream(rate, seed)
        for move in MOVES:
            yield covariate_stream(move, seed)
