"""The chart is well-formed, says in words what it draws, and keeps marks within the picture."""

import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.cli.curves import Curve
from penstock.cli.html_chart import LEFT, PATHS, RIGHT, WIDTH, Drift, Lane, Mark, run_chart, sample, ticks

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "<script>alert('1')</script> & \"co\""


def test_the_description_says_what_is_drawn():
    lanes = [Lane("Incidents", [Mark(50, "critical", "row 50: concept drift")]), Lane("Retrainings", [])]
    text = run_chart(
        "A run", [Curve("served", [(0, 0.5), (99, 0.75)])], [Drift(40, "concept at 40")], lanes, 100, "accuracy"
    )
    root = ElementTree.fromstring(text)
    title, desc = root.find(f"{SVG}title"), root.find(f"{SVG}desc")
    assert root.get("role") == "img"
    assert root.get("aria-labelledby") == f"{title.get('id')} {desc.get('id')}"
    for said in (
        "served: accuracy ends at 0.75",
        "true drift at row 40",
        "row 50: concept drift",
        "Retrainings: nothing",
    ):
        assert said in desc.text


def test_names_are_escaped():
    lanes = [Lane(HOSTILE, [Mark(1, "warning", HOSTILE)])]
    text = run_chart(HOSTILE, [Curve(HOSTILE, [(0, 0.1)])], [Drift(1, HOSTILE)], lanes, 10, HOSTILE)
    assert "<script" not in text
    assert ElementTree.fromstring(text).find(f"{SVG}title").text == HOSTILE


@pytest.mark.parametrize("shape", [*PATHS, "drift", 0, 1, 2])
def test_samples_of_the_legend_are_well_formed(shape):
    assert ElementTree.fromstring(sample(shape)).get("aria-hidden") == "true"


numbers = st.floats(-1e6, 1e6, allow_nan=False)


@given(numbers, numbers)
def test_ticks_are_round_and_cover(low, high):
    low, high = min(low, high), max(low, high)
    found = ticks(low, high)
    assert 2 <= len(found) <= 15
    slack = 1e-6 * max(1.0, abs(low), abs(high))
    assert found[0] <= low + slack
    assert found[-1] >= high - slack
    assert found == sorted(set(found))


@given(
    st.integers(1, 10_000),
    st.lists(st.tuples(st.floats(0, 1), numbers), max_size=20),
    st.lists(st.floats(0, 1), max_size=20),
)
def test_any_run_is_drawn_within_the_picture(rows, points, marks):
    curve = Curve("c", sorted({int(share * (rows - 1)): value for share, value in points}.items()))
    at = [int(share * (rows - 1)) for share in marks]
    lanes = [Lane("l", [Mark(row, "warning", "w") for row in at])]
    text = run_chart("t", [curve], [Drift(row, "d") for row in at], lanes, rows, "u")
    root = ElementTree.fromstring(text)
    assert "nan" not in text
    assert "inf" not in text
    for path in root.iter(f"{SVG}path"):
        x = float(re.match(r"translate\(([-\d.]+),", path.get("transform"))[1])
        assert LEFT <= x <= WIDTH - RIGHT
