import os

import pytest

from tenfold.core.writing import written_beside


def test_a_file_takes_its_place_when_it_is_whole(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with written_beside(path) as draft:
        draft.write_text("new")
        assert path.read_text() == "old"
    assert {entry.name: entry.read_text() for entry in tmp_path.iterdir()} == {"a.txt": "new"}


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_what_fails_leaves_what_was_there_and_no_draft(tmp_path, error):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail():
        with written_beside(path) as draft:
            draft.write_text("half")
            raise error

    with pytest.raises(type(error)) as raised:
        fail()
    assert {entry.name: entry.read_text() for entry in tmp_path.iterdir()} == {"a.txt": "old"}
    assert getattr(raised.value, "filename", str(path)) == str(path)


def test_a_link_stays_one(tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "near").symlink_to(tmp_path / "far" / "a.txt")
    with written_beside(tmp_path / "near") as draft:
        draft.write_text("new")
    assert (tmp_path / "near").is_symlink()
    assert (tmp_path / "far" / "a.txt").read_text() == "new"


def test_what_is_no_file_is_written_to_as_it_is(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with written_beside(tmp_path / "pipe") as draft:
        assert draft == tmp_path / "pipe"
    assert (tmp_path / "pipe").is_fifo()
