import pytest

from tenfold.core.errors import InputError
from tenfold.core.machine import check_threads, choose_device


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gpu", r"--device: there is no device 'gpu'\. Did you mean 'cuda'\?"),
        ("CUDA", r"there is no device 'CUDA'\. Did you mean 'cuda'\?"),
        ("abacus", r"there is no device 'abacus'\. Choose from 'auto', 'cpu', 'cuda', 'mps', 'xpu'\."),
        ("meta", r"--device must be auto, cpu or a device that is there, got 'meta' \(.*\)\. Leave it out"),
    ],
)
def test_a_device_that_is_not_there_is_refused_with_the_near_miss(name, message):
    with pytest.raises(InputError, match=message):
        choose_device(name)


def test_more_threads_than_cores_are_refused(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    check_threads(None)
    check_threads(4)
    with pytest.raises(InputError, match=r"--threads must be at most the 4 cores of this machine, got 5\. Leave it"):
        check_threads(5)
