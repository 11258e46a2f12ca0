"""What the 1x1 convolutions of Inception save: 819,200 weights become 208,896.

A 5x5 convolution from 128 to 256 channels has 25 * 128 * 256 = 819,200 weights. A 1x1 convolution to 32 channels in
front leaves 128 * 32 + 25 * 32 * 256 = 208,896, and a quarter of the work. Does it cost accuracy? Both forms, at an
eighth of the width, learn digits with four seeds each; the seeds are one stack.

Takes 3 s on two cores of an AMD EPYC (torch 2.14.1, n = 1).
"""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

import tenfold


def naive(in_channels, out_channels):
    return nn.Conv2d(in_channels, out_channels, 5, padding=2, bias=False)


def reduced(in_channels, out_channels):
    middle = in_channels // 4
    return nn.Sequential(
        nn.Conv2d(in_channels, middle, 1, bias=False),
        nn.Conv2d(middle, out_channels, 5, padding=2, bias=False),
    )


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def make_network(branch):
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), branch(16, 32), nn.ReLU(),
        nn.AdaptiveMaxPool2d(2), nn.Flatten(), nn.Linear(32 * 4, 10),
    )  # fmt: skip


def accuracies(branch, x, y, *, seeds=4, epochs=3):
    """Of each seed on the last 397 digits, shape (seeds,)."""
    torch.manual_seed(0)
    stack = tenfold.stack([make_network(branch) for _ in range(seeds)])
    optimizer = tenfold.optim.AdamW(stack.parameters(), lr=0.005)
    for _ in range(epochs):
        for rows in torch.randperm(1400).split(50):
            optimizer.zero_grad()
            stack.backward(stack.each(lambda model, x, y: F.cross_entropy(model(x), y), x[rows], y[rows]))
            optimizer.step()
    with torch.no_grad():
        return stack.eval().each(lambda model, x, y: (model(x).argmax(1) == y).float().mean(), x[1400:], y[1400:])


def main() -> None:
    pixels, labels = load_digits(return_X_y=True)
    x, y = torch.tensor(pixels / 16, dtype=torch.float32).view(-1, 1, 8, 8), torch.tensor(labels)
    print("form      128 -> 256   16 -> 32   accuracy of 4 seeds")
    for branch in (naive, reduced):
        accuracy_M = accuracies(branch, x, y)
        spread = f"{accuracy_M.mean():.3f} +- {accuracy_M.std():.3f}"
        print(f"{branch.__name__:<8}  {count(branch(128, 256)):>10,}   {count(branch(16, 32)):>8,}   {spread}")


if __name__ == "__main__":
    main()
