"""Well-known networks in plain PyTorch, as wide and deep as the published ones.

Imports torch, so it is imported only by `torch_zoo`, when a network is built.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Mlp(nn.Sequential):
    """Three linear layers with ReLU between them."""

    def __init__(self, widths: tuple[int, ...] = (256, 512, 512, 10)):
        layers: list[nn.Module] = []
        for index in range(len(widths) - 1):
            layers += [nn.Linear(widths[index], widths[index + 1]), nn.ReLU()]
        super().__init__(*layers[:-1])


class Lstm(nn.Module):
    """A bidirectional LSTM and a linear layer over its last step."""

    def __init__(self, width: int = 64, hidden: int = 128, layers: int = 2, classes: int = 10):
        super().__init__()
        self.lstm = nn.LSTM(width, hidden, layers, batch_first=True, bidirectional=True)
        self.head = nn.Linear(2 * hidden, classes)

    def forward(self, x: Tensor) -> Tensor:
        steps, _ = self.lstm(x)
        return self.head(steps[:, -1])


# Convolutional networks


def conv_norm(
    inputs: int, outputs: int, size: int, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    """A convolution that keeps the image's size (over the stride), and a normalisation."""
    conv = nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs))


class Bottleneck(nn.Module):
    """The residual block of ResNet-50: 1x1, 3x3, 1x1."""

    def __init__(self, inputs: int, width: int, stride: int):
        super().__init__()
        outputs = 4 * width
        self.reduce = conv_norm(inputs, width, 1)
        self.middle = conv_norm(width, width, 3, stride)
        self.expand = conv_norm(width, outputs, 1)
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else conv_norm(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.middle(F.relu(self.reduce(x))))
        return F.relu(self.expand(y) + self.shortcut(x))


class ResNet(nn.Module):
    """ResNet with bottleneck blocks; (3, 4, 6, 3) of them are ResNet-50."""

    def __init__(self, depths: tuple[int, ...] = (3, 4, 6, 3), classes: int = 1000):
        super().__init__()
        self.stem = nn.Sequential(conv_norm(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
        blocks: list[nn.Module] = []
        inputs = 64
        for stage, depth in enumerate(depths):
            width = 64 << stage
            for index in range(depth):
                stride = 2 if stage > 0 and index == 0 else 1
                blocks.append(Bottleneck(inputs, width, stride))
                inputs = 4 * width
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        y = self.blocks(self.stem(x))
        return self.head(y.mean((2, 3)))


class InvertedResidual(nn.Module):
    """The block of MobileNetV2: widen, convolve each channel, narrow."""

    def __init__(self, inputs: int, outputs: int, stride: int, factor: int):
        super().__init__()
        width = inputs * factor
        widen = [conv_norm(inputs, width, 1), nn.ReLU6()] if factor > 1 else []
        depthwise = [conv_norm(width, width, 3, stride, groups=width), nn.ReLU6()]
        self.body = nn.Sequential(*widen, *depthwise, conv_norm(width, outputs, 1))
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x) if self.residual else self.body(x)


MOBILENET_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""Widening factor, channels, blocks and first stride of MobileNetV2's stages."""


class MobileNetV2(nn.Module):
    """MobileNetV2 at width 1."""

    def __init__(
        self,
        stages: tuple[tuple[int, int, int, int], ...] = MOBILENET_STAGES,
        classes: int = 1000,
    ):
        super().__init__()
        layers: list[nn.Module] = [conv_norm(3, 32, 3, 2), nn.ReLU6()]
        inputs = 32
        for factor, outputs, depth, first in stages:
            for index in range(depth):
                stride = first if index == 0 else 1
                layers.append(InvertedResidual(inputs, outputs, stride, factor))
                inputs = outputs
        layers += [conv_norm(inputs, 1280, 1), nn.ReLU6()]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(1280, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x).mean((2, 3)))


# Transformers


class Attention(nn.Module):
    """Multi-head self-attention."""

    def __init__(self, width: int, heads: int, *, causal: bool = False):
        super().__init__()
        self.heads, self.causal = heads, causal
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        q, k, v = (self.split(part(x)) for part in (self.query, self.key, self.value))
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=self.causal)
        return self.out(y.transpose(1, 2).flatten(2))

    def split(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)


class FeedForward(nn.Module):
    """Two linear layers with GELU between them."""

    def __init__(self, width: int, hidden: int, approximate: str = "none"):
        super().__init__()
        self.up = nn.Linear(width, hidden)
        self.down = nn.Linear(hidden, width)
        self.approximate = approximate

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.gelu(self.up(x), approximate=self.approximate))


class PreNormBlock(nn.Module):
    """A transformer layer that normalises before attention and before the feed-forward."""

    def __init__(self, width: int, heads: int, *, causal: bool, approximate: str = "none"):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads, causal=causal)
        self.feed_forward = FeedForward(width, 4 * width, approximate)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.feed_forward(self.norm2(x))


class PostNormBlock(nn.Module):
    """A transformer layer that normalises after each residual sum, as BERT does."""

    def __init__(self, width: int, heads: int, hidden: int, eps: float):
        super().__init__()
        self.attention = Attention(width, heads)
        self.norm1 = nn.LayerNorm(width, eps=eps)
        self.feed_forward = FeedForward(width, hidden)
        self.norm2 = nn.LayerNorm(width, eps=eps)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = self.norm1(x + self.attention(x, mask))
        return self.norm2(x + self.feed_forward(x))


