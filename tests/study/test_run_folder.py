"""The run folder: made, numbered, locked, replaced or refused."""

from __future__ import annotations

import json
import os

import pytest

from tenfold.core.errors import InputError, RunError
from tenfold.study.run_folder import RunFolder, read_info, refuse_place, source_commit


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def make_run(out, name="iris", overwrite=False):
    folder = RunFolder.create(out, name, overwrite=overwrite)
    folder.update(status="running")
    folder.close()
    return folder


def test_runs_are_numbered_from_one_and_gaps_are_not_waited_for(here):
    (here / "runs" / "iris-2").mkdir(parents=True)
    assert [make_run(None).path.as_posix() for _ in range(3)] == ["runs/iris-1", "runs/iris-3", "runs/iris-4"]


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("a b/c", "a-b-c-1"),
        ("花", "花-1"),
        ("..", "run-1"),
        ("", "run-1"),
        ("my.data_2", "my.data_2-1"),
        ("-x", "x-1"),
    ],
)
def test_names_of_sources_become_names_of_folders(here, name, folder):
    assert make_run(None, name).path.name == folder
    assert [entry.name for entry in here.iterdir()] == ["runs"]


def test_folders_above_are_made(here):
    assert make_run(here / "a" / "b" / "run").path.is_dir()


@pytest.mark.parametrize("content", ["run", "folder", "file", "nothing"])
def test_what_exists_is_refused(here, content):
    out = here / "out"
    if content == "run":
        make_run(out)
    elif content == "file":
        out.touch()
    else:
        out.mkdir()
        if content == "folder":
            (out / "thesis.tex").touch()
    with pytest.raises(RunError, match=r"--out: .*out exists. Add --resume to go on with it or --overwrite"):
        make_run(out)


@pytest.mark.parametrize("content", ["run", "nothing", "remains"])
def test_runs_empty_folders_and_remains_of_a_killed_beginning_are_overwritten(here, content):
    out = here / "out"
    out.mkdir()
    if content == "run":
        (out / "run.json").write_text('{"schema": 1, "old": true}')
        (out / "best").mkdir()
    if content == "remains":
        (out / ".lock").touch()
        (out / "run.json.writing").touch()
    make_run(out, overwrite=True)
    assert read_info(out) == {"schema": 1, "status": "running"}
    assert not (out / "best").exists()


@pytest.mark.parametrize("content", ["folder", "file"])
def test_what_is_no_run_is_never_overwritten(here, content):
    out = here / "out"
    if content == "file":
        out.write_text("thesis")
    else:
        out.mkdir()
        (out / "thesis.tex").write_text("thesis")
    with pytest.raises(RunError, match=r"--overwrite: .*out holds something that is not a run"):
        make_run(out, overwrite=True)
    assert (out if content == "file" else out / "thesis.tex").read_text() == "thesis"


def test_a_place_below_a_file_is_refused(here):
    (here / "file").touch()
    with pytest.raises(InputError, match=r"--out: .*run cannot be made \(.*file is a file\)"):
        refuse_place(here / "file" / "run", overwrite=False)


def test_a_place_without_rights_is_refused(here, monkeypatch):
    monkeypatch.setattr("tempfile.mkdtemp", _refuse)
    with pytest.raises(InputError, match=r"may not be written to"):
        refuse_place(here / "run", overwrite=False)
    with pytest.raises(InputError, match=r"--out: runs cannot be made"):
        refuse_place(None, overwrite=False)


def test_a_place_that_takes_no_folder_is_refused_though_rights_would_do(here, monkeypatch):
    with pytest.raises(InputError, match=r"--out: /proc/run cannot be made \(/proc takes no folder: .*\)\. Choose"):
        refuse_place("/proc/run", overwrite=False)
    refuse_place(here / "deep" / "run", overwrite=False)
    assert list(here.iterdir()) == []


def test_a_folder_that_cannot_be_made_after_all_is_refused(here, monkeypatch):
    monkeypatch.setattr("pathlib.Path.mkdir", _refuse)
    with pytest.raises(InputError, match=r"--out: .*run cannot be made \(Permission denied\). Choose another place"):
        make_run(here / "run")


def _refuse(*args, **kwargs):
    raise PermissionError(13, "Permission denied")


def test_one_process_writes_and_another_is_refused_until_it_is_done(here):
    first = RunFolder.create(here / "run", "iris", overwrite=False)
    first.update(status="running")
    for open_again in (
        lambda: RunFolder.open(here / "run"),
        lambda: RunFolder.create(here / "run", "iris", overwrite=True),
    ):
        with pytest.raises(RunError, match=r"another process is writing to this run"):
            open_again()
    first.close()
    RunFolder.open(here / "run").close()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"there is no run \(run.json is missing\)"),
        ('{"schema": 1', r"run.json: cannot be read"),
        ('{"schema": 99}', r"has schema 99, this version reads 1"),
        ("[]", r"has schema None"),
        ("3", r"run.json: cannot be read"),
    ],
)
def test_what_cannot_be_read_is_refused(here, content, message):
    (here / "run").mkdir()
    if content is not None:
        (here / "run" / "run.json").write_text(content)
    with pytest.raises(RunError, match=message):
        RunFolder.open(here / "run")


def test_a_resume_needs_a_name():
    with pytest.raises(RunError, match=r"--resume: which run\? Name its folder"):
        RunFolder.open(None)


def test_a_torn_update_leaves_the_old_information(here, monkeypatch):
    folder = RunFolder.create(here / "run", "iris", overwrite=False)
    folder.update(status="running")
    monkeypatch.setattr(os, "replace", _refuse)
    with pytest.raises(PermissionError):
        folder.update(status="done")
    folder.close()
    assert read_info(here / "run")["status"] == "running"


def test_a_run_that_could_not_begin_is_taken_away(here):
    folder = RunFolder.create(here / "run", "iris", overwrite=False)
    folder.remove()
    assert list(here.iterdir()) == []


def test_information_is_utf8_that_people_can_read(here):
    folder = RunFolder.create(here / "run", "iris", overwrite=False)
    folder.update(classes=["玫瑰"])
    folder.close()
    assert "玫瑰" in (here / "run" / "run.json").read_text(encoding="utf-8")
    assert json.loads((here / "run" / "run.json").read_bytes())["classes"] == ["玫瑰"]


def test_the_commit_is_none_outside_a_repository(here):
    assert source_commit() is None
