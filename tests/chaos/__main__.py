"""``python -m tests.chaos``: hurt a running system at seeded moments, then prove that nothing was lost or doubled.

A run has as many rounds as it needs; a round is a system of its own that suffers several faults. Requests, labels,
faults and when they strike come from the round's seed; what a fault meets depends on timing. Each round prints its
seed: ``--round SEED`` repeats it alone, and ``--from ROUND`` goes on where a run was broken off.

Exit codes: 0 all promises kept; 1 one was broken (its folder is kept and named).
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from typing import Any

from tests.chaos import demo_round, random_round, scenarios

FAULTS_PER_ROUND = 10
#: On the embedded log every third round is a demo: its supervisor and its producer are hurt too.
DEMO_EVERY = 3
SUMS = ("requests", "missing", "duplicates", "wrong", "double_learned")


def main() -> int:
    """Run, print one line per fault on standard error, and one JSON object on standard output."""
    arguments = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # with all processes ended
    if arguments.scenarios:
        return _scenarios(arguments)
    rows = _rows(arguments.rows)
    rounds, left, number = [], arguments.kills, arguments.first
    while left > 0:
        seed = arguments.round if arguments.round is not None else arguments.seed * 1000 + number
        rounds.append(_round(arguments.log, seed, min(left, FAULTS_PER_ROUND), rows))
        sys.stderr.write(f"chaos: round {number} (--round {seed}): {_summary(rounds[-1])}")
        left -= len(rounds[-1]["faults"])
        number += 1
        if not (rounds[-1]["faultless"] and rounds[-1]["faults"]) or arguments.round is not None:
            break
    result = {
        **{name: sum(one.get(name, 0) for one in rounds) for name in SUMS},
        "bit_identical": all(one["bit_identical"] for one in rounds),
        "kills": sum(len(one["faults"]) for one in rounds),
        "log": arguments.log,
        "seed": arguments.seed,
        "seconds": round(sum(one["seconds"] for one in rounds), 1),
        "rounds": rounds,
    }
    sys.stdout.write(json.dumps(result) + "\n" if arguments.json else _summary(result))
    return 0 if all(one["faultless"] for one in rounds) else 1


def _round(log: str, seed: int, kills: int, rows: frozenset[int]) -> dict[str, Any]:
    if log == "embedded" and not rows and seed % DEMO_EVERY == 0:
        return demo_round.play(seed, kills)
    return random_round.play(log, seed, kills, rows)


def _scenarios(arguments: argparse.Namespace) -> int:
    """Play the named scenario of each row, one after the other."""
    results = scenarios.play_all(arguments.log, arguments.seed, _rows(arguments.rows))
    for one in results:
        sys.stderr.write(f"chaos: row {one['row']}: {'kept' if one['faultless'] else one['problem']}\n")
    if arguments.json:
        sys.stdout.write(json.dumps({"log": arguments.log, "seed": arguments.seed, "scenarios": results}) + "\n")
    return 0 if all(one["faultless"] for one in results) else 1


def _rows(text: str) -> frozenset[int]:
    return frozenset(int(row) for row in text.split(",") if row)


def _summary(result: dict[str, Any]) -> str:
    kills = result.get("kills", len(result.get("faults", ())))
    named = ", ".join(f"{name} {result.get(name)}" for name in (*SUMS, "bit_identical", "seconds"))
    return f"kills {kills}, {named}{', ' + result['problem'] if result.get('problem') else ''}\n"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20, help="faults in all (default 20)")
    parser.add_argument("--seed", type=int, default=1, help="seed of requests, labels and faults (default 1)")
    parser.add_argument("--log", default="embedded", choices=("embedded", "kafka"), help="which log (default embedded)")
    parser.add_argument("--rows", default="", help="only faults of these rows of the table, such as 4,11 (default all)")
    parser.add_argument(
        "--scenarios", action="store_true", help="play each row's own scenario instead of random faults"
    )
    parser.add_argument("--round", type=int, help="repeat the one round of this seed")
    parser.add_argument("--from", type=int, default=0, dest="first", help="number of the first round (default 0)")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line of standard output")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
