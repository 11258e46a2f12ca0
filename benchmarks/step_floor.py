"""What a stacked step of 64 MLPs costs in tenfold, and what it could cost: the same step written by hand.

Each side trains 64 MLPs (64-128-128-10, batch 32) with AdamW, a learning rate and a decay a member, on data that lie
in memory. The bare loop is one model with torch's fused AdamW, times 64. "by hand" is three `baddbmm` and no `vmap`,
with tenfold's AdamW; "by hand, compiled" has loss and update under `torch.compile`, which needs a C++ compiler. Each
side alternates with the bare loop, both with torch's default threads; medians of n rounds of 20 steps.

    python benchmarks/step_floor.py     # about a minute on two cores

Results with device and versions: benchmarks/results/.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable

import torch
from stack_vs_loop import BATCHES, Bare, loss, make_mlp, spread
from torch import Tensor

import tenfold

MEMBERS, BATCH = 64, 32
LR, DECAY = torch.logspace(-4, -2, MEMBERS), torch.logspace(-4, -2, MEMBERS)


def hand_loss(parameters: list[Tensor], x: Tensor, y: Tensor) -> Tensor:
    """Each member's cross-entropy, shape (64,), in plain stacked tensor code."""
    w1, b1, w2, b2, w3, b3 = parameters
    h = torch.baddbmm(b1.unsqueeze(1), x.expand(MEMBERS, *x.shape), w1.transpose(1, 2)).relu()
    h = torch.baddbmm(b2.unsqueeze(1), h, w2.transpose(1, 2)).relu()
    logits = torch.baddbmm(b3.unsqueeze(1), h, w3.transpose(1, 2))
    index = y.view(1, BATCH, 1).expand(MEMBERS, BATCH, 1)
    return -torch.log_softmax(logits, 2).gather(2, index).mean((1, 2))


def hand_update(
    parameters: list[Tensor], gradients: list[Tensor], means: list[Tensor], squares: list[Tensor], steps: Tensor
) -> None:
    """AdamW with options a member; made to be compiled."""
    for p, g, m, v in zip(parameters, gradients, means, squares, strict=True):
        lr, decay = (value.view(-1, *(1,) * (p.dim() - 1)) for value in (LR, DECAY))
        m.lerp_(g, 0.1)
        v.mul_(0.999).addcmul_(g, g, value=0.001)
        direction = (m / (1 - 0.9**steps)) / ((v / (1 - 0.999**steps)).sqrt() + 1e-8)
        p.copy_(p * (1 - lr * decay) - lr * direction)


class Stacked:
    """tenfold's stack, or its parameters under a loss written by hand."""

    def __init__(self, *, by_hand: bool) -> None:
        self.stack = tenfold.stack([make_mlp() for _ in range(MEMBERS)])
        self.optimizer = tenfold.optim.AdamW(self.stack.parameters(), lr=LR, weight_decay=DECAY)
        self.by_hand = by_hand

    def steps(self, x: Tensor, y: Tensor) -> None:
        for i in range(BATCHES):
            if self.by_hand:
                loss_M = hand_loss(self.stack.parameters(), x[i], y[i])
            else:
                loss_M = self.stack.each(loss, x[i], y[i])
            self.optimizer.zero_grad()
            self.stack.backward(loss_M)
            self.optimizer.step()


class Compiled:
    """The step by hand with loss and update under `torch.compile`."""

    def __init__(self) -> None:
        stack = tenfold.stack([make_mlp() for _ in range(MEMBERS)])  # for matrices that lie as tenfold's do
        self.parameters: list[Tensor] = [parameter.detach().requires_grad_() for parameter in stack.parameters()]
        self.means = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.squares = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.loss, self.update = torch.compile(hand_loss), torch.compile(hand_update)
        self.num_steps = 0

    def steps(self, x: Tensor, y: Tensor) -> None:
        for i in range(BATCHES):
            self.num_steps += 1
            gradients = list(torch.autograd.grad(self.loss(self.parameters, x[i], y[i]).sum(), self.parameters))
            with torch.no_grad():
                self.update(self.parameters, gradients, self.means, self.squares, torch.tensor(float(self.num_steps)))


def milliseconds(run: Callable[[Tensor, Tensor], None], x: Tensor, y: Tensor) -> float:
    began = time.perf_counter()
    run(x, y)
    return (time.perf_counter() - began) / BATCHES * 1e3


SIDES: dict[str, Callable[[], Stacked | Compiled]] = {
    "tenfold": lambda: Stacked(by_hand=False),
    "by hand": lambda: Stacked(by_hand=True),
    "by hand, compiled": Compiled,
}


def measure(
    make: Callable[[], Stacked | Compiled], rounds: int, x: Tensor, y: Tensor
) -> tuple[float, float, list[float]]:
    """Median milliseconds of the bare loop and of a side, and the ratios, alternating."""
    bare, side = Bare(make_mlp), make()
    bare_ms, side_ms = [], []
    for number in range(rounds + 1):  # the first round warms up and compiles
        bare_now = MEMBERS * statistics.median(milliseconds(bare.steps, x, y) for _ in range(3))
        side_now = milliseconds(side.steps, x, y)
        if number > 0:
            bare_ms.append(bare_now)
            side_ms.append(side_now)
    ratios = [b / s for b, s in zip(bare_ms, side_ms, strict=True)]
    return statistics.median(bare_ms), statistics.median(side_ms), ratios


def check(x: Tensor, y: Tensor) -> None:
    """The loss by hand is the stack's own."""
    stack = tenfold.stack([make_mlp() for _ in range(MEMBERS)])
    torch.testing.assert_close(hand_loss(stack.parameters(), x, y), stack.each(loss, x, y), atol=1e-5, rtol=1e-5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15, help="alternations, at least 3")
    rounds = parser.parse_args().rounds
    torch.manual_seed(0)
    x, y = torch.randn(BATCHES, BATCH, 64), torch.randint(0, 10, (BATCHES, BATCH))
    check(x[0], y[0])
    print(f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}, n = {rounds}\n")
    print("| step of 64 MLPs | ms | bare loop beside it, ms | ratio | quartiles |\n|---|---|---|---|---|", flush=True)
    for name, make in SIDES.items():
        bare_ms, side_ms, ratios = measure(make, rounds, x, y)
        cells = (name, f"{side_ms:.2f}", f"{bare_ms:.2f}", f"{statistics.median(ratios):.2f}", spread(ratios))
        print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
