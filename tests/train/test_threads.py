import pytest
import torch
from train_kit import CPU, Classify, specs_of, two_moons

from tenfold.train import planner, threads
from tenfold.train.threads import num_threads, quickest_plan

X, Y = two_moons()


@pytest.fixture
def two_threads():
    with num_threads(2):
        yield


def seconds_by_threads(monkeypatch, table):
    """One step of one member takes what the table says for the present number of threads."""
    asked = []

    def probe(*_):
        asked.append(torch.get_num_threads())
        return table[torch.get_num_threads()], 1000

    monkeypatch.setattr(planner, "_probe_alone", probe)
    monkeypatch.setattr(planner, "_probe_stacked", lambda *_: (1.0, None))
    return asked


def plan(**options):
    specs = specs_of([{}, {"hidden": 4}])
    return quickest_plan(specs, Classify(), lambda size: (X[:size], Y[:size]), **{"device": CPU, **options})


@pytest.mark.parametrize(
    ("table", "best"), [({2: 0.001, 1: 0.002}, 2), ({2: 0.002, 1: 0.001}, 1), ({2: 0.1, 1: 0.1}, 2)]
)
def test_the_quicker_number_of_threads_is_taken(monkeypatch, two_threads, table, best):
    asked = seconds_by_threads(monkeypatch, table)
    planned, count = plan()
    assert count == best
    assert {line.step_seconds for line in planned} == {table[best]}
    assert set(asked) == {1, 2}
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize(
    ("seconds", "best", "asked"),
    [
        ({(8, 2): 0.01, (8, 1): 0.02, (4, 2): 0.001}, 2, [(8, 2), (4, 2), (8, 1)]),
        ({(8, 2): 0.01, (8, 1): 0.005, (4, 2): 0.001, (4, 1): 0.002}, 1, [(8, 2), (4, 2), (8, 1), (8, 1), (4, 1)]),
        ({(8, 2): 0.01, (8, 1): 0.009, (4, 2): 0.001, (4, 1): 0.009}, 2, [(8, 2), (4, 2), (8, 1), (8, 1), (4, 1)]),
    ],
)
def test_one_thread_is_tried_on_others_only_where_it_pays_for_the_longest(
    monkeypatch, two_threads, seconds, best, asked
):
    tried = []

    def probe(spec, *_):
        tried.append((8 if "8" in spec.label else 4, torch.get_num_threads()))
        return seconds[tried[-1]], 1000

    monkeypatch.setattr(planner, "_probe_alone", probe)
    monkeypatch.setattr(planner, "_probe_stacked", lambda *_: (1.0, None))
    planned, count = quickest_plan(
        specs_of([{"hidden": 8}, {"hidden": 4}]), Classify(), lambda size: (X[:size], Y[:size]), device=CPU
    )
    assert (count, tried) == (best, asked)
    assert sorted(line.places for line in planned) == [(0,), (1,)]
    assert [line.step_seconds for line in planned] == [seconds[(hidden, best)] for hidden in (8, 4)]


def test_long_steps_are_not_measured_on_one_thread(monkeypatch, two_threads):
    asked = seconds_by_threads(monkeypatch, {2: 0.2, 1: 0.1})
    planned, count = plan()
    assert (count, set(asked)) == (2, {2})
    assert {line.step_seconds for line in planned} == {0.2}


@pytest.mark.parametrize(("options", "tried"), [({"threads": 2}, {2}), ({"threads": 1}, {1})])
def test_a_number_can_be_insisted_on(monkeypatch, two_threads, options, tried):
    asked = seconds_by_threads(monkeypatch, {2: 0.001, 1: 0.002})
    assert plan(**options)[1] in tried
    assert set(asked) == tried


def test_one_thread_leaves_no_choice(monkeypatch):
    with num_threads(1):
        asked = seconds_by_threads(monkeypatch, {1: 0.001})
        assert plan()[1] == 1
    assert asked == [1, 1]


def test_without_an_example_the_present_number_stays(two_threads):
    planned, count = quickest_plan(specs_of([{}, {}]), Classify(), None, device=CPU)
    assert count == 2
    assert [line.form for line in planned] == ["stacked"]


def test_the_number_comes_back_after_an_error():
    before = torch.get_num_threads()
    with pytest.raises(KeyError), threads.num_threads(before + 1):
        raise KeyError
    assert torch.get_num_threads() == before
