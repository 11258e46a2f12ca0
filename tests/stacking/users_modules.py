"""The users' models with the losses and batches that they are trained on."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from stacking_nets import Case
from users_pictures import GCN, VAE, CapsNet, DuelingDQN, MobileNet, PointNet, TripletNet, UNet, ViT
from users_sequences import TCN, CharGPT, CharLSTM, NeuralODE, TopKMoE, WaveNet


def _draw(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _codes(seed, high, *shape):
    return torch.randint(high, shape, generator=torch.Generator().manual_seed(seed))


def _classified(*shape):
    return [(_draw(seed, 6, *shape), _codes(seed, 3, 6)) for seed in (1, 2)]


def _classify(model, x, y):
    return F.cross_entropy(model(x), y)


def _vae_loss(model, x, y):
    recon, mu, logvar = model(x)
    mse = F.mse_loss(recon, x, reduction="sum")
    return (mse - 0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())) / x.size(0)


def _triplet_loss(model, anchor, positive, negative, y):
    return F.triplet_margin_loss(*model(anchor, positive, negative), margin=1.0)


def _pointnet_loss(model, x, y):
    logits, trans = model(x)
    eye = torch.eye(3, dtype=x.dtype, device=x.device)[None]
    return F.nll_loss(logits, y) + 1e-3 * torch.mean(torch.norm(torch.bmm(trans, trans.mT) - eye, dim=(1, 2)))


def _q_loss(model, states, actions, returns):
    model.reset_noise()
    q_value = model(states).gather(1, actions.unsqueeze(1)).squeeze(1)
    return F.smooth_l1_loss(q_value, returns)


def _margin_loss(model, x, y):
    v = model(x)
    t = F.one_hot(y, 3).to(v.dtype)
    loss = t * F.relu(0.9 - v).pow(2) + 0.5 * (1 - t) * F.relu(v - 0.1).pow(2)
    return loss.sum(dim=1).mean()


def _next_char_loss(model, x, y):
    output, _ = model(x)
    return F.cross_entropy(output.flatten(0, 1), y.flatten())


def _graph():
    adj = (_draw(5, 8, 8) > 0.5).float()
    return (_draw(6, 8, 5), torch.triu(adj, 1) + torch.triu(adj, 1).T, _codes(7, 3, 8))


CHARS = [(_codes(seed, 7, 3, 9), _codes(seed + 9, 7, 3, 9)) for seed in (1, 2)]
MU_LAW = [(_codes(seed, 6, 3, 10), _codes(seed + 9, 6, 3, 10)) for seed in (1, 2)]
TRIPLETS = [(*(_draw(seed + i, 5, 1, 8, 8) for i in range(3)), _codes(0, 2, 5)) for seed in (1, 4)]
PLAYED = [(_draw(seed, 8, 4), _codes(seed, 3, 8), _draw(seed + 1, 8)) for seed in (1, 3)]

USERS = [
    Case(
        "a GPT with tied embeddings", CharGPT, [(_codes(s, 11, 3, 8), _codes(s + 9, 11, 3, 8)) for s in (1, 2)],
        lambda model, idx, targets: model(idx, targets)[1],
        lambda model, idx, targets: model(idx, targets),
    ),
    Case(
        "a U-Net", UNet, [(_draw(s, 2, 1, 10, 10), _codes(s, 2, 2, 10, 10)) for s in (1, 2)], _classify
    ),
    Case("a TCN with weight norm", TCN, _classified(2, 12), _classify),
    Case("a triplet net", TripletNet, TRIPLETS, _triplet_loss),
    Case("a VAE", VAE, [(_draw(s, 6, 10), _codes(0, 2, 6)) for s in (1, 2)], _vae_loss),
    Case("a mixture of experts", TopKMoE, _classified(6), _classify),
    Case("a graph convolution net", GCN, [_graph()], lambda model, x, adj, y: F.nll_loss(model(x, adj), y)),
    Case("a WaveNet", WaveNet, MU_LAW, _classify),
    Case("a MobileNet with drop path", MobileNet, _classified(1, 12, 12), _classify),
    Case("a character LSTM", CharLSTM, CHARS, _next_char_loss),
    Case("a PointNet", PointNet, _classified(3, 9), _pointnet_loss),
    Case("a dueling DQN with noise", DuelingDQN, PLAYED, _q_loss, lambda model, states, *_: model(states)),
    Case("a neural ODE", NeuralODE, _classified(2), _classify),
    Case("a vision transformer in einsum", ViT, _classified(1, 8, 8), _classify),
    Case("capsules", CapsNet, _classified(12), _margin_loss),
]  # fmt: skip
