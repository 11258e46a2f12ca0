"""Models of sequences as people write them, afresh; nothing here was written with a stack in mind."""

from __future__ import annotations

import math

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.utils.parametrizations import weight_norm


class CausalSelfAttention(nn.Module):
    def __init__(self, n_embd, n_head, block_size, dropout):
        super().__init__()
        assert n_embd % n_head == 0
        self.n_head = n_head
        self.n_embd = n_embd
        self.c_attn = nn.Linear(n_embd, 3 * n_embd)
        self.c_proj = nn.Linear(n_embd, n_embd)
        self.attn_dropout = nn.Dropout(dropout)
        self.resid_dropout = nn.Dropout(dropout)
        self.register_buffer("bias", torch.tril(torch.ones(block_size, block_size))[None, None])

    def forward(self, x):
        B, T, C = x.size()
        q, k, v = self.c_attn(x).split(self.n_embd, dim=2)
        k = k.view(B, T, self.n_head, C // self.n_head).transpose(1, 2)
        q = q.view(B, T, self.n_head, C // self.n_head).transpose(1, 2)
        v = v.view(B, T, self.n_head, C // self.n_head).transpose(1, 2)
        att = (q @ k.transpose(-2, -1)) * (1.0 / math.sqrt(k.size(-1)))
        att = att.masked_fill(self.bias[:, :, :T, :T] == 0, float("-inf"))
        att = self.attn_dropout(F.softmax(att, dim=-1))
        y = (att @ v).transpose(1, 2).contiguous().view(B, T, C)
        return self.resid_dropout(self.c_proj(y))


class Block(nn.Module):
    def __init__(self, n_embd, n_head, block_size, dropout):
        super().__init__()
        self.ln_1 = nn.LayerNorm(n_embd)
        self.attn = CausalSelfAttention(n_embd, n_head, block_size, dropout)
        self.ln_2 = nn.LayerNorm(n_embd)
        self.mlp = nn.ModuleDict(
            {
                "c_fc": nn.Linear(n_embd, 4 * n_embd),
                "c_proj": nn.Linear(4 * n_embd, n_embd),
                "drop": nn.Dropout(dropout),
            }
        )

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        m = self.mlp
        return x + m.drop(m.c_proj(F.gelu(m.c_fc(self.ln_2(x)))))


class CharGPT(nn.Module):
    """A decoder-only transformer with tied embeddings, learned positions and a causal mask in a buffer."""

    def __init__(self, vocab=11, block_size=8, n_layer=2, n_head=2, n_embd=8, dropout=0.1):
        super().__init__()
        self.block_size = block_size
        self.transformer = nn.ModuleDict(
            {
                "wte": nn.Embedding(vocab, n_embd),
                "wpe": nn.Embedding(block_size, n_embd),
                "drop": nn.Dropout(dropout),
                "h": nn.ModuleList([Block(n_embd, n_head, block_size, dropout) for _ in range(n_layer)]),
                "ln_f": nn.LayerNorm(n_embd),
            }
        )
        self.lm_head = nn.Linear(n_embd, vocab, bias=False)
        self.transformer.wte.weight = self.lm_head.weight
        self.apply(self._init_weights)

    def _init_weights(self, module):
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, mean=0.0, std=0.2)
            if module.bias is not None:
                nn.init.zeros_(module.bias)

    def forward(self, idx, targets=None):
        _, t = idx.size()
        assert t <= self.block_size, f"sequence of {t}, block size is {self.block_size}"
        pos = torch.arange(0, t, dtype=torch.long, device=idx.device)
        x = self.transformer.drop(self.transformer.wte(idx) + self.transformer.wpe(pos))
        for block in self.transformer.h:
            x = block(x)
        logits = self.lm_head(self.transformer.ln_f(x))
        if targets is None:
            return logits, None
        return logits, F.cross_entropy(logits.view(-1, logits.size(-1)), targets.view(-1), ignore_index=-1)


class Chomp1d(nn.Module):
    def __init__(self, chomp_size):
        super().__init__()
        self.chomp_size = chomp_size

    def forward(self, x):
        return x[:, :, : -self.chomp_size].contiguous()


class TemporalBlock(nn.Module):
    def __init__(self, n_in, n_out, kernel_size, dilation, dropout):
        super().__init__()
        padding = (kernel_size - 1) * dilation
        self.conv1 = weight_norm(nn.Conv1d(n_in, n_out, kernel_size, padding=padding, dilation=dilation))
        self.conv2 = weight_norm(nn.Conv1d(n_out, n_out, kernel_size, padding=padding, dilation=dilation))
        self.net = nn.Sequential(
            self.conv1, Chomp1d(padding), nn.ReLU(), nn.Dropout(dropout),
            self.conv2, Chomp1d(padding), nn.ReLU(), nn.Dropout(dropout),
        )  # fmt: skip
        self.downsample = nn.Conv1d(n_in, n_out, 1) if n_in != n_out else None
        self.relu = nn.ReLU()

    def forward(self, x):
        out = self.net(x)
        res = x if self.downsample is None else self.downsample(x)
        return self.relu(out + res)


class TCN(nn.Module):
    """Dilated causal convolutions under weight normalisation; each convolution is reachable by two names."""

    def __init__(self, channels=(4, 5), n_in=2, n_out=3):
        super().__init__()
        sizes = [n_in, *channels]
        self.network = nn.Sequential(
            *(TemporalBlock(sizes[i], sizes[i + 1], 3, 2**i, 0.2) for i in range(len(channels)))
        )
        self.linear = nn.Linear(channels[-1], n_out)

    def forward(self, x):
        return self.linear(self.network(x)[:, :, -1])


class WaveBlock(nn.Module):
    def __init__(self, residual, skip, dilation):
        super().__init__()
        self.pad = dilation
        self.dilated = nn.Conv1d(residual, 2 * residual, 2, dilation=dilation)
        self.out = nn.Conv1d(residual, residual, 1)
        self.skip = nn.Conv1d(residual, skip, 1)

    def forward(self, x):
        a, b = self.dilated(F.pad(x, (self.pad, 0))).chunk(2, dim=1)
        z = torch.tanh(a) * torch.sigmoid(b)
        return x + self.out(z), self.skip(z)


class WaveNet(nn.Module):
    """Gated dilated convolutions on mu-law codes; the skips are summed by Python's own sum."""

    def __init__(self, levels=6, residual=4, skip=5):
        super().__init__()
        self.levels = levels
        self.front = nn.Conv1d(levels, residual, 1)
        self.blocks = nn.ModuleList([WaveBlock(residual, skip, 2**i) for i in range(3)])
        self.end = nn.Sequential(nn.ReLU(), nn.Conv1d(skip, skip, 1), nn.ReLU(), nn.Conv1d(skip, levels, 1))

    def forward(self, codes):
        x = self.front(F.one_hot(codes, self.levels).transpose(1, 2).to(self.front.weight.dtype))
        skips = []
        for block in self.blocks:
            x, s = block(x)
            skips.append(s)
        return self.end(sum(skips))


class CharLSTM(nn.Module):
    """Takes its hidden state and gives it back; makes a zero one itself where none is given."""

    def __init__(self, vocab=7, hidden=6, layers=2):
        super().__init__()
        self.hidden, self.layers = hidden, layers
        self.encoder = nn.Embedding(vocab, 5)
        self.rnn = nn.LSTM(5, hidden, layers, batch_first=True)
        self.decoder = nn.Linear(hidden, vocab)

    def init_hidden(self, batch_size):
        weight = next(self.parameters()).data
        return (
            weight.new_zeros(self.layers, batch_size, self.hidden),
            weight.new_zeros(self.layers, batch_size, self.hidden),
        )

    def forward(self, x, hidden=None):
        if hidden is None:
            hidden = self.init_hidden(x.size(0))
        out, hidden = self.rnn(self.encoder(x), hidden)
        return self.decoder(out), hidden


class ODEFunc(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(dim + 1, 10), nn.Softplus(), nn.Linear(10, dim))
        self.nfe = 0

    def forward(self, t, y):
        self.nfe += 1
        tt = torch.ones_like(y[:, :1]) * t
        return self.net(torch.cat([tt, y], 1))


class NeuralODE(nn.Module):
    """Runge-Kutta with a fixed step over a tensor of times; counts the evaluations of its right side."""

    def __init__(self, dim=2, steps=4):
        super().__init__()
        self.func = ODEFunc(dim)
        self.times = torch.linspace(0.0, 1.0, steps + 1).tolist()
        self.head = nn.Linear(dim, 3)

    def forward(self, y):
        for t0, t1 in zip(self.times[:-1], self.times[1:]):  # noqa: B905
            h = t1 - t0
            k1 = self.func(t0, y)
            k2 = self.func(t0 + h / 2, y + h * k1 / 2)
            k3 = self.func(t0 + h / 2, y + h * k2 / 2)
            k4 = self.func(t1, y + h * k3)
            y = y + h * (k1 + 2 * k2 + 2 * k3 + k4) / 6
        return self.head(y)


class TopKMoE(nn.Module):
    """Each token goes to its two best experts; experts without a token are skipped."""

    def __init__(self, dim=6, experts=4, k=2, classes=3):
        super().__init__()
        self.k = k
        self.gate = nn.Linear(dim, experts, bias=False)
        self.experts = nn.ModuleList(
            [nn.Sequential(nn.Linear(dim, 8), nn.SiLU(), nn.Linear(8, dim)) for _ in range(experts)]
        )
        self.head = nn.Linear(dim, classes)

    def forward(self, x):
        weights, selected = torch.topk(self.gate(x).softmax(dim=-1), self.k, dim=-1)
        weights = weights / weights.sum(dim=-1, keepdim=True)
        out = torch.zeros_like(x)
        for i, expert in enumerate(self.experts):
            token, nth = torch.where(selected == i)
            if token.numel() == 0:
                continue
            out[token] += weights[token, nth, None] * expert(x[token])
        return self.head(x + out)
