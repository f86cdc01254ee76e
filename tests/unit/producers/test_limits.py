"""What people mistype, and what tables hold at their extremes."""

import pytest

from penstock.errors import UsageError
from penstock.spec import Rows
from producers.labels import parse_delay
from producers.table import open_table
from producers.values import epoch_format, time_parser


@pytest.mark.parametrize("text", ["1.5", "1e400", "99999999999", "99999999999d"])
def test_a_delay_that_nobody_means_is_refused(text):
    with pytest.raises(UsageError, match="label delay"):
        parse_delay(text)


def test_whole_rows_may_be_written_with_a_point():
    assert parse_delay("500.0") == Rows(500)


@pytest.mark.parametrize(
    ("text", "name"),
    [("1700000000", "epoch_s"), ("1700000000000", "epoch_ms"), ("1700000000000000", "epoch_us"), ("17e17", "epoch_ns")],
)
def test_the_size_of_a_bare_number_tells_its_unit(text, name):
    assert epoch_format(float(text)) == name
    assert time_parser(None)(text) == 1_700_000_000_000
    assert time_parser(name)(text) == 1_700_000_000_000


def test_a_column_of_documents_and_lines_of_white_space(tmp_path):
    path = tmp_path / "documents.csv"
    path.write_text("text,y\n" + '"' + "long " * 100_000 + '",1\n   \n\nshort,0\n')
    assert [row[1] for row in open_table(path).rows()] == ["1", "0"]
