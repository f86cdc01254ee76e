"""A process of its own for each contestant, which stays up between its turns: start-up and imports are not timed.

It is asked by one JSON line on stdin and answers by one on stdout; what a library prints goes to stderr.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any

from benchmarks.environment import ROOT

STOP_TIMEOUT_S = 20.0


class Contestant:
    """A process that calls functions of module ``module``; ``python`` is the interpreter that has its libraries."""

    def __init__(self, module: str, python: Path = Path(sys.executable)) -> None:
        self._errors = tempfile.TemporaryFile("w+b")  # noqa: SIM115 - closed in __exit__
        self._process = subprocess.Popen(
            [python, "-m", "benchmarks.contestant", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def tell(self, function: str, **arguments: Any) -> None:
        """Ask without waiting for the answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([function, arguments]) + "\n")
        self._process.stdin.flush()

    def answer(self) -> Any:
        """What the function returned. Raises ``RuntimeError`` with the process's last words where it failed."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait(STOP_TIMEOUT_S)
            self._errors.seek(0)
            raise RuntimeError(self._errors.read().decode(errors="replace")[-4000:])
        return json.loads(line)

    def ask(self, function: str, **arguments: Any) -> Any:
        """`tell`, then `answer`."""
        self.tell(function, **arguments)
        return self.answer()

    def __enter__(self) -> Contestant:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """The end of stdin stops it; a process that does not stop is killed."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(STOP_TIMEOUT_S if kind is None else 1.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()


def main() -> None:
    """The contestant's side."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    module = import_module(sys.argv[1])
    for line in sys.stdin:
        function, arguments = json.loads(line)
        answers.write(json.dumps(getattr(module, function)(**arguments)) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
