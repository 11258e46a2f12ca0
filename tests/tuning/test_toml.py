import pytest

from tenfold.core.errors import InputError
from tenfold.tuning import Categorical, Constant, Float, Int, Space
from tenfold.tuning import toml as schema

FULL = """
constraints = ["hidden * depth <= 512"]
optimizer = ["adamw", "sgd"]
batch_size = 64
norm = ["batch", { none = true }]

[hidden]
low = 64
high = 512
log = true
reason = "few structures"

[lr]
low = 1e-4
high = 1
log = true

[momentum]
low = 0.8
high = 0.99
when = { optimizer = "sgd" }

[dropout]
type = "float"
low = 0
high = 1
step = 0.25

[[depth]]
low = 2
high = 3
when = { optimizer = ["adamw"] }

[[depth]]
choices = [4, 8]
when = { optimizer = "sgd" }

[lr_groups]
value = { "backbone.*" = 0.1 }
"""


def written(folder, text):
    path = folder / "space.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_says_everything_that_python_can(tmp_path):
    space = Space.from_toml(written(tmp_path, FULL))
    depth = (Int(2, 3, when={"optimizer": "adamw"}), Categorical([4, 8], when={"optimizer": "sgd"}))
    expected = Space(
        {
            "optimizer": Categorical(["adamw", "sgd"]),
            "batch_size": 64,
            "norm": Categorical(["batch", None]),
            "hidden": Int(64, 512, log=True, reason="few structures"),
            "lr": Float(1e-4, 1, log=True),
            "momentum": Float(0.8, 0.99, when={"optimizer": "sgd"}),
            "dropout": Float(0, 1, step=0.25),
            "depth": depth,
            "lr_groups": Constant({"backbone.*": 0.1}),
        },
        constraints=["hidden * depth <= 512"],
    )
    assert space.parameters == expected.parameters
    assert space.constraints == expected.constraints


def test_the_documented_example_is_read(tmp_path):
    example = "\n".join(line[4:] for line in schema.__doc__.splitlines() if line.startswith("    "))
    example = 'network = ["mlp", "resnet"]\nhidden = 64\n' + example  # what its conditions speak of
    space = Space.from_toml(written(tmp_path, example))
    assert {"optimizer", "batch_size", "lr", "momentum", "depth"} <= set(space.parameters)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lr = ", r"space.toml: must be TOML, got a mistake: Invalid value"),
        ("", r"space.toml: must have at least one parameter, got none"),
        ("[lr]\nlow = 1", r"space.toml: lr must have high as int, got low. Add it"),
        ("[lr]", r"space.toml: lr must have low and high, choices, or value, got the keys none at all"),
        ("[lr]\nlow = 1\nhigh = 2\nlogg = true", r"space.toml: lr has no key 'logg' as int. Did you mean 'log'"),
        (
            "[lr]\ntype = 'flaot'\nlow = 1\nhigh = 2",
            r"space.toml: lr must have .* got type = 'flaot'. Did you mean 'float'",
        ),
        (
            "[lr]\nlow = 2.0\nhigh = 1.0",
            r"space.toml: lr: Float: low must be finite and at most high, got 2.0 and 1.0",
        ),
        ("[lr]\nlow = 'a'\nhigh = 1", r"space.toml: lr: Float: low must be a number, got 'a'"),
        ("[lr]\nlow = nan\nhigh = 1.0", r"space.toml: lr: Float: low must be finite"),
        ("[lr]\nlow = true\nhigh = 1.0", r"space.toml: lr: Float: low must be a number, got True"),
        ("lr = []", r"space.toml: lr: Categorical: choices must hold at least one value"),
        (
            "lr = [[1, 2]]",
            r"space.toml: lr: Categorical: choices must be None, bool, int, float or str, got \[1, 2\]",
        ),
        ("[lr]\nlow = 1\nhigh = 2\nwhen = 'sgd'", r"space.toml: lr: when must be a table, got 'sgd'"),
        ("[lr]\nlow = 1\nhigh = 2\nwhen = {o = 'sgd'}", r"space.toml: Space: 'lr' may depend on earlier names only"),
        ("[[lr]]\nlow = 1\nhigh = 2\n[[lr]]\nvalue = 3", r"space.toml: Space: the alternatives of 'lr' must exclude"),
        ("constraints = 'a < b'\na = 1", r"space.toml: constraints must be a list of expressions, got 'a < b'"),
        ("constraints = ['a <']\na = 1", r"space.toml: constraint 'a <': must be an expression"),
        ("a = [" * 2000, r"space.toml: must be TOML, got a mistake"),
    ],
)
def test_a_mistake_names_the_file_the_key_and_what_was_expected(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        Space.from_toml(written(tmp_path, text))


def test_a_file_that_is_not_there_or_not_text_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match=r"none.toml: cannot be read \(No such file or directory\)"):
        Space.from_toml(tmp_path / "none.toml")
    with pytest.raises(InputError, match=r"cannot be read \(Is a directory\)"):
        Space.from_toml(tmp_path)
    (tmp_path / "gb.toml").write_bytes("名 = 1".encode("gb18030"))
    with pytest.raises(InputError, match=r"gb.toml: must be UTF-8 text, got byte 0 otherwise"):
        Space.from_toml(tmp_path / "gb.toml")


def test_a_byte_order_mark_and_windows_lines_are_borne(tmp_path):
    path = tmp_path / "space.toml"
    path.write_bytes(b"\xef\xbb\xbf" + b"depth = [1, 2]\r\nwidth = 3\r\n")
    assert set(Space.from_toml(path).parameters) == {"depth", "width"}
