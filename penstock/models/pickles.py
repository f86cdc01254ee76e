"""Pickles of models and stage state, loaded without running anything that was not expected.

River's state has no other form than pickle, and an unrestricted pickle is code. Here only listed classes and
functions can be named: classes that are defined in the packages of `PACKAGES`, and the exact names of `NAMES`.
Everything else is refused before it is touched. Signatures guard the bytes before this does; both must hold.
"""

from __future__ import annotations

import copyreg
import gc
import io
import pickle
import sys
import threading
from types import MappingProxyType
from typing import Any

from penstock.errors import ArtifactError

PROTOCOL = 5

#: Classes (never functions, never modules) defined in these packages may be named.
PACKAGES = (
    "online",
    "penstock.events",
    "penstock.spec",
    "river._river_rust",
    "river.base",
    "river.drift",
    "river.ensemble",
    "river.forest",
    "river.linear_model",
    "river.metrics",
    "river.optim",
    "river.preprocessing",
    "river.proba",
    "river.stats",
    "river.tree",
    "river.utils",
)

#: Exact names besides: containers, numbers, seeded generators, and what arrays and Structs are rebuilt with.
NAMES: MappingProxyType[str, frozenset[str]] = MappingProxyType(
    {
        "builtins": frozenset(
            (
                "bool",
                "bytearray",
                "bytes",
                "complex",
                "dict",
                "float",
                "frozenset",
                "int",
                "list",
                "set",
                "str",
                "tuple",
            )
        ),
        "collections": frozenset(("Counter", "OrderedDict", "defaultdict", "deque")),
        "functools": frozenset(("partial",)),
        "msgspec._utils": frozenset(("rebuild",)),
        "numpy": frozenset(("dtype", "ndarray")),
        "numpy._core.multiarray": frozenset(("_reconstruct", "scalar")),
        "numpy._core.numeric": frozenset(("_frombuffer",)),
        "numpy.core.multiarray": frozenset(("_reconstruct", "scalar")),
        "random": frozenset(("Random",)),
        "statistics": frozenset(("NormalDist",)),
    }
)

#: Bound methods that River keeps in its state; pickle names them by ``getattr``, which is allowed for these alone.
METHODS = frozenset(("_leveraging_bag", "_test_increase", "_update_estimator_univariate"))

#: River's distributions, each with a generator that only ``sample`` uses, seeded by the system: left out, equal models
#: have equal bytes, and 2.5 kB less for each (class, feature) of each leaf.
_DISTRIBUTIONS = (("river.proba.gaussian", "Gaussian"), ("river.proba.multinomial", "Multinomial"))

#: Deep trees: pickling recurses several times per level. A thread with this stack holds this many calls.
_DEEP_LIMIT = 60_000
_DEEP_STACK_BYTES = 256 * 1024 * 1024
#: Both settings belong to the whole process, so only one thread at a time changes and restores them.
_deep_lock = threading.Lock()


def dumps(value: object) -> bytes:
    """The pickle of ``value``.

    Deep structures (trees of thousands of levels) go through a thread with a large stack and a raised recursion limit;
    others pay nothing for it.

    Raises:
        RecursionError: deeper than even that.
    """
    try:
        return _dumps(value)
    except RecursionError:
        return _dumps_deep(value)


def _dumps(value: object) -> bytes:
    buffer = io.BytesIO()
    pickler = pickle.Pickler(buffer, PROTOCOL)
    loaded = [getattr(sys.modules[module], name) for module, name in _DISTRIBUTIONS if module in sys.modules]
    pickler.dispatch_table = copyreg.dispatch_table | dict.fromkeys(loaded, _without_generator)
    pickler.dump(value)
    return buffer.getvalue()


def _without_generator(distribution: Any) -> tuple[Any, ...]:
    kept = {name: value for name, value in vars(distribution).items() if name != "_rng"}
    return copyreg.__newobj__, (type(distribution),), kept  # type: ignore[attr-defined]  # typeshed leaves it out


def _dumps_deep(value: object) -> bytes:
    result: list[bytes] = []
    failure: list[Exception] = []

    def work() -> None:
        try:
            result.append(_dumps(value))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is raised in the caller's thread
            failure.append(error)

    with _deep_lock:
        limit = sys.getrecursionlimit()
        stack = threading.stack_size(_DEEP_STACK_BYTES)
        sys.setrecursionlimit(max(limit, _DEEP_LIMIT))
        try:
            thread = threading.Thread(target=work, name="deep-pickle")
            thread.start()
            thread.join()
        finally:
            sys.setrecursionlimit(limit)
            threading.stack_size(stack)
    if failure:
        raise failure[0]
    return result[0]


def loads(data: bytes) -> Any:
    """What `dumps` was given.

    Raises:
        ArtifactError: the bytes are broken, or name something that is not allowed (the text says what).
    """
    collecting = gc.isenabled()
    # A forest is a hundred thousand new objects and no garbage: collecting in between took nine tenths of the time.
    gc.disable()
    try:
        return _Restricted(io.BytesIO(data)).load()
    except ArtifactError:
        raise
    except Exception as error:  # broken pickles raise nearly anything; all of it means the same
        raise ArtifactError(f"not a readable pickle: {type(error).__name__}: {error}") from error
    finally:
        if collecting:
            gc.enable()


class _Restricted(pickle.Unpickler):
    def find_class(self, module: str, name: str, /) -> Any:
        """Called for every global that a pickle names."""
        if (module, name) == ("builtins", "getattr"):
            return _method
        if name in NAMES.get(module, ()):
            return super().find_class(module, name)
        # A dotted name would walk through attributes, for example of an imported module.
        if "." not in name and _within(module):
            found = super().find_class(module, name)
            if isinstance(found, type) and _within(found.__module__):
                return found
        raise ArtifactError(f"refused to load {module}.{name}: it is not among what models are made of")


def _method(owner: object, name: str) -> Any:
    """``getattr`` for the listed methods of listed classes."""
    if name not in METHODS or not _within(type(owner).__module__):
        raise ArtifactError(f"refused to load {type(owner).__name__}.{name}: it is not among what models are made of")
    return getattr(owner, name)


def _within(module: str) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in PACKAGES)
