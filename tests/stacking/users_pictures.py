"""Models of pictures, points, graphs and games as people write them, afresh."""

from __future__ import annotations

import math

import torch
import torch.nn as nn
import torch.nn.functional as F


class DoubleConv(nn.Module):
    def __init__(self, in_ch, out_ch):
        super().__init__()
        self.double_conv = nn.Sequential(
            nn.Conv2d(in_ch, out_ch, 3, padding=1, bias=False), nn.BatchNorm2d(out_ch), nn.ReLU(inplace=True),
            nn.Conv2d(out_ch, out_ch, 3, padding=1, bias=False), nn.BatchNorm2d(out_ch), nn.ReLU(inplace=True),
        )  # fmt: skip

    def forward(self, x):
        return self.double_conv(x)


class UNet(nn.Module):
    """Skip connections, one step up by a transposed convolution and one by interpolation, padding to fit."""

    def __init__(self, n_channels=1, n_classes=2, base=3):
        super().__init__()
        self.inc = DoubleConv(n_channels, base)
        self.down1 = nn.Sequential(nn.MaxPool2d(2), DoubleConv(base, 2 * base))
        self.down2 = nn.Sequential(nn.MaxPool2d(2), DoubleConv(2 * base, 4 * base))
        self.up1 = nn.ConvTranspose2d(4 * base, 2 * base, kernel_size=2, stride=2)
        self.conv1 = DoubleConv(4 * base, 2 * base)
        self.conv2 = DoubleConv(3 * base, base)
        self.outc = nn.Conv2d(base, n_classes, kernel_size=1)

    def forward(self, x):
        x1 = self.inc(x)
        x2 = self.down1(x1)
        x3 = self.down2(x2)
        x = self._join(x2, self.up1(x3))
        x = self.conv1(x)
        x = self._join(x1, F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True))
        return self.outc(self.conv2(x))

    @staticmethod
    def _join(skip, x):
        dy = skip.size()[2] - x.size()[2]
        dx = skip.size()[3] - x.size()[3]
        x = F.pad(x, [dx // 2, dx - dx // 2, dy // 2, dy - dy // 2])
        return torch.cat([skip, x], dim=1)


def drop_path(x, drop_prob, training):
    if drop_prob == 0.0 or not training:
        return x
    keep_prob = 1 - drop_prob
    shape = (x.shape[0],) + (1,) * (x.ndim - 1)
    random_tensor = keep_prob + torch.rand(shape, dtype=x.dtype, device=x.device)
    random_tensor.floor_()
    return x.div(keep_prob) * random_tensor


class SqueezeExcite(nn.Module):
    def __init__(self, channels, reduction=2):
        super().__init__()
        self.avg_pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Sequential(
            nn.Linear(channels, channels // reduction), nn.ReLU(inplace=True),
            nn.Linear(channels // reduction, channels), nn.Hardsigmoid(),
        )  # fmt: skip

    def forward(self, x):
        b, c, _, _ = x.size()
        y = self.avg_pool(x).view(b, c)
        return x * self.fc(y).view(b, c, 1, 1).expand_as(x)


class InvertedResidual(nn.Module):
    def __init__(self, inp, oup, stride, expand, drop):
        super().__init__()
        hidden = inp * expand
        self.use_res_connect = stride == 1 and inp == oup
        self.drop = drop
        layers = [nn.Conv2d(inp, hidden, 1, bias=False), nn.BatchNorm2d(hidden), nn.Hardswish()]
        layers += [nn.Conv2d(hidden, hidden, 3, stride, 1, groups=hidden, bias=False), nn.BatchNorm2d(hidden)]
        layers += [nn.ReLU6(inplace=True), SqueezeExcite(hidden)]
        layers += [nn.Conv2d(hidden, oup, 1, bias=False), nn.BatchNorm2d(oup)]
        self.conv = nn.Sequential(*layers)

    def forward(self, x):
        if self.use_res_connect:
            return x + drop_path(self.conv(x), self.drop, self.training)
        return self.conv(x)


class MobileNet(nn.Module):
    """Inverted residuals with squeeze-and-excitation, depthwise convolutions and stochastic depth."""

    def __init__(self, num_classes=3):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 4, 3, 2, 1, bias=False), nn.BatchNorm2d(4), nn.Hardswish(),
            InvertedResidual(4, 4, 1, 2, 0.3), InvertedResidual(4, 6, 2, 2, 0.3),
        )  # fmt: skip
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(6, num_classes))
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight, mode="fan_out")

    def forward(self, x):
        return self.classifier(self.features(x).mean([2, 3]))