class Bert(nn.Module):
    """BERT's encoder: the last layer's states."""

    def __init__(
        self,
        layers: int = 12,
        width: int = 768,
        heads: int = 12,
        hidden: int = 3072,
        vocabulary: int = 30522,
        positions: int = 512,
        eps: float = 1e-12,
    ):
        super().__init__()
        self.words = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(positions, width)
        self.types = nn.Embedding(2, width)
        self.norm = nn.LayerNorm(width, eps=eps)
        self.blocks = nn.ModuleList(
            PostNormBlock(width, heads, hidden, eps) for _ in range(layers)
        )

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        positions = torch.arange(input_ids.shape[1], device=input_ids.device)
        x = self.words(input_ids) + self.positions(positions) + self.types.weight[0]
        x = self.norm(x)
        mask = attention_mask[:, None, None, :].to(torch.bool)
        for block in self.blocks:
            x = block(x, mask)
        return x


class SentenceEncoder(nn.Module):
    """BERT, then the mean over the words that are there, of length one."""

    def __init__(self, bert: Bert):
        super().__init__()
        self.bert = bert

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        states = self.bert(input_ids, attention_mask)
        there = attention_mask[:, :, None].to(states.dtype)
        mean = (states * there).sum(1) / there.sum(1).clamp(min=1e-9)
        return F.normalize(mean, dim=1)


class Gpt(nn.Module):
    """A GPT-2 decoder with tied embeddings: logits of every position."""

    def __init__(
        self,
        layers: int = 12,
        width: int = 768,
        heads: int = 12,
        vocabulary: int = 50257,
        positions: int = 1024,
    ):
        super().__init__()
        self.words = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(positions, width)
        self.blocks = nn.ModuleList(
            PreNormBlock(width, heads, causal=True, approximate="tanh") for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, input_ids: Tensor) -> Tensor:
        positions = torch.arange(input_ids.shape[1], device=input_ids.device)
        x = self.words(input_ids) + self.positions(positions)
        for block in self.blocks:
            x = block(x)
        return F.linear(self.norm(x), self.words.weight)


class RmsNorm(nn.Module):
    """Root mean square normalisation of the last axis."""

    def __init__(self, width: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.weight.shape, self.weight, 1e-5)


class RotaryAttention(nn.Module):
    """Causal attention whose queries share keys in groups, by rotated positions."""

    def __init__(self, width: int, heads: int, groups: int):
        super().__init__()
        self.size, self.members = width // heads, heads // groups
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, groups * self.size, bias=False)
        self.value = nn.Linear(width, groups * self.size, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            part(x).unflatten(2, (-1, self.size)).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        )
        positions = torch.arange(x.shape[1], device=x.device, dtype=x.dtype)
        steps = torch.arange(0, self.size, 2, device=x.device, dtype=x.dtype) / self.size
        angles = positions[:, None] * (10000.0**-steps)[None]
        q, k = (self.rotate(part, angles) for part in (q, k))
        k, v = (part.repeat_interleave(self.members, 1) for part in (k, v))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(y.transpose(1, 2).flatten(2))

    def rotate(self, x: Tensor, angles: Tensor) -> Tensor:
        cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
        first, second = x.chunk(2, -1)
        return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)


class LlamaBlock(nn.Module):
    """A layer of a Llama decoder: grouped causal attention, then a gated feed-forward."""

    def __init__(self, width: int = 1024, heads: int = 16, groups: int = 4, hidden: int = 2816):
        super().__init__()
        self.norm1, self.norm2 = RmsNorm(width), RmsNorm(width)
        self.attention = RotaryAttention(width, heads, groups)
        self.gate = nn.Linear(width, hidden, bias=False)
        self.up = nn.Linear(width, hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        y = self.norm2(x)
        return x + self.down(F.silu(self.gate(y)) * self.up(y))


class Vit(nn.Module):
    """A vision transformer; the defaults are ViT-B/16."""

    def __init__(
        self,
        layers: int = 12,
        width: int = 768,
        heads: int = 12,
        image: int = 224,
        patch: int = 16,
        classes: int = 1000,
    ):
        super().__init__()
        self.patches = nn.Conv2d(3, width, patch, patch)
        self.class_token = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        count = (image // patch) ** 2
        self.positions = nn.Parameter(torch.randn(1, count + 1, width) * 0.02)
        self.blocks = nn.ModuleList(
            PreNormBlock(width, heads, causal=False) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        first = self.class_token.expand(x.shape[0], -1, -1)
        y = torch.cat([first, tokens], 1) + self.positions
        for block in self.blocks:
            y = block(y)
        return self.head(self.norm(y[:, 0]))


def randomize(model: nn.Module) -> None:
    """Weights that keep activations of the order of one, and statistics that are not 0 and 1."""
    for module in model.modules():
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)
        elif isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        elif isinstance(module, nn.BatchNorm2d | nn.LayerNorm):
            nn.init.normal_(module.weight, 0.8, 0.1)
            nn.init.normal_(module.bias, std=0.1)
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.8, 1.2)


_MINILM_NAMES = (
    ("embeddings.word_embeddings", "words"),
    ("embeddings.position_embeddings", "positions"),
    ("embeddings.token_type_embeddings", "types"),
    ("embeddings.LayerNorm", "norm"),
    ("encoder.layer.", "blocks."),
    ("attention.self.", "attention."),
    ("attention.output.dense", "attention.out"),
    ("attention.output.LayerNorm", "norm1"),
    ("intermediate.dense", "feed_forward.up"),
    ("output.dense", "feed_forward.down"),
    ("output.LayerNorm", "norm2"),
)
"""What parts of BERT are called in published checkpoints, and here; the first match counts."""


def load_bert(bert: Bert, weights: Mapping[str, Tensor]) -> None:
    """Fill a BERT from the tensors of a published checkpoint."""
    state = {}
    for name, tensor in weights.items():
        for theirs, ours in _MINILM_NAMES:
            name = name.replace(theirs, ours)
        if name in bert.state_dict():
            state[name] = tensor
    bert.load_state_dict(state)
