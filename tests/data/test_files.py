from pathlib import Path

import pytest

from tenfold.core.errors import InputError
from tenfold.data.files import exists, list_folder, missing, read_bytes


def test_a_missing_file_is_answered_with_its_nearest_sibling(write):
    path = write("people.csv", "x")
    with pytest.raises(InputError, match=r"no such file or folder\. Did you mean 'people\.csv'\?"):
        read_bytes(path.with_name("peple.csv"))


def test_a_missing_folder_on_the_way_is_said(tmp_path):
    assert "and no folder" in str(missing(tmp_path / "no" / "file.csv"))


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(InputError, match="is a folder where a file was expected"):
        read_bytes(tmp_path)


@pytest.mark.parametrize(
    ("error", "message"),
    [(PermissionError(13, "x"), "permission denied"), (OSError(5, "broken disk"), "broken disk")],
)
def test_a_file_that_may_not_be_read_is_said(write, monkeypatch, error, message):
    def refuse(*args):
        raise error

    path = write("a.csv", "x")
    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(InputError, match=message):
        read_bytes(path)


def test_a_folder_that_may_not_be_listed_is_said(tmp_path, monkeypatch):
    def refuse(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(InputError, match=r"cannot be listed \(Permission denied\)"):
        list_folder(tmp_path)


def test_a_missing_folder_is_said(tmp_path):
    with pytest.raises(InputError, match="no such file or folder"):
        list_folder(tmp_path / "none")


def test_desktop_files_are_passed_over(write):
    write(".DS_Store", "x")
    write("Thumbs.db", "x")
    assert list_folder(write("a.csv", "x").parent) == [write("a.csv", "x")]


def test_text_that_is_too_long_for_a_path_is_refused():
    with pytest.raises(InputError, match="cannot be looked up"):
        exists(Path("a" * 5000))


def test_a_path_that_cannot_be_looked_up_is_said(monkeypatch):
    def refuse(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "exists", refuse)
    with pytest.raises(InputError, match=r"cannot be looked up \(Permission denied\)"):
        exists(Path("secret/a.csv"))
