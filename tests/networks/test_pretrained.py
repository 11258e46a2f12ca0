import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F
from torchvision.models.vision_transformer import interpolate_embeddings

from tenfold import fit, load
from tenfold.core.errors import InputError
from tenfold.core.seeds import torch_seed
from tenfold.core.specs import InputSpec
from tenfold.networks import build_backbone, build_network, network_settings, pretrained


def image(*shape):
    return InputSpec(kind="image", shape=shape)


PHOTO, GREY = image(3, 72, 72), image(1, 72, 72)


def build(seed, num_outputs=5, spec=PHOTO, **config):
    with torch_seed(seed):
        return build_network("resnet18", spec, num_outputs, width=0.125, **config)


@pytest.fixture
def weights(tmp_path):
    torch.save(build(0).state_dict(), tmp_path / "weights.pt")
    return tmp_path / "weights.pt"


@pytest.mark.parametrize("form", ["pt", "wrapped", "parallel", "safetensors"])
def test_a_file_fills_the_whole_network(tmp_path, form):
    state = build(0).state_dict()
    path = tmp_path / f"weights.{'safetensors' if form == 'safetensors' else 'pt'}"
    if form == "safetensors":
        save_file(state, path)
    elif form == "parallel":
        torch.save({f"module.{key}": value for key, value in state.items()}, path)
    else:
        torch.save({"state_dict": state, "epoch": 3} if form == "wrapped" else state, path)
    loaded = build(1, weights=path).state_dict()
    assert all(torch.equal(loaded[key], state[key]) for key in state)


def test_other_classes_keep_the_head_they_begin_with(weights):
    state, fresh = torch.load(weights), build(1, num_outputs=3).state_dict()
    loaded = build(1, num_outputs=3, weights=str(weights)).state_dict()
    for key in loaded:
        assert torch.equal(loaded[key], fresh[key] if key.startswith("fc.") else state[key]), key


@pytest.mark.parametrize("channels", [1, 4])
def test_a_grey_image_gives_what_its_equal_colours_give(weights, channels):
    x = torch.randn(2, 1, 72, 72)
    with torch.no_grad():
        ours = build(1, spec=image(channels, 72, 72), weights=weights).eval()(x.expand(-1, channels, -1, -1))
        theirs = build(0).eval()(x.expand(-1, 3, -1, -1))
    assert torch.allclose(ours, theirs, atol=1e-5)


def test_positions_of_patches_are_interpolated_as_torchvision_does(tmp_path):
    config = {"width": 1 / 96, "patch_size": 4, "stem": "large"}
    source, target = (build_network("vit_b_16", image(3, side, side), 5, **config) for side in (16, 32))
    torch.save(source.state_dict(), tmp_path / "vit.pt")
    ours = build_network("vit_b_16", image(3, 32, 32), 5, **config, weights=tmp_path / "vit.pt")
    theirs = interpolate_embeddings(32, 4, source.state_dict())["encoder.pos_embedding"]
    assert target.encoder.pos_embedding.shape == theirs.shape
    assert torch.allclose(ours.encoder.pos_embedding, theirs, atol=1e-6)


def test_auxiliary_classifiers_are_passed_over(tmp_path):
    network = build_network("googlenet", PHOTO, 5, width=0.125)
    state = {**network.state_dict(), "aux1.conv.conv.weight": torch.zeros(2)}
    torch.save(state, tmp_path / "aux.pt")
    loaded = build_network("googlenet", PHOTO, 5, width=0.125, weights=tmp_path / "aux.pt")
    assert torch.equal(loaded.conv1.conv.weight, network.conv1.conv.weight)


def test_a_backbone_takes_them_too(weights):
    backbone = build_backbone("resnet18", PHOTO, width=0.125, weights=weights)
    assert torch.equal(backbone.stages["stem"][0].weight, torch.load(weights)["conv1.weight"])


class Malicious:
    def __reduce__(self):
        return (pytest.fail, ("code of the file was executed",))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (Malicious(), r"no weights that can be read without running its code"),
        (b"torn", r"no weights that can be read without running its code"),
        ([1, 2], "must hold a state_dict, got list. Save model.state_dict"),
        ({}, "must hold a state_dict, got dict"),
        ({"a": 1}, "must hold a state_dict, got dict"),
        ({"a": torch.zeros(2)}, "has 'a', which the network has not. Weights fit one network at one width"),
        (
            {"conv1.weight": torch.zeros(8, 3, 5, 5)},
            r"conv1.weight must have the shape \(8, 3, 7, 7\), got \(8, 3, 5, 5\)",
        ),
        ({"conv1.weight": torch.zeros(8, 3, 7, 7)}, "lacks 'bn1.weight'"),
    ],
)
def test_what_does_not_fit_is_one_sentence(tmp_path, content, message):
    path = tmp_path / "weights.pt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(InputError, match=message) as caught:
        build(0, weights=path)
    assert "\n" not in str(caught.value)


def test_small_stems_do_not_take_the_weights_of_large_ones(weights):
    with pytest.raises(InputError, match="those of large images need stem='large'"):
        build(1, spec=image(3, 32, 32), weights=weights)
    assert build(1, spec=image(3, 32, 32), weights=weights, stem="large").conv1.stride == (2, 2)


def test_weights_that_cannot_be_reached_are_one_sentence(monkeypatch):
    def unreachable(*arguments, **options):
        raise OSError("<urlopen error [Errno -2] Name or service not known>")

    monkeypatch.setattr(torch.hub, "download_url_to_file", unreachable)
    monkeypatch.setenv("TORCH_HOME", "/nonexistent-and-never-written")
    monkeypatch.setattr("os.makedirs", lambda *arguments, **options: None)
    pretrained._default_state.cache_clear()
    with pytest.raises(InputError, match=r"must be downloaded, which failed \(OSError: <urlopen.* give weights=PATH"):
        build_network("resnet18", PHOTO, 3, weights="default")


def test_only_published_weights_can_be_downloaded():
    with pytest.raises(InputError, match="lenet: weights must be a file, because nobody publishes any"):
        build_network("lenet", PHOTO, 3, weights="default")
    with pytest.raises(ValueError, match="mlp: 'weights' is not one of its settings"):
        build_network("mlp", PHOTO, 3, weights="default")
    assert "weights" in network_settings("cnn")


def test_a_run_begins_with_them_and_is_loaded_without_them(tmp_path):
    spec, path = image(1, 8, 8), tmp_path / "cnn.pt"
    torch.save(build_network("cnn", spec, 10, width=0.25).state_dict(), path)
    run = fit(
        "digits", network="cnn", space={"weights": str(path), "width": 0.25}, trials=1, epochs=1, out=tmp_path / "run"
    )
    path.unlink()
    model = load(run.path)
    assert F.softmax(torch.zeros(10), 0).shape == (10,)
    assert model.parts[0].config["weights"] == str(path)
