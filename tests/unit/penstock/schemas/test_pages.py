"""The reference pages name everything that they are about."""

from __future__ import annotations

from prometheus_client import generate_latest

from penstock.schemas.pages import metrics_page, settings_page, topology_diagram, topology_page
from penstock.settings import Settings
from penstock.telemetry import HELP, Telemetry
from penstock.topology import STAGES, TOPICS


def rows(page: str) -> dict[str, list[str]]:
    """First cell (without quotes) → the other cells, of every table row of a page."""
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in page.splitlines() if line[:2] == "| "]
    return {row[0].strip("`"): row[1:] for row in cells}


def test_every_setting_has_a_row_with_a_meaning() -> None:
    table = rows(settings_page())
    for name in Settings.model_fields:
        assert table[f"PENSTOCK_{name.upper()}"][2].endswith(".")


def test_defaults_and_secrets_are_shown_as_such() -> None:
    table = rows(settings_page())
    assert table["PENSTOCK_PORT"][:2] == ["whole number", "`8000`"]
    assert table["PENSTOCK_SIGNING_KEY"][:2] == ["secret", "none"]


def test_metric_names_are_those_that_prometheus_sees() -> None:
    exposed = generate_latest(Telemetry().registry).decode()
    families = {line.split()[2] for line in exposed.splitlines() if line.startswith("# TYPE")}
    table = rows(metrics_page())
    listed = {name for name in table if name.startswith("penstock_")}
    assert listed == families
    assert len(listed) == len(HELP)


def test_the_picture_has_every_stage_topic_and_arrow() -> None:
    diagram = topology_diagram()
    assert diagram.count("-->") == sum(len(stage.reads) + len(stage.writes) for stage in STAGES.values())
    assert diagram.count("-.->") == sum(len(stage.tails) for stage in STAGES.values())
    for name in (*STAGES, *TOPICS):
        assert f'"{name}"' in diagram


def test_the_page_has_a_row_per_stage_and_topic() -> None:
    table = rows(topology_page())
    assert set(STAGES) | set(TOPICS) <= set(table)
