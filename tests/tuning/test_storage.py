import math
import sqlite3
from datetime import datetime

import optuna
import pytest
from optuna.trial import TrialState

from tenfold.tuning import Categorical, Float, MirrorTrial, OptunaMirror, Space, draw, storage


def trials(count, epochs=3):
    space = Space({"network": Categorical(["mlp", "lenet"]), "lr": Float(1e-4, 1e-2, log=True)})
    return [
        MirrorTrial(
            number=one.number,
            state="complete" if one.number % 2 else "pruned",
            value=0.5 + one.number / 1000,
            params=one.params,
            distributions=one.distributions,
            intermediate={epoch: one.number + epoch / 10 for epoch in range(1, epochs + 1)},
            user_attrs={"stack": 0},
            started=datetime(2025, 1, 1, 12),
            ended=datetime(2025, 1, 1, 13),
        )
        for one in draw(space, count, seed=0)
    ]


@pytest.fixture
def mirror(tmp_path):
    mirror = OptunaMirror(tmp_path / "study.db", "flowers", "maximize")
    yield mirror
    mirror.close()


def read(path, study_name="flowers"):
    database = optuna.storages.RDBStorage(f"sqlite:///{path}")
    stored = optuna.load_study(study_name=study_name, storage=database).get_trials()
    database.remove_session()
    database.engine.dispose()
    return stored


def test_optuna_reads_back_what_was_synced(mirror):
    expected = trials(4)
    assert mirror.sync(expected) is None
    for stored, trial in zip(read(mirror.path), expected, strict=True):
        assert stored.number == trial.number
        assert stored.state == (TrialState.COMPLETE if trial.state == "complete" else TrialState.PRUNED)
        assert stored.value == trial.value
        assert stored.params == trial.params
        assert stored.distributions == trial.distributions
        assert stored.intermediate_values == trial.intermediate
        assert stored.user_attrs == {"stack": 0, "trial": trial.number}
        assert (stored.datetime_start, stored.datetime_complete) == (trial.started, trial.ended)


def test_one_transaction_stores_what_optunas_own_way_stores(tmp_path, monkeypatch):
    ours = OptunaMirror(tmp_path / "ours.db", "flowers", "maximize")
    public = OptunaMirror(tmp_path / "public.db", "flowers", "maximize")
    odd = MirrorTrial(number=9, state="pruned", intermediate={1: math.inf, 2: -math.inf})
    assert ours.sync([*trials(5), odd]) is None

    def foreign(*arguments):
        raise AttributeError("the tables of another version")

    monkeypatch.setattr(storage, "add_trials_at_once", foreign)
    assert public.sync([*trials(5), odd]) is None
    for left, right in zip(read(ours.path), read(public.path), strict=True):
        left.datetime_start = right.datetime_start
        left.datetime_complete = right.datetime_complete
        assert left == right
    ours.close()
    public.close()


def test_the_installed_optuna_takes_the_fast_way(mirror, monkeypatch):
    def slow(*arguments):
        raise AssertionError("the public way was taken")

    monkeypatch.setattr(optuna.Study, "add_trials", slow)
    assert mirror.sync(trials(2)) is None


def test_syncing_again_adds_only_what_is_new(mirror):
    everything = trials(6)
    for part in (everything[3:5], everything[3:5], everything, everything):
        assert mirror.sync(part) is None
    assert [trial.user_attrs["trial"] for trial in read(mirror.path)] == [3, 4, 0, 1, 2, 5]
    assert [trial.number for trial in read(mirror.path)] == [0, 1, 2, 3, 4, 5]


def test_a_resumed_run_finds_what_the_killed_one_wrote(mirror):
    mirror.sync(trials(2))
    mirror.close()
    resumed = OptunaMirror(mirror.path, "flowers", "maximize")
    assert resumed.sync(trials(3)) is None
    resumed.close()
    assert [trial.user_attrs["trial"] for trial in read(mirror.path)] == [0, 1, 2]


def test_one_file_holds_several_studies(mirror):
    other = OptunaMirror(mirror.path, "fold 2", "minimize")
    assert mirror.sync(trials(2)) is None
    assert other.sync(trials(3)) is None
    other.close()
    assert len(read(mirror.path)) == 2
    assert [trial.number for trial in read(mirror.path, "fold 2")] == [0, 1, 2]


@pytest.mark.parametrize("value", [None, math.nan, math.inf])
def test_a_complete_trial_without_a_finite_value_is_stored_as_failed(mirror, value):
    assert mirror.sync([MirrorTrial(number=0, state="complete", value=value, intermediate={1: math.nan})]) is None
    [stored] = read(mirror.path)
    assert stored.state == TrialState.FAIL
    assert math.isnan(stored.intermediate_values[1])


def test_a_pruned_trial_without_a_value_has_its_last_epochs(mirror):
    assert mirror.sync([MirrorTrial(number=0, state="pruned", intermediate={2: 0.7, 1: 0.9})]) is None
    assert read(mirror.path)[0].value == 0.7


def test_a_locked_file_is_a_sentence_and_filled_when_free(mirror, monkeypatch):
    monkeypatch.setattr(storage, "LOCK_TIMEOUT_S", 0.05)
    mirror.sync(trials(1))
    mirror.close()
    holder = sqlite3.connect(mirror.path)
    holder.execute("BEGIN EXCLUSIVE")
    sentence = mirror.sync(trials(3))
    assert "the Optuna storage was not updated (database is locked). The run goes on" in sentence
    assert "\n" not in sentence
    holder.rollback()
    holder.close()
    assert mirror.sync(trials(3)) is None
    assert len(read(mirror.path)) == 3


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        (lambda path: path.write_bytes(b"not a database, but long enough to be read as one" * 20), "not a database"),
        (lambda path: path.mkdir(), "unable to open database file"),
    ],
)
def test_a_torn_or_unwritable_file_is_a_sentence(mirror, prepare, reason):
    prepare(mirror.path)
    assert reason in mirror.sync(trials(1))


def test_a_folder_that_is_missing_is_a_sentence(tmp_path):
    mirror = OptunaMirror(tmp_path / "gone" / "study.db", "flowers", "maximize")
    assert "unable to open database file" in mirror.sync(trials(1))


def test_a_study_of_the_other_direction_is_a_sentence(mirror):
    mirror.sync(trials(1))
    other = OptunaMirror(mirror.path, "flowers", "minimize")
    assert "its study 'flowers' has the direction maximize" in other.sync(trials(2))
    assert len(read(mirror.path)) == 1


def test_attributes_that_json_cannot_carry_are_a_sentence(mirror):
    trial = MirrorTrial(number=0, state="complete", value=1.0, user_attrs={"model": object()})
    assert "not JSON serializable" in mirror.sync([trial])


def test_a_path_with_blanks_and_signs_is_one_file(tmp_path):
    folder = tmp_path / "my runs #1 (50%)"
    folder.mkdir()
    mirror = OptunaMirror(folder / "study.db", "flowers", "maximize")
    assert mirror.sync(trials(1)) is None
    mirror.close()
    assert [path.name for path in folder.iterdir()] == ["study.db"]


def test_a_direction_or_state_without_a_name_is_refused(tmp_path):
    with pytest.raises(ValueError, match="OptunaMirror: direction must be 'maximize' or 'minimize', got 'up'"):
        OptunaMirror(tmp_path / "study.db", "flowers", "up")
    with pytest.raises(ValueError, match=r"MirrorTrial: state must be one of .*, got 'running'"):
        MirrorTrial(number=0, state="running")
