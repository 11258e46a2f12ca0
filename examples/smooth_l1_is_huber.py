"""Smooth L1 is Huber's loss at 1; and what either is for.

Huber's loss with delta is delta times the smooth L1 loss with beta = delta: at 1 they are the same. Both are squares
near 0 and lines beyond, so that one wild measurement cannot pull a fit away. Forty lines are fitted at once, each to
points of its own (`tenfold.per_member`), a tenth of them wild.

Takes 2 s on two cores of an AMD EPYC (torch 2.14.1, n = 1).
"""

import torch
from torch import nn

import tenfold
from tenfold.nn import loss_function


def main() -> None:
    errors, zeros = torch.linspace(-4, 4, 801), torch.zeros(801)
    for delta in (0.5, 1.0, 2.0):
        huber = loss_function("huber", delta=delta, reduction="none")(errors, zeros)
        smooth = loss_function("smooth_l1", beta=delta, reduction="none")(errors, zeros)
        ratio = (huber / smooth)[errors != 0]
        print(f"delta = beta = {delta}: huber / smooth_l1 is {ratio.min():.4f} to {ratio.max():.4f}")

    members, points = 40, 30
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(members, points, 1, generator=generator) * 4 - 2
    y = 2 * x + 0.2 * torch.randn(members, points, 1, generator=generator)
    y[:, ::10] += 8 * torch.rand(members, points // 10, 1, generator=generator) * x[:, ::10].sign()
    print(f"\n{members} lines of slope 2, each through {points} points, three of them wild:")
    for name in ("l2", "smooth_l1", "huber", "l1"):
        loss = loss_function(name)
        torch.manual_seed(0)
        stack = tenfold.stack([nn.Linear(1, 1) for _ in range(members)])
        optimizer = tenfold.optim.Adam(stack.parameters(), lr=0.05)
        for _ in range(300):
            optimizer.zero_grad()
            batch = tenfold.per_member(x), tenfold.per_member(y)
            stack.backward(stack.each(lambda model, x, y, loss=loss: loss(model(x), y), *batch))
            optimizer.step()
        slopes = torch.stack([model.weight.detach() for model in stack.unstack()]).flatten()
        print(f"  {name:<10} slope {slopes.mean():.3f} +- {slopes.std():.3f}")


if __name__ == "__main__":
    main()
