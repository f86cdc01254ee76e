import json

import pytest

from penstock.cli.report_file import prepare, write
from penstock.errors import UsageError


def test_the_folder_is_made_and_the_report_written(tmp_path):
    path = tmp_path / "new" / "folder" / "report.json"
    prepare(path)
    write(path, {"events": 3, "accuracy": None})
    assert json.loads(path.read_text()) == {"events": 3, "accuracy": None}


def test_no_report_wanted_is_fine():
    prepare(None)


@pytest.mark.parametrize("where", ["a folder", "under a file"])
def test_a_place_that_takes_no_file_is_refused_before_the_run(tmp_path, where):
    (tmp_path / "file").write_text("x")
    path = tmp_path if where == "a folder" else tmp_path / "file" / "report.json"
    with pytest.raises(UsageError, match="the report cannot be written"):
        prepare(path)
