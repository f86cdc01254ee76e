from __future__ import annotations

import contextlib
import functools
import gc
import os
import pickle
import pickletools
import random
import re
import sys
import threading
from collections import Counter, OrderedDict, defaultdict, deque
from pathlib import Path

import numpy as np
import pytest
from river import drift, linear_model, tree

from penstock.errors import ArtifactError
from penstock.events import ScoreBlock
from penstock.models import pickles
from penstock.spec import Categorical, Numeric, Pipeline


@pytest.mark.parametrize(
    "value",
    [
        None,
        {"a": [1, 2.5, "x", b"y", True, (1, 2), {3}, frozenset((4,))]},
        deque([1, 2], maxlen=2),
        defaultdict(int, a=1),
        Counter("aab"),
        OrderedDict(a=1),
        ScoreBlock(n=3, log_loss=0.5),
        Pipeline(
            name="p", task="binary", target="y", classes=("a", "b"), features=(Numeric("x", 0.0, 1.0), Categorical("c"))
        ),
        1 + 2j,
        bytearray(b"z"),
    ],
)
def test_what_models_are_made_of_comes_back(value):
    assert pickles.loads(pickles.dumps(value)) == value


def test_arrays_and_generators_come_back():
    array = np.arange(12, dtype=np.float64).reshape(3, 4).T
    assert np.array_equal(pickles.loads(pickles.dumps(array)), array)
    assert pickles.loads(pickles.dumps(np.float64(1.5))) == 1.5
    generator = random.Random(4)
    assert pickles.loads(pickles.dumps(generator)).random() == generator.random()


@pytest.mark.parametrize(
    "model",
    [
        linear_model.LogisticRegression(),
        drift.ADWIN(),
        tree.HoeffdingAdaptiveTreeClassifier(seed=1),
        tree.HoeffdingAdaptiveTreeRegressor(seed=1, splitter=tree.splitter.QOSplitter(), leaf_prediction="mean"),
    ],
    ids=lambda model: type(model).__name__,
)
def test_river_models_come_back(model):
    for i in range(300):
        if hasattr(model, "learn_one"):
            model.learn_one({"a": float(i % 7), "b": i / 300}, i % 2)
        else:
            model.update(i % 2)
    copy = pickles.loads(pickles.dumps(model))
    assert pickle.dumps(copy) == pickle.dumps(model) or vars(copy).keys() == vars(model).keys()
    if hasattr(model, "learn_one"):
        assert copy.predict_one({"a": 3.0, "b": 0.5}) == model.predict_one({"a": 3.0, "b": 0.5})


class Runs:
    """Pickles as a call of ``function``."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    ("payload", "name"),
    [
        (Runs(os.system, "true"), f"{os.system.__module__}.system"),
        (Runs(eval, "1"), "builtins.eval"),
        (Runs(exec, "1"), "builtins.exec"),
        (Runs(open, "x"), "open"),
        (Runs(__import__, "os"), "builtins.__import__"),
        (Runs(sys.exit), "sys.exit"),
        (Runs(functools.partial(os.system, "true")), "system"),
        (threading.Thread, "threading.Thread"),
        (np.load, "load"),
    ],
)
def test_anything_else_is_refused_by_name_and_not_run(payload, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ArtifactError, match="refused to load .*" + name.replace(".", r"\.")):
        pickles.loads(pickle.dumps(payload, 5))
    assert list(tmp_path.iterdir()) == []


def named(module, name):
    """A pickle that names a global and returns it."""
    return (
        pickle.PROTO + b"\x04"
        + b"".join(pickle.SHORT_BINUNICODE + bytes([len(text)]) + text.encode() for text in (module, name))
        + pickle.STACK_GLOBAL + pickle.STOP
    )  # fmt: skip


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("river.base.base", "inspect"),  # a module that an allowed module imported
        ("river.stats.base", "base.inspect.os.system"),  # a walk through attributes
        ("online.encoding", "crc32"),  # a function
        ("online.encoding", "datetime"),  # a class from elsewhere
        ("online.encoding", "Encoder.__init__"),
        ("penstock.models.pickles", "loads"),
        ("river.datasets.base", "FileDataset"),
        ("riverbank", "Anything"),
        ("builtins", "type"),
        ("builtins", "vars"),
    ],
)
def test_names_that_only_look_right_are_refused(module, name):
    data = named(module, name)
    assert [op.name for op, _, _ in pickletools.genops(data)][-2:] == ["STACK_GLOBAL", "STOP"]
    with pytest.raises(ArtifactError):
        pickles.loads(data)


class Method:
    def __init__(self, owner, name):
        self.call = (getattr, (owner, name))

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    ("owner", "name"),
    [("text", "_update_estimator_univariate"), (drift.ADWIN(), "__class__"), (drift.ADWIN(), "update"), ({}, "get")],
)
def test_getattr_reaches_listed_methods_of_river_only(owner, name):
    with pytest.raises(ArtifactError, match="refused"):
        pickles.loads(pickle.dumps(Method(owner, name), 5))


@pytest.mark.parametrize("data", [b"", b"not a pickle", pickle.dumps([1, 2, 3])[:-3], named("online.none", "X")])
def test_broken_bytes_are_one_clear_error(data):
    with pytest.raises(ArtifactError):
        pickles.loads(data)


@pytest.mark.parametrize("data", [pickle.dumps(1), b"broken"])
def test_the_garbage_collector_is_as_it_was(data):
    for enabled in (True, False):
        (gc.enable if enabled else gc.disable)()
        try:
            with contextlib.suppress(ArtifactError):
                pickles.loads(data)
            assert gc.isenabled() is enabled
        finally:
            gc.enable()


def test_deep_trees_are_pickled_and_the_limit_is_as_before():
    limit, stack = sys.getrecursionlimit(), threading.stack_size()
    deep: list = []
    for _ in range(9000):
        deep = [deep]
    with pytest.raises(RecursionError):
        pickle.dumps(deep)
    copy = pickles.loads(pickles.dumps(deep))
    depth = 0
    while copy:
        copy, depth = copy[0], depth + 1
    assert depth == 9000
    assert (sys.getrecursionlimit(), threading.stack_size()) == (limit, stack)


def test_endless_depth_is_a_recursion_error():
    deep: list = []
    for _ in range(200_000):
        deep = [deep]
    with pytest.raises(RecursionError):
        pickles.dumps(deep)
    while deep:  # freed step by step: the interpreter would recurse, too
        deep = deep[0]


def test_nothing_else_unpickles():
    """Bytes become objects in three places only: behind a list of names, behind skops, and on a cluster's workers."""
    root = Path(__file__).parents[4]
    modules = "pickle|cloudpickle|joblib|dill|shelve|marshal|torch"
    loading = re.compile(rf"\b(?:{modules})\.(?:loads?|Unpickler|open)\b|skops\.io\.loads?\b")
    packages = ("penstock", "online", "retraining", "serving", "consumers", "producers")
    found = {
        str(path.relative_to(root))
        for package in packages
        for path in (root / package).rglob("*.py")
        if loading.search(path.read_text(encoding="utf-8"))
    }
    assert found == {"penstock/models/pickles.py", "online/batch.py", "retraining/cluster.py"}
