"""A DQN plugs in from here: members act in a corridor of their own, remember what they saw in a replay buffer each,
learn from batches of their own, and a slow copy of the network gives the targets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from train_kit import CPU, assert_alone_agrees, finish, make_cohort, member_tensors, records, specs_of

import tenfold
from tenfold.core.task import Batch, BatchProvider, Metric, Objective, SlowCopy, Task, TaskInfo
from tenfold.train import CohortData

# M members, E corridors a member, R places of a replay buffer, B transitions a batch
CELLS, CORRIDORS, REPLAY, BATCH, STEPS = 6, 8, 256, 32, 30
DISCOUNT, STEP_COST = 0.9, 0.05
RETURN = Metric(name="return", direction="maximize", function=lambda outputs, targets: outputs)


def walk(cell: Tensor, action: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """One step of any number of corridors: 0 goes left, 1 right; the right end gives 1 and is the end."""
    there = (cell + 2 * action - 1).clamp(0, CELLS - 1)
    arrived = there == CELLS - 1
    return there, arrived.double() - STEP_COST, arrived


class QNet(nn.Module):
    """Values of the two actions in each cell, and a slow copy of them."""

    def __init__(self, hidden: int = 16) -> None:
        super().__init__()
        self.online = nn.Sequential(nn.Linear(CELLS, hidden), nn.Tanh(), nn.Linear(hidden, 2))
        self.target = nn.Sequential(nn.Linear(CELLS, hidden), nn.Tanh(), nn.Linear(hidden, 2))
        self.target.load_state_dict(self.online.state_dict())
        self.target.requires_grad_(False)
        self.register_buffer("eye", torch.eye(CELLS))
        self.double()


def td_loss(model: nn.Module, batch: Batch, member: Any) -> Tensor:
    """Squared temporal difference (Mnih et al. 2015, algorithm 1)."""
    cell, action, reward, there, ended = batch[0]
    next_value = model.target(model.eye[there]).max(-1).values
    wanted = reward + member.values["discount"].double() * next_value * (~ended)
    value = model.online(model.eye[cell]).gather(-1, action[:, None])[:, 0]
    return F.smooth_l1_loss(value, wanted.detach())


def act(model: nn.Module, cell: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """Epsilon-greedy actions, and the cells where a new corridor would begin."""
    streams = tenfold.member_streams()
    explores = streams.uniform(cell.shape) < epsilon
    by_chance = (streams.uniform(cell.shape) < 0.5).long()
    begin = (streams.uniform(cell.shape) * (CELLS - 1)).long()
    return torch.where(explores, by_chance, model.online(model.eye[cell]).argmax(-1)), begin


def recall(model: nn.Module, memory: tuple[Tensor, ...], filled: int) -> tuple[Tensor, ...]:
    """A batch from one member's memory."""
    places = (tenfold.member_streams().uniform((BATCH,)) * filled).long()
    return tuple(part[places] for part in memory)


class Corridors(BatchProvider):
    """The members' corridors and memories."""

    steps_per_epoch = STEPS

    def __init__(self, stack: tenfold.Stack) -> None:
        members, device = len(stack), stack.device
        self.cell_ME = torch.zeros(members, CORRIDORS, dtype=torch.int64, device=device)
        dtypes = (torch.int64, torch.int64, torch.float64, torch.int64, torch.bool)
        self.memory = [torch.zeros(members, REPLAY, dtype=dtype, device=device) for dtype in dtypes]
        self.seen = 0

    def epoch(self, epoch: int, stack: Any) -> Iterator[Batch]:
        for _ in range(STEPS):
            with torch.no_grad():
                self._act(stack, epsilon=max(0.05, 1.0 - 0.2 * epoch))
                memory = tenfold.per_member(tuple(self.memory))
                batch = stack.each(recall, memory, min(self.seen, REPLAY))
            yield (tenfold.per_member(batch),)

    def _act(self, stack: Any, epsilon: float) -> None:
        action_ME, begin_ME = stack.each(act, tenfold.per_member(self.cell_ME), epsilon)
        there_ME, reward_ME, ended_ME = walk(self.cell_ME, action_ME)
        places = slice(self.seen % REPLAY, self.seen % REPLAY + CORRIDORS)
        for part, value in zip(self.memory, (self.cell_ME, action_ME, reward_ME, there_ME, ended_ME), strict=True):
            part[:, places] = value
        self.cell_ME = torch.where(ended_ME, begin_ME, there_ME)
        self.seen += CORRIDORS

    def keep(self, indices: Tensor) -> None:
        self.cell_ME = self.cell_ME[indices]
        self.memory = [part[indices] for part in self.memory]

    def state_dict(self) -> dict[str, Any]:
        return {"cell": self.cell_ME, "memory": list(self.memory), "seen": self.seen}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.cell_ME, self.memory, self.seen = (
            state["cell"].clone(),
            [m.clone() for m in state["memory"]],
            state["seen"],
        )


