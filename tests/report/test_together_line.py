import pytest

from tenfold.report import RunRecords, Trial, together_line
from tenfold.report.together import together_parts

GAIN = {"metric": "accuracy", "value": 0.02, "low": 0.01, "high": 0.03, "n": 360, "model": 0.97, "single": 0.95}


def of(direction="maximize", how="ensemble", **gain):
    told = {"how": how, "networks": 5, "trials": [1, 4], "weights": {"1": 0.2, "4": 0.8}, "gain": GAIN | gain}
    return {"direction": direction, "ensemble": told}


@pytest.mark.parametrize(
    ("direction", "low", "high", "verdict"),
    [
        ("maximize", 0.01, 0.03, "a gain."),
        ("maximize", -0.01, 0.03, "so no gain is shown."),
        ("maximize", -0.03, -0.01, "a loss."),
        ("minimize", -0.03, -0.01, "a gain."),
        ("minimize", 0.01, 0.03, "a loss."),
        ("maximize", None, None, "which says nothing."),
    ],
)
def test_the_interval_decides_whether_there_is_a_gain(direction, low, high, verdict):
    assert together_line(of(direction, low=low, high=high)).endswith(verdict)


def test_the_sentence_names_networks_trials_difference_and_n():
    assert together_line(of()) == (
        "5 networks of 2 trials predict together, by a weighted mean: accuracy +2.00 points against the best of them "
        "alone (95.0 %) on the test part (95 % interval +1.00 to +3.00 points, n = 360), a gain."
    )
    assert together_line(of(how="vote")).startswith("5 networks predict together, a vote each: ")


def test_one_network_alone_has_no_sentence():
    assert together_line({"direction": "maximize"}) == ""


def test_without_a_test_part_the_gain_is_unknown():
    result = of()
    result["ensemble"]["gain"] = None
    assert together_line(result).endswith("without a test part their gain is unknown.")


def test_the_page_lists_the_weights_the_largest_first(tmp_path):
    trials = {4: Trial(number=4, network="<b>", config={})}
    page = together_parts(RunRecords(folder=tmp_path, run={"result": of()}, trials=trials))
    assert "&lt;b&gt; #4" in page
    assert page.index("80.0 %") < page.index("20.0 %")
