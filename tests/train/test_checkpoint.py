import os
import pickle
from pathlib import Path

import pytest
import torch

from tenfold.core.errors import RunError
from tenfold.train import Checkpointer


class Code:
    """What a hostile file would run when it is read."""

    def __reduce__(self):
        return (os.mkdir, ("pwned",))


def test_what_was_saved_comes_back(tmp_path):
    state = {"epoch": 3, "rate": 0.5, "names": ["a"], "table": {0: torch.arange(3.0)}, "nothing": None}
    Checkpointer(tmp_path / "new" / "folder").save(lambda: state)
    loaded = Checkpointer(tmp_path / "new" / "folder").load()
    assert torch.equal(loaded["table"].pop(0), torch.arange(3.0))
    assert {**loaded, "table": {}} == {**state, "table": {}}


def test_there_is_nothing_to_load_at_first(tmp_path):
    assert Checkpointer(tmp_path).load() is None


def half_a_file(state, file):
    file.write(b"half")
    raise OSError("No space left on device")


def no_rename(source, target):
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("place", "crash", "error"),
    [
        ("torch.save", half_a_file, OSError),
        ("os.replace", no_rename, KeyboardInterrupt),
        ("os.fsync", no_rename, TypeError),
    ],
)
def test_a_crash_while_writing_leaves_the_old_one(tmp_path, monkeypatch, place, crash, error):
    checkpointer = Checkpointer(tmp_path)
    checkpointer.save(lambda: {"epoch": 1})
    with monkeypatch.context() as patched:
        patched.setattr(place, crash)
        with pytest.raises(error):
            checkpointer.save(lambda: {"epoch": 2})
    assert checkpointer.load() == {"epoch": 1}
    checkpointer.save(lambda: {"epoch": 3})
    assert checkpointer.load() == {"epoch": 3}
    assert [path.name for path in tmp_path.iterdir()] == ["cohort.pt"]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_torn_file_is_one_sentence(tmp_path, share):
    checkpointer = Checkpointer(tmp_path)
    checkpointer.save(lambda: {"weights": torch.randn(100, generator=torch.Generator().manual_seed(0))})
    whole = (tmp_path / "cohort.pt").read_bytes()
    (tmp_path / "cohort.pt").write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(
        RunError, match=r"checkpoint: .*cohort\.pt cannot be read .* delete it to train anew"
    ) as caught:
        checkpointer.load()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"PK\x03\x04", b"\x80\x02.", pickle.dumps({"epoch": Code()}, protocol=2)]
)
def test_something_else_under_its_name_is_refused_and_never_run(tmp_path, content, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cohort.pt").write_bytes(content)
    with pytest.raises(RunError, match="cannot be read"):
        Checkpointer(tmp_path).load()
    assert not Path("pwned").exists()


def test_code_in_a_saved_file_is_never_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"epoch": Code()}, tmp_path / "cohort.pt")
    with pytest.raises(RunError, match="cannot be read"):
        Checkpointer(tmp_path).load()
    assert not Path("pwned").exists()


@pytest.mark.parametrize(("every_s", "due"), [(0.0, True), (1e6, False)])
def test_it_is_due_after_its_seconds(tmp_path, every_s, due):
    checkpointer = Checkpointer(tmp_path, every_s=every_s)
    assert checkpointer.due() is due
    checkpointer.save(dict)
    assert checkpointer.due() is due
