"""What every implementation of the log port must do: one suite, run unchanged on each.

A check is a function of a ``Subject``; it opens fresh logs through it and raises ``AssertionError`` where the
implementation breaks the port. ``CHECKS`` are for all, ``CLOCK_CHECKS`` for those whose append time is our clock's
(elsewhere a server sets it), and ``MAINTENANCE_CHECKS`` for those that delete when told to.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from types import ModuleType
from typing import TypeAlias

import penstock.log
from penstock.log.port import Log
from penstock.testing import log_member_checks, log_record_checks
from penstock.testing.log_subject import Subject

Check: TypeAlias = Callable[[Subject], None]


def implementations() -> set[type]:
    """Every public class in ``penstock.log`` that has all methods of the port."""
    methods = {name for name, _ in inspect.getmembers(Log, inspect.isfunction) if not name.startswith("_")}
    found: set[type] = set()
    for module_info in pkgutil.iter_modules(penstock.log.__path__, "penstock.log."):
        module = importlib.import_module(module_info.name)
        for name, candidate in inspect.getmembers(module, inspect.isclass):
            here = candidate.__module__ == module.__name__ and not name.startswith("_")
            if here and candidate is not Log and methods <= set(dir(candidate)):
                found.add(candidate)
    return found


def _checks_of(module: ModuleType) -> list[Check]:
    return [check for name, check in vars(module).items() if name.startswith("check_")]


MAINTENANCE_CHECKS: tuple[Check, ...] = (
    log_record_checks.check_retention_deletes_the_oldest,
    log_record_checks.check_compaction_keeps_the_newest_of_each_key,
)
CLOCK_CHECKS: tuple[Check, ...] = (log_record_checks.check_append_time_is_the_clocks_but_never_goes_back,)
CHECKS: tuple[Check, ...] = tuple(
    check
    for check in _checks_of(log_record_checks) + _checks_of(log_member_checks)
    if check not in MAINTENANCE_CHECKS + CLOCK_CHECKS
)