class DqnTask(Task):
    info = TaskInfo(name="dqn", metrics={"return": RETURN}, values={"discount": DISCOUNT})

    def objectives(self) -> Sequence[Objective]:
        slow = SlowCopy(source="online.", copy="target.", rate=0.1)
        return [Objective(name="td", loss=td_loss, parameters=("online.*",), slow_copy=slow)]

    def provider(self, stack: Any) -> BatchProvider:
        return Corridors(stack)

    def predict(self, model: nn.Module, batch: Batch) -> Tensor:
        """The return of the greedy policy from each cell of the batch, within 2 * CELLS steps."""
        (cell,) = batch
        total, running = torch.zeros(cell.shape, dtype=torch.float64, device=cell.device), torch.ones_like(cell) > 0
        for _ in range(2 * CELLS):
            cell, reward, ended = walk(cell, model.online(model.eye[cell]).argmax(-1))
            total = total + reward * running
            running = running & ~ended
        return total

    def evaluate(self, outputs: Sequence[Any], batches: Sequence[Batch]) -> dict[str, Tensor]:
        return {"return": torch.cat(list(outputs), dim=1).mean(1)}


def corridor_data(device: torch.device = CPU) -> CohortData:
    starts = torch.arange(CELLS - 1, device=device)
    return CohortData(training=None, validation=lambda members: [(starts,)])


BEST = 1.0 - STEP_COST * sum(range(1, CELLS)) / (CELLS - 1)  # straight to the right from every cell
CONFIGS = [{"lr": lr, "schedule": "constant", "discount": d} for lr, d in [(1e-7, 0.9), (5e-3, 0.9), (1e-2, 0.8)]]
RUNGS = [(3, 2), (6, 2)]


def cohort_of(trials: Sequence[int], folder, rungs=RUNGS, **options: Any):
    specs = [specs_of(CONFIGS, QNet, task=DqnTask())[trial] for trial in trials]
    data = corridor_data(options.get("device", CPU))
    return make_cohort(specs, DqnTask(), data, RETURN, rungs, folder, steps_per_epoch=STEPS, **options)


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    return finish(cohort_of(range(3), tmp_path_factory.mktemp("dqn")))


def test_members_learn_to_walk_to_the_end(together):
    best = {
        member.trial: score
        for lane in together.lanes
        for member, score in zip(lane.ids, lane.best_score_M.tolist(), strict=True)
    }
    assert best == pytest.approx({1: BEST, 2: BEST})


def test_the_one_that_cannot_learn_leaves_midway(together):
    middle = records(together, "rung")[0]
    assert middle["left"] == [0]
    assert middle["scores"]["0"] < 0.5 * BEST
    assert len(together.lanes[0].provider.cell_ME) == 2


@pytest.mark.parametrize("trial", range(3))
def test_alone_it_lives_the_same_life(together, trial, tmp_path):
    assert_alone_agrees(together, finish(cohort_of([trial], tmp_path, [RUNGS[-1]], form="serial")))


def test_how_the_validation_data_is_cut_changes_no_life(tmp_path):
    """A study cuts it by the number of members, which falls at rungs: acting must not draw other numbers then."""

    def cut_by(cohort):
        (starts,) = corridor_data().validation(1)[0]
        cohort.data.validation = lambda members: [(part,) for part in starts.chunk(members)]
        return cohort

    among = finish(cut_by(cohort_of(range(3), tmp_path / "among")))
    alone = finish(cut_by(cohort_of([2], tmp_path / "alone", [RUNGS[-1]], form="serial")))
    assert_alone_agrees(among, alone)


def test_the_slow_copy_follows_the_network(tmp_path):
    cohort = cohort_of(range(3), tmp_path)
    lane = cohort.lanes[0]
    for batch in lane.provider.epoch(0, lane.stack):
        before = {name: tensor.clone() for name, tensor in lane.stack.named_parameters()}
        lane.train_step(batch)
        for name, tensor in lane.stack.named_parameters():
            if name.startswith("target."):
                online = dict(lane.stack.named_parameters())[name.replace("target.", "online.")]
                torch.testing.assert_close(tensor, before[name] + 0.1 * (online - before[name]), atol=1e-12, rtol=0)
        break
    cohort.log.close()


@pytest.mark.parametrize("epoch", [1, 3, 4])
def test_a_resumed_dqn_remembers_what_it_saw(together, epoch, tmp_path):
    first = cohort_of(range(3), tmp_path)
    first.hooks.on_step = stop_after_epoch(epoch)
    with pytest.raises(KeyboardInterrupt):
        first.run()
    first.log.close()
    state = first.checkpointer.load()
    again = cohort_of(range(3), tmp_path, keep_bytes=state["log_bytes"])
    again.load_state_dict(state)
    finish(again)
    assert again.log.path.read_bytes() == together.log.path.read_bytes()
    expected = member_tensors(together)
    for member, tensors in member_tensors(again).items():
        for name, tensor in tensors.items():
            assert torch.equal(tensor, expected[member][name])


def stop_after_epoch(epoch: int):
    def stop(progress) -> None:
        if progress.epoch == epoch and progress.step == 3:
            raise KeyboardInterrupt

    return stop


def test_without_batches_of_its_own_and_without_data_it_says_so(tmp_path):
    class Homeless(DqnTask):
        def provider(self, stack: Any) -> None:
            return None

    specs = specs_of(CONFIGS, QNet, task=Homeless())
    cohort = make_cohort(specs, Homeless(), corridor_data(), RETURN, RUNGS, tmp_path, steps_per_epoch=STEPS)
    with pytest.raises(tenfold.core.errors.RunError, match="no batches of its own and no training data"):
        cohort.run()
    cohort.log.close()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_members_learn_to_walk_to_the_end(tmp_path):
    cohort = finish(cohort_of(range(3), tmp_path, device=torch.device("cuda")))
    assert cohort.best_score() == pytest.approx(BEST)
