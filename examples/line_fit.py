"""A line through noisy points, found twice: by a grid that zooms in, and by gradient descent at all rates at once.

Either way many lines are tried. They are members of one stack, so that a grid of 441 lines is one call, and sixteen
learning rates are one training.

Takes 2 s on two cores of an AMD EPYC (torch 2.14.1, n = 1).
"""

import numpy as np
import torch
from torch import nn

import tenfold


class Line(nn.Module):
    """y = weight x + bias."""

    def __init__(self, weight: float, bias: float) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.tensor(weight)), nn.Parameter(torch.tensor(bias))

    def forward(self, x):
        return self.weight * x + self.bias


def mean_squared_error(line, x, y):
    return (line(x) - y).square().mean()


def by_zooming_grid(x, y, *, rounds=8, steps=21):
    """The best line of a 21 x 21 grid, then of a grid a fifth as wide around it, and so on."""
    weight, bias, half_width = 0.0, 0.0, 10.0
    for _ in range(rounds):
        offsets = torch.linspace(-half_width, half_width, steps).tolist()
        lines = [Line(weight + dw, bias + db) for dw in offsets for db in offsets]
        with torch.no_grad():
            loss_M = tenfold.stack(lines).each(mean_squared_error, x, y)
        best = lines[int(loss_M.argmin())]
        weight, bias, half_width = best.weight.item(), best.bias.item(), half_width / 5
    return weight, bias


def by_gradient_descent(x, y, rates, *, steps=200):
    """The same start for each rate; what diverges harms nobody but itself."""
    stack = tenfold.stack([Line(0.0, 0.0) for _ in rates])
    optimizer = tenfold.optim.SGD(stack.parameters(), lr=rates)
    for _ in range(steps):
        loss_M = stack.each(mean_squared_error, x, y)
        optimizer.zero_grad()
        stack.backward(loss_M)
        optimizer.step()
    with torch.no_grad():
        return stack.unstack(), stack.each(mean_squared_error, x, y)


def main() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(50, generator=generator) * 4
    y = 2.5 * x + 1.0 + 0.3 * torch.randn(50, generator=generator)
    exact = np.polyfit(x.numpy(), y.numpy(), deg=1)
    print(f"exact (least squares)        y = {exact[0]:.4f} x + {exact[1]:.4f}")

    weight, bias = by_zooming_grid(x, y)
    print(f"8 grids of 441 lines         y = {weight:.4f} x + {bias:.4f}")

    rates = torch.logspace(-3, 0, 16)
    lines, loss_M = by_gradient_descent(x, y, rates)
    loss_M = loss_M.nan_to_num(nan=torch.inf)
    best = int(loss_M.argmin())
    line = lines[best]
    print(f"16 rates, 200 steps          y = {line.weight.item():.4f} x + {line.bias.item():.4f}")
    diverged = rates[~(loss_M < 1e3)]
    print(f"the best rate is {rates[best]:.3f}; from {diverged.min():.2f} on it diverges")


if __name__ == "__main__":
    main()
