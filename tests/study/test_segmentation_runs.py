"""A segmentation from a folder to masks: fit, cross-validation, prediction, evaluation, report, kill and resume."""

import json
import signal

import numpy as np
import pytest
import torch
from PIL import Image
from scenes import make_scenes
from sklearn.metrics import accuracy_score, jaccard_score

import tenfold as package
from tenfold.core.errors import InputError
from tenfold.core.records import read_records
from tenfold.study import FitOptions, fit
from tenfold.study.material import make_task, prepare, read_source

SMALL = {"space": {"width": 4, "depth": 2, "lr": 0.02}, "batch_size": 4, "form": "stacked", "threads": 1}
LINE = ("--trials", 1, "--epochs", 3, "--batch-size", 4, "--form", "stacked", "--threads", 1, "--quiet")


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    folder = make_scenes(tmp_path_factory.mktemp("data") / "shapes", "annot", count=12, height=16, width=24)
    (folder / "classes.txt").write_text("ground\nsquare\ndisc\n")
    return folder


@pytest.fixture(scope="module")
def run(shapes, tmp_path_factory):
    return fit(shapes, trials=2, epochs=12, out=tmp_path_factory.mktemp("runs") / "run", **SMALL)


def test_the_network_is_chosen_by_the_data(run):
    assert run.info["task"] == "segmentation"
    assert run.result["best"]["network"] == "unet"
    assert (run.result["metric"], run.result["direction"]) == ("miou", "maximize")
    assert run.info["classes"] == ["ground", "square", "disc"]
    assert run.info["input"]["dense"]


def test_the_scores_are_scikit_learns_over_all_pixels_of_the_test_part(run, shapes):
    source = package.data.read(shapes)
    test = source.parts == "test"
    truth, said = source.targets[test], run.predict(shapes)[test]
    labelled = truth != 255
    expected = jaccard_score(truth[labelled], said[labelled], average="macro")
    assert run.result["test"]["value"] == pytest.approx(expected)
    assert run.result["test"]["n"] == 6
    assert run.result["test"]["low"] <= expected <= run.result["test"]["high"]
    told = run.result["metrics"]["test"]
    assert told["pixel_accuracy"]["value"] == pytest.approx(accuracy_score(truth[labelled], said[labelled]))
    each = jaccard_score(truth[labelled], said[labelled], average=None)
    assert [told[f"iou_{name}"]["value"] for name in run.info["classes"]] == pytest.approx(each.tolist())


def test_it_learns_more_than_the_baselines_know(run):
    records = list(read_records(run.path / "records.jsonl"))
    baselines = {
        record["name"]: record["test"]["miou"]["value"] for record in records if record["kind"] == "baseline"
    }
    assert set(baselines) == {"majority", "per-pixel prior"}
    assert run.result["test"]["value"] > max(baselines.values())


def test_evaluation_on_the_same_files_says_the_same(run, shapes, tmp_path):
    only = tmp_path / "only"
    for name in ("test", "testannot"):
        (only / name).mkdir(parents=True)
        for path in (shapes / name).iterdir():
            (only / name / path.name).write_bytes(path.read_bytes())
    scores = run.evaluate(only)
    assert scores["miou"]["value"] == pytest.approx(run.result["test"]["value"])
    assert set(scores) == {"miou", "pixel_accuracy", "mean_dice", "iou_ground", "iou_square", "iou_disc"}


def test_a_saved_model_gives_masks_of_the_pictures_own_size(run, tmp_path):
    large = make_scenes(tmp_path / "large", "beside", count=2, height=40, width=60)
    model = package.load(run.path)
    masks, skipped = model.predict_masks(large / "images")
    assert skipped == ()
    assert [name for name, _ in masks] == sorted(path.name for path in (large / "images").iterdir())
    assert all(mask.shape == (40, 60) and set(np.unique(mask)) <= {0, 1, 2} for _, mask in masks)
    array = np.zeros((2, 3, 16, 24), np.uint8)
    assert [mask.shape for _, mask in model.predict_masks(array)[0]] == [(16, 24)] * 2


def test_what_a_segmentation_does_not_give_is_refused(run, shapes):
    with pytest.raises(TypeError, match="predict_proba: the model gives masks, no probabilities"):
        run.predict_proba(shapes)
    with pytest.raises(InputError, match="predict_table: the model gives masks, which are no table"):
        run.model.predict_table(shapes)
    other = fit("iris", trials=1, epochs=1, out=run.path.parent / "iris", threads=1)
    with pytest.raises(TypeError, match="predict_masks: the model gives no masks"):
        other.model.predict_masks(np.zeros((1, 4)))


def test_values_that_training_did_not_have_are_named(run, tmp_path):
    odd = make_scenes(tmp_path / "odd", "beside", count=2, height=16, width=24)
    Image.new("L", (24, 16), 7).save(odd / "masks" / "train0.png")
    with pytest.raises(InputError, match="the value 7 is none of the classes 0, 1, 2 that training had"):
        run.evaluate(odd)