class ViT(nn.Module):
    """Patches by reshaping, a class token, attention in einsum, stochastic depth decided by a coin a sample."""

    def __init__(self, image=8, patch=4, dim=6, heads=2, depth=2, classes=3):
        super().__init__()
        self.patch, self.heads = patch, heads
        self.scale = (dim // heads) ** -0.5
        self.embed = nn.Linear(patch * patch, dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos = nn.Parameter(torch.randn(1, (image // patch) ** 2 + 1, dim) * 0.02)
        self.layers = nn.ModuleList([])
        for _ in range(depth):
            self.layers.append(
                nn.ModuleList([
                    nn.LayerNorm(dim), nn.Linear(dim, 3 * dim, bias=False), nn.Linear(dim, dim), nn.LayerNorm(dim),
                    nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Dropout(0.1), nn.Linear(2 * dim, dim)),
                ])
            )  # fmt: skip
        self.head = nn.Linear(dim, classes)

    def forward(self, img):
        b, c, hh, ww = img.shape
        p = self.patch
        x = img.reshape(b, c, hh // p, p, ww // p, p).permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)
        x = torch.cat((self.cls_token.expand(b, -1, -1), self.embed(x)), dim=1)
        x = x + self.pos
        for norm1, to_qkv, to_out, norm2, ff in self.layers:
            q, k, v = (
                t.view(b, -1, self.heads, t.shape[-1] // self.heads) for t in to_qkv(norm1(x)).chunk(3, dim=-1)
            )
            attn = torch.einsum("bihd,bjhd->bhij", q, k).mul(self.scale).softmax(dim=-1)
            x = x + to_out(torch.einsum("bhij,bjhd->bihd", attn, v).flatten(2))
            x = x + ff(norm2(x))
        return self.head(x[:, 0])


class VAE(nn.Module):
    """The reparameterisation trick; samples in training alone."""

    def __init__(self, n_in=10, n_hidden=8, n_latent=2):
        super().__init__()
        self.fc1 = nn.Linear(n_in, n_hidden)
        self.fc21 = nn.Linear(n_hidden, n_latent)
        self.fc22 = nn.Linear(n_hidden, n_latent)
        self.decode = nn.Sequential(nn.Linear(n_latent, n_hidden), nn.ReLU(), nn.Linear(n_hidden, n_in))

    def reparameterize(self, mu, logvar):
        if not self.training:
            return mu
        std = torch.exp(0.5 * logvar)
        eps = torch.randn_like(std)
        return eps.mul(std).add_(mu)

    def forward(self, x):
        h1 = F.relu(self.fc1(x.view(-1, x[0].numel())))
        mu, logvar = self.fc21(h1), self.fc22(h1)
        return self.decode(self.reparameterize(mu, logvar)), mu, logvar


class EmbeddingNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.convnet = nn.Sequential(nn.Conv2d(1, 3, 3), nn.PReLU(), nn.MaxPool2d(2, stride=2))
        self.fc = nn.Sequential(nn.Linear(27, 6), nn.PReLU(), nn.Linear(6, 2))

    def forward(self, x):
        output = self.convnet(x)
        output = output.view(output.size()[0], -1)
        return F.normalize(self.fc(output), p=2, dim=1)


class TripletNet(nn.Module):
    """One embedding of anchors, positives and negatives, all three through the same layers."""

    def __init__(self):
        super().__init__()
        self.embedding_net = EmbeddingNet()

    def forward(self, x1, x2, x3):
        return self.embedding_net(x1), self.embedding_net(x2), self.embedding_net(x3)


class GraphConvolution(nn.Module):
    def __init__(self, in_features, out_features):
        super().__init__()
        self.weight = nn.Parameter(torch.FloatTensor(in_features, out_features))
        self.bias = nn.Parameter(torch.FloatTensor(out_features))
        stdv = 1.0 / math.sqrt(self.weight.size(1))
        self.weight.data.uniform_(-stdv, stdv)
        self.bias.data.uniform_(-stdv, stdv)

    def forward(self, x, adj):
        support = torch.mm(x, self.weight)
        return torch.spmm(adj, support) + self.bias


class GCN(nn.Module):
    """Two graph convolutions over a dense adjacency, normalised in forward; functional dropout."""

    def __init__(self, nfeat=5, nhid=6, nclass=3, dropout=0.5):
        super().__init__()
        self.gc1 = GraphConvolution(nfeat, nhid)
        self.gc2 = GraphConvolution(nhid, nclass)
        self.dropout = dropout

    def forward(self, x, adj):
        adj = adj + torch.eye(adj.size(0), device=adj.device, dtype=adj.dtype)
        d = adj.sum(1).pow(-0.5)
        d[torch.isinf(d)] = 0.0
        adj = torch.diag(d) @ adj @ torch.diag(d)
        x = F.relu(self.gc1(x, adj))
        x = F.dropout(x, self.dropout, training=self.training)
        return F.log_softmax(self.gc2(x, adj), dim=1)


class TNet(nn.Module):
    def __init__(self, k=3):
        super().__init__()
        self.k = k
        self.conv = nn.Conv1d(k, 6, 1)
        self.bn = nn.BatchNorm1d(6)
        self.fc = nn.Linear(6, k * k)

    def forward(self, x):
        batchsize = x.size()[0]
        x = F.relu(self.bn(self.conv(x)))
        x = torch.max(x, 2, keepdim=True)[0].view(-1, 6)
        iden = torch.eye(self.k, dtype=x.dtype, device=x.device).view(1, self.k * self.k).repeat(batchsize, 1)
        return (self.fc(x) + iden).view(-1, self.k, self.k)


class PointNet(nn.Module):
    """Turns a cloud of points by a matrix of its own making, then takes the maximum over points."""

    def __init__(self, classes=3):
        super().__init__()
        self.stn = TNet()
        self.conv1, self.conv2 = nn.Conv1d(3, 6, 1), nn.Conv1d(6, 8, 1)
        self.bn1, self.bn2 = nn.BatchNorm1d(6), nn.BatchNorm1d(8)
        self.fc = nn.Linear(8, classes)

    def forward(self, x):
        trans = self.stn(x)
        x = torch.bmm(x.transpose(2, 1), trans).transpose(2, 1)
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.bn2(self.conv2(x))
        x, _ = torch.max(x, 2)
        return F.log_softmax(self.fc(x), dim=1), trans


class NoisyLinear(nn.Module):
    """Factorised noise that lies in buffers, renewed by a method."""

    def __init__(self, in_features, out_features, std_init=0.5):
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        bound = 1 / math.sqrt(in_features)
        self.weight_mu = nn.Parameter(torch.empty(out_features, in_features).uniform_(-bound, bound))
        self.weight_sigma = nn.Parameter(torch.full((out_features, in_features), std_init * bound))
        self.bias_mu = nn.Parameter(torch.empty(out_features).uniform_(-bound, bound))
        self.bias_sigma = nn.Parameter(torch.full((out_features,), std_init * bound))
        self.register_buffer("weight_epsilon", torch.zeros(out_features, in_features))
        self.register_buffer("bias_epsilon", torch.zeros(out_features))

    def _scale_noise(self, size):
        x = torch.randn(size, device=self.weight_mu.device)
        return x.sign().mul_(x.abs().sqrt_())

    def reset_noise(self):
        epsilon_in = self._scale_noise(self.in_features)
        epsilon_out = self._scale_noise(self.out_features)
        self.weight_epsilon.copy_(epsilon_out.ger(epsilon_in))
        self.bias_epsilon.copy_(epsilon_out)

    def forward(self, x):
        if self.training:
            weight = self.weight_mu + self.weight_sigma * self.weight_epsilon
            return F.linear(x, weight, self.bias_mu + self.bias_sigma * self.bias_epsilon)
        return F.linear(x, self.weight_mu, self.bias_mu)


class DuelingDQN(nn.Module):
    """Value and advantage; noise in place of an epsilon, renewed before each loss."""

    def __init__(self, observations=4, actions=3):
        super().__init__()
        self.feature = nn.Sequential(nn.Linear(observations, 8), nn.ReLU())
        self.value = nn.Sequential(NoisyLinear(8, 6), nn.ReLU(), NoisyLinear(6, 1))
        self.advantage = nn.Sequential(NoisyLinear(8, 6), nn.ReLU(), NoisyLinear(6, actions))

    def reset_noise(self):
        for m in self.modules():
            if isinstance(m, NoisyLinear):
                m.reset_noise()

    def forward(self, x):
        x = self.feature(x)
        advantage = self.advantage(x)
        return self.value(x) + advantage - advantage.mean(dim=1, keepdim=True)


def squash(s, dim=-1):
    squared = (s**2).sum(dim=dim, keepdim=True)
    return squared / (1 + squared) * s / (squared.sqrt() + 1e-8)


class CapsNet(nn.Module):
    """Routing by agreement: a loop in which the weights of the votes follow the votes."""

    def __init__(self, in_caps=4, in_dim=3, out_caps=3, out_dim=4, routing_iters=3):
        super().__init__()
        self.primary = nn.Linear(12, in_caps * in_dim)
        self.W = nn.Parameter(0.3 * torch.randn(1, out_caps, in_caps, out_dim, in_dim))
        self.in_caps, self.in_dim, self.routing_iters = in_caps, in_dim, routing_iters

    def forward(self, x):
        batch_size = x.size(0)
        u = squash(self.primary(x).view(batch_size, 1, self.in_caps, self.in_dim, 1), dim=-2)
        u_hat = torch.matmul(self.W, u).squeeze(-1)
        temp_u_hat = u_hat.detach()
        b = torch.zeros(batch_size, self.W.size(1), self.in_caps, 1).to(x)
        for _ in range(self.routing_iters - 1):
            c = b.softmax(dim=1)
            v = squash((c * temp_u_hat).sum(dim=2))
            b += torch.matmul(temp_u_hat, v.unsqueeze(-1))
        c = b.softmax(dim=1)
        v = squash((c * u_hat).sum(dim=2))
        return torch.norm(v, dim=-1)
