"""What the tests of training share: members from configurations, small data, and a cohort trained from them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tenfold.core.records import MemberId, RecordLog, read_records
from tenfold.core.seeds import generator
from tenfold.core.task import Batch, BatchProvider, Metric, Objective, Task, TaskInfo
from tenfold.train import (
    Checkpointer,
    Cohort,
    CohortData,
    Hooks,
    Judge,
    MemberSpec,
    build_lane,
    plan_stacks,
    split_config,
)
from tenfold.tuning import Rung

CPU = torch.device("cpu")


class RowBatches(BatchProvider):
    """Batches of shared rows, in an order that depends on the epoch alone; `collate` makes one from row numbers."""

    def __init__(self, num_rows: int, batch_size: int, collate: Callable[[list[int]], Batch]) -> None:
        self.num_rows, self.batch_size, self.collate = num_rows, batch_size, collate
        self.steps_per_epoch = num_rows // batch_size

    def epoch(self, epoch: int, stack: Any) -> Iterator[Batch]:
        order = generator(0, "order", epoch).permutation(self.num_rows).tolist()
        for step in range(self.steps_per_epoch):
            yield self.collate(order[step * self.batch_size : (step + 1) * self.batch_size])


class Classify(Task):
    """Two classes by cross-entropy: the plainest task, for tests that are about training."""

    info = TaskInfo(name="classify", metrics={}, values={"label_smoothing": 0.0})

    def objectives(self) -> Sequence[Objective]:
        def loss(model: nn.Module, batch: Batch, member: Any) -> Tensor:
            x, y = batch
            log_p_BK = model(x).log_softmax(-1)
            hard = -log_p_BK.gather(1, y[:, None]).mean()
            soft = -log_p_BK.mean()
            return hard.lerp(soft, member.values["label_smoothing"].to(hard.dtype))

        return [Objective(name="cross_entropy", loss=loss)]

    def predict(self, model: nn.Module, batch: Batch) -> Tensor:
        return model(batch[0])

    def evaluate(self, outputs: Sequence[Any], batches: Sequence[Batch]) -> dict[str, Tensor]:
        logits_MBK = torch.cat(list(outputs), dim=1)
        y = torch.cat([batch[1] for batch in batches])
        log_p_MB = logits_MBK.log_softmax(-1)[:, torch.arange(len(y)), y]
        accuracy_M = (logits_MBK.argmax(-1) == y).double().mean(1)
        return {"accuracy": accuracy_M, "log_loss": -log_p_MB.double().mean(1)}


ACCURACY = Metric(name="accuracy", direction="maximize", function=lambda outputs, targets: outputs)
LOG_LOSS = Metric(name="log_loss", direction="minimize", function=lambda outputs, targets: outputs)


def two_moons(num_rows: int = 96, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Points of two classes that no line separates: x of shape (N, 2) and y of shape (N,)."""
    numbers = generator(3, "sample")
    angle = torch.from_numpy(numbers.uniform(0, 3.14159, num_rows))
    y = torch.arange(num_rows) % 2
    sign = 1.0 - 2.0 * y
    x = torch.stack([torch.cos(angle) * sign + y, torch.sin(angle) * sign + 0.4 * y], dim=1)
    return (x + torch.from_numpy(numbers.normal(0, 0.1, x.shape))).to(dtype), y


def moons_data(dtype: torch.dtype = torch.float64, device: torch.device = CPU) -> CohortData:
    """Training and validation batches of the two moons."""
    x, y = (tensor.to(device) for tensor in two_moons(dtype=dtype))

    def training(batch_size: int) -> BatchProvider:
        return RowBatches(64, batch_size, lambda rows: (x[:64][rows], y[:64][rows]))

    return CohortData(training=training, validation=lambda members: [(x[64:80], y[64:80]), (x[80:], y[80:])])


