"""One positive in a hundred rows: probabilities stay honest, and the order of rows near that of the best member."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from scipy.stats import rankdata

from online.committee import Committee
from penstock.spec import Numeric, Pipeline

PIPELINE = Pipeline(
    name="rare",
    task="binary",
    target="y",
    classes=("no", "yes"),
    features=(Numeric("a"), Numeric("b"), Numeric("c")),
    tier="light",
)


def rows(n, seed=5):
    rng = random.Random(seed)
    for _ in range(n):
        row = {name: rng.gauss(0, 1) for name in "abc"}
        odds = -6.3 + 1.5 * row["a"] + 1.2 * abs(row["b"])
        yield row, rng.random() < 1.0 / (1.0 + math.exp(-odds))


def auc(scores, labels):
    ranks, ones = rankdata(scores), int(labels.sum())
    return (ranks[labels].sum() - ones * (ones + 1) / 2) / (ones * (len(labels) - ones))


def log_loss(scores, labels):
    return -np.where(labels, np.log(scores), np.log(1 - scores)).mean()


def test_rare_positives_are_scored_no_worse_than_by_the_best_member():
    model, scores, members, labels = Committee(PIPELINE), [], [], []
    for row, positive in rows(12_000):
        if model.learned:
            said = [output[0] for output in model._usable(model._raw_outputs(model._encoder.encode(row)))]
            scores.append(model.score_one(row))
            members.append(said)
            labels.append(positive)
        model.learn_one(row, PIPELINE.classes[positive])
    scores, labels = np.array(scores), np.array(labels)
    members = np.clip(np.array(members), 1e-6, 1 - 1e-6)
    assert 0.005 < labels.mean() < 0.02
    late = slice(2000, None)
    each = [members[late, index] for index in range(members.shape[1])]
    assert log_loss(scores[late], labels[late]) <= min(log_loss(one, labels[late]) for one in each) * 1.01
    assert auc(scores[late], labels[late]) >= max(auc(one, labels[late]) for one in each) - 0.015
    assert scores[late].mean() == pytest.approx(labels[late].mean(), rel=0.2)
