"""What runs say alike."""

from dataclasses import dataclass
from pathlib import Path

from tenfold.data import read
from tenfold.study.describing import describe_source, plan_sentences


@dataclass(frozen=True)
class Line:
    """What a planned stack says."""

    places: tuple[int, ...]
    label: str = "mlp"
    form: str = "serial"
    reason: str = "one member of this structure"


def test_choices_that_are_alike_are_said_once():
    plan = [Line((0,)), Line((1, 2), form="stacked", reason="quicker"), Line((3,)), Line((4, 5))]
    assert plan_sentences(plan) == [
        "4 x mlp, serial: one member of this structure (--form)",
        "2 x mlp, stacked: quicker (--form)",
    ]


def test_a_file_is_kept_with_its_whole_path_and_a_name_as_it_is(tmp_path, monkeypatch):
    (tmp_path / "my table.csv").write_text("a,b\n" + "1,x\n2,y\n" * 8)
    monkeypatch.chdir(tmp_path)
    described = describe_source(read("my table.csv"), "my table.csv")
    assert (described["argument"], Path(described["path"])) == ("my table.csv", tmp_path / "my table.csv")
    assert describe_source(read("iris"), "iris")["path"] is None