def test_the_report_shows_classes_and_overlays(run):
    page = (run.path / "report.html").read_text("utf-8")
    assert "Worst and best" in page
    assert page.count('class="scene"') == 6
    for name in ("ground", "square", "disc"):
        assert f"</i>{name}</span>" in page
    assert "of all pixels" in page
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_a_cross_validation_needs_nothing_special(shapes, tmp_path):
    config = {"width": 4, "depth": 2, "lr": 0.02}
    common = {"folds": 3, "epochs": 5, "batch_size": 4, "form": "stacked", "threads": 1, "config": config}
    run = package.cross_validate("unet", shapes, out=tmp_path / "cv", **common)
    assert run.result["valid"]["n"] == 3
    assert run.result["out_of_fold"]["miou"]["n"] == 18  # all but the test part, which the source has
    assert run.result["test"]["n"] == 3
    with np.load(tmp_path / "cv" / "out-of-fold.npz") as saved:
        assert saved["outputs-0"].shape == (18, 3, 3)
        assert saved["targets"].shape == (18, 16, 24)
        total = saved["outputs-0"].sum(axis=0)
    iou = total[0] / (total[1] + total[2] - total[0])
    assert run.result["out_of_fold"]["miou"]["value"] == pytest.approx(iou.mean())
    assert len(run.model.parts) == 3
    assert run.predict(shapes).shape == (24, 16, 24)
    assert "of all pixels" in (tmp_path / "cv" / "report.html").read_text("utf-8")


def test_averaged_networks_say_the_likeliest_class_of_their_mean(shapes, tmp_path):
    run = fit(shapes, trials=3, epochs=2, final="average", out=tmp_path / "run", reduction_factor=2, **SMALL)
    raw = run.model.read(shapes / "test")
    x = run.model.preprocessor.prepare_batch(run.model.preprocessor.transform(raw.inputs), False)[0]
    with torch.no_grad():
        mean = torch.stack([part.module(x).double().softmax(dim=1) for part in run.model.parts]).mean(dim=0)
    assert np.array_equal(run.model.outputs(raw), mean.argmax(dim=1).numpy())


def test_balanced_weights_come_from_the_labelled_training_pixels(shapes):
    options = FitOptions(balanced=True)
    material = prepare(read_source(shapes, options), options, torch.device("cpu"))
    weights = make_task(material, options).class_weights
    masks = material.train.targets
    counts = torch.bincount(masks[masks != 255].long(), minlength=3)
    assert weights.tolist() == pytest.approx((counts.sum() / (3 * counts)).tolist())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"network": "resnet18"}, r"--network resnet18 cannot take this data .* Networks that can: unet"),
        ({"final": "ensemble"}, "--final ensemble is not for a segmentation"),
        ({"final": "vote"}, "--final vote is for a classification, the task is segmentation"),
        ({"loss": "mse"}, "unknown segmentation loss 'mse'"),
        ({"metric": "accuracy"}, "unknown metric 'accuracy' for segmentation"),
        ({"order": ["a", "b"]}, "--order is for a classification, the task is segmentation"),
        ({"image_size": (16, 0)}, r"--image-size must be a whole number >= 1, or height and width, got \(16, 0\)"),
        ({"image_size": (8, 8)}, "cannot take|unet"),
    ],
)
def test_options_of_other_tasks_are_refused(shapes, tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        fit(shapes, out=tmp_path / "run", trials=1, epochs=1, **options)
    assert not (tmp_path / "run").exists()


def facts(folder):
    info = json.loads((folder / "run.json").read_text("utf-8"))
    result = {key: value for key, value in info["result"].items() if key not in ("seconds", "run")}
    with np.load(folder / "evaluation.npz") as arrays:
        evaluation = {name: arrays[name].tobytes() for name in arrays.files}
    return result, (folder / "records.jsonl").read_bytes(), evaluation


def test_a_killed_run_on_masks_resumes_to_the_records_of_an_undisturbed_one(shapes, tenfold, tmp_path):
    question = ("fit", shapes, "--image-size", "16x16", *LINE)
    assert tenfold(*question, "--out", "whole").code == 0
    killed = tenfold(*question, "--out", "cut", mishaps=(("checkpoint_every_epoch",), ("die_at_step", 7)))
    assert killed.code == -signal.SIGKILL
    assert tenfold(*question, "--out", "cut", "--resume").code == 0
    assert facts(tmp_path / "cut") == facts(tmp_path / "whole")


def test_the_command_line_writes_masks_and_scores(run, shapes, tenfold, tmp_path):
    finished = tenfold("predict", run.path, shapes / "test", "--json")
    assert json.loads(finished.out.splitlines()[-1])["n"] == 6
    with Image.open(tmp_path / "predictions" / "test0.png") as mask:
        assert (mask.mode, mask.size) == ("P", (24, 16))
        assert set(np.unique(np.asarray(mask))) <= {0, 1, 2}
    again = tenfold("predict", run.path, shapes / "test")
    assert again.code == 2
    assert "--out: predictions exists" in again.err
    scored = tenfold("evaluate", run.path, shapes, "--json")
    assert json.loads(scored.out)["scores"]["miou"]["n"] == 24
    wrong = tenfold("fit", shapes, "--image-size", "12by9")
    assert wrong.code == 2
    assert "--image-size must be pixels or HEIGHTxWIDTH, got '12by9'" in wrong.err
