"""The command ``penstock``, and ``python -m penstock``: Ctrl-C while the program still loads is no traceback either."""

from __future__ import annotations

import sys
from typing import NoReturn


def main() -> NoReturn:
    """Load the command line and run it; see `penstock.cli.main`."""
    try:
        from penstock.cli.main import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
