import errno
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tenfold.core import machine
from tenfold.core.errors import InputError
from tenfold.data import scratch
from tenfold.data.scratch import gather, is_in_file, keep_rows, roomy, scratch_folder, whereabouts

WHAT, ADVICE = "pictures: 10 of 8x8", "Choose a smaller --image-size"


@pytest.fixture
def no_memory(monkeypatch, tmp_path) -> Path:
    monkeypatch.setenv("TENFOLD_DATA_MEMORY", "0")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def _roomy(*shape: int, dtype=np.uint8):
    return roomy(shape, dtype, WHAT, ADVICE)


def test_what_fits_is_an_ordinary_array(monkeypatch):
    monkeypatch.setenv("TENFOLD_DATA_MEMORY", "64")
    assert type(_roomy(64)) is np.ndarray
    assert is_in_file(_roomy(65))


def test_by_default_data_take_a_quarter_of_the_free_memory(monkeypatch):
    monkeypatch.delenv("TENFOLD_DATA_MEMORY", raising=False)
    monkeypatch.setattr(scratch, "available_memory_bytes", lambda: 400)
    assert not is_in_file(_roomy(100))
    assert is_in_file(_roomy(101))


def test_without_room_on_the_disk_what_just_fits_is_in_memory(monkeypatch, tmp_path):
    monkeypatch.delenv("TENFOLD_DATA_MEMORY", raising=False)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(scratch, "available_memory_bytes", lambda: 1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=10))
    assert type(_roomy(700)) is np.ndarray
    with pytest.raises(InputError, match=r"more than the 0\.0 MiB of memory that data may take"):
        _roomy(701)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.int64])
def test_an_array_in_a_file_keeps_what_is_written(no_memory, dtype):
    array = _roomy(100, 3, dtype=dtype)
    array[:] = np.arange(300).reshape(100, 3)
    rows = np.array([99, 0, 5, 5])
    np.testing.assert_array_equal(gather(array, rows), np.arange(300).reshape(100, 3)[rows].astype(dtype))
    assert not is_in_file(gather(array, rows))


def test_rows_of_several_pages_are_gathered_to_the_last(no_memory):
    expected = np.random.default_rng(0).integers(0, 256, (9, 3, 50, 70), dtype=np.uint8)
    array = _roomy(*expected.shape)
    array[:] = expected
    np.testing.assert_array_equal(gather(array, np.arange(9)[::-1]), expected[::-1])


def test_the_file_has_no_name_while_it_is_used_and_gives_its_room_back(no_memory):
    array = _roomy(1 << 20)
    assert os.listdir(no_memory) == []
    assert any("tenfold-" in link or "(deleted)" in link for link in _mapped_files())
    del array
    assert not any(str(no_memory) in link for link in _mapped_files())


def _mapped_files() -> list[str]:
    maps = Path("/proc/self/maps")
    if not maps.exists():
        pytest.skip("the system does not tell what is mapped")
    return maps.read_text().splitlines()


def test_a_map_of_the_users_own_is_no_file_of_ours(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(5000))
    own = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert not is_in_file(own)
    assert gather(own, np.array([4999, 1])).tolist() == [4999, 1]


def test_rows_that_stay_move_to_the_front(no_memory):
    array = _roomy(6, 2)
    array[:] = np.arange(12).reshape(6, 2)
    kept = keep_rows(array, np.array([0, 2, 5]))
    assert kept.tolist() == [[0, 1], [4, 5], [10, 11]]
    assert is_in_file(kept)


def test_a_sentence_says_where_the_array_lies(no_memory):
    [said] = whereabouts(_roomy(3 << 19), "pictures")
    assert said == (
        f"pictures: 1.5 MiB decoded to a file in {no_memory}, since data take at most 0.0 MiB of memory "
        "(TENFOLD_DATA_MEMORY, TMPDIR)"
    )
    assert whereabouts(np.zeros(3), "pictures") == []


def test_a_disk_without_room_is_refused_with_the_numbers(no_memory, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=1 << 30))
    message = (
        r"pictures: 10 of 8x8 need 3\.0 GiB, more than the 0\.0 MiB of memory that data may take, and 1\.0 GiB are "
        r"free in .*\. Choose a smaller --image-size, or set TMPDIR to a folder on a disk with more room\."
    )
    with pytest.raises(InputError, match=message):
        _roomy(3, 1 << 30)


def test_more_pictures_than_any_disk_holds_are_refused(no_memory):
    with pytest.raises(
        InputError,
        match=r"need 183105468\.8 GiB, more than the 0\.0 MiB of memory that data may take, and .* are free",
    ):
        _roomy(10**12, 3, 256, 256)


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="the system claims no room")
def test_a_disk_that_fills_meanwhile_is_refused(no_memory, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(InputError, match=r"and no file can be made in .* \(No space left on device\)\. Choose"):
        _roomy(10)


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="the system claims no room")
def test_a_disk_that_cannot_claim_room_is_used_all_the_same(no_memory, monkeypatch):
    def cannot(*_):
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(os, "posix_fallocate", cannot)
    assert _roomy(10).shape == (10,)


def test_a_folder_that_is_not_there_is_refused(no_memory, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(no_memory / "nowhere"))
    with pytest.raises(InputError, match=r"and no file can be made in .*nowhere \(No such file or directory\)"):
        _roomy(10)


@pytest.mark.skipif(not os.path.ismount("/dev/shm"), reason="the system has no folder in memory")
def test_a_folder_in_memory_is_refused(no_memory, monkeypatch):
    monkeypatch.setenv("TMPDIR", "/dev/shm")
    with pytest.raises(InputError, match=r"and /dev/shm lies in memory, too\. Choose a smaller"):
        _roomy(10)


def test_without_a_wish_files_lie_on_the_disk(monkeypatch):
    monkeypatch.delenv("TMPDIR", raising=False)
    assert scratch_folder() in (Path("/var/tmp"), Path(scratch.tempfile.gettempdir()))


@pytest.mark.parametrize("value", ["much", "-1", "inf", "nan"])
def test_a_limit_that_is_no_number_of_bytes_is_refused(monkeypatch, value):
    monkeypatch.setenv("TENFOLD_DATA_MEMORY", value)
    with pytest.raises(InputError, match=f"TENFOLD_DATA_MEMORY: must be a number of bytes >= 0, got '{value}'"):
        _roomy(10)


def test_pages_of_files_count_as_free_memory_of_a_container(monkeypatch, write):
    write("memory.max", "1000\n")
    write("memory.current", "900\n")
    folder = write("memory.stat", "anon 100\ninactive_file 500\nactive_file 200\n").parent
    monkeypatch.setattr(machine, "_CGROUP", folder)
    assert machine.available_memory_bytes() == 800