def small_net(hidden: int = 8, drop_prob: float = 0.1) -> nn.Module:
    """A network with a buffer and with noise, in float64, so that a member alone agrees to 1e-9."""
    layers = [nn.Linear(2, hidden), nn.BatchNorm1d(hidden), nn.Tanh(), nn.Dropout(drop_prob), nn.Linear(hidden, 2)]
    return nn.Sequential(*layers).double()


def specs_of(
    configs: Sequence[Mapping[str, Any]],
    build: Callable[..., nn.Module] = small_net,
    *,
    task: Task | None = None,
    seeds: Sequence[int] = (0,),
) -> list[MemberSpec]:
    """One member for each configuration and seed; keys that nobody owns go to `build`."""
    values = (task or Classify()).info.values
    cut = [split_config(config, values) for config in configs]
    return [
        MemberSpec(
            id=MemberId(trial=trial, seed=seed),
            label=f"net {dict(split.network)}",
            config=split,
            build=lambda split=split: build(**split.network),  # type: ignore[misc]
        )
        for trial, split in enumerate(cut)
        for seed in seeds
    ]


def make_cohort(
    specs: Sequence[MemberSpec],
    task: Task,
    data: CohortData,
    metric: Metric,
    rungs: Sequence[tuple[int, int]],
    folder: Path,
    *,
    steps_per_epoch: int,
    form: str = "stacked",
    device: torch.device = CPU,
    hooks: Hooks | None = None,
    keep_bytes: int | None = None,
) -> Cohort:
    """A cohort as a study builds it; rungs are pairs of (epochs, trials that stay)."""
    folder.mkdir(parents=True, exist_ok=True)
    plan = plan_stacks(specs, task, None, device=device, form=form)  # type: ignore[arg-type]
    total_steps = steps_per_epoch * rungs[-1][0]
    lanes = [
        build_lane(
            [specs[place] for place in planned.places],
            task,
            form=planned.form,
            device=device,
            total_steps=total_steps,
            direction=metric.direction,
            line=planned,
        )
        for planned in plan
    ]
    return Cohort(
        lanes=lanes,
        data=data,
        metric=metric,
        judge=Judge.of_rungs([Rung(resource=resource, keep=keep) for resource, keep in rungs], metric.direction),
        log=RecordLog(folder / "records.jsonl", keep_bytes=keep_bytes),
        checkpointer=Checkpointer(folder / "checkpoint", every_s=0.0),
        hooks=hooks or Hooks(),
    )


def finish(cohort: Cohort) -> Cohort:
    """Runs a cohort to its end and closes its log."""
    try:
        cohort.run()
    finally:
        cohort.log.close()
    return cohort


def records(cohort: Cohort, kind: str = "epoch") -> list[dict[str, Any]]:
    """The cohort's records of one kind."""
    return [record for record in read_records(cohort.log.path) if record["kind"] == kind]


def member_tensors(cohort: Cohort) -> dict[MemberId, dict[str, Tensor]]:
    """Parameters and buffers of every member that is still there."""
    return {
        member: {name: tensor.clone() for name, tensor in model.state_dict().items()}
        for lane in cohort.lanes
        for member, model in zip(lane.ids, lane.stack.unstack(), strict=True)
    }


def assert_alone_agrees(together: Cohort, alone: Cohort, *, atol: float = 1e-9) -> None:
    """A member trained alone has the parameters it has among others, and every record of it says the same.

    The member may have left the others early: then its records up to there are compared.
    """
    ((member, own),) = member_tensors(alone).items()
    among = member_tensors(together).get(member)
    if among is not None:
        for name, tensor in own.items():
            torch.testing.assert_close(
                among[name], tensor, atol=atol, rtol=0, msg=lambda m, name=name: f"{name}: {m}"
            )
    mine = [record for record in records(together) if record["trial"] == member.trial]
    assert mine
    for record, expected in zip(mine, records(alone), strict=among is not None):
        assert record["epoch"] == expected["epoch"]
        for name, value in expected["valid"].items():
            assert abs(record["valid"][name] - value) <= 1e-8, (name, record, expected)
