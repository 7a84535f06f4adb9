# SPDX-License-Identifier: MIT
"""A LLaMA in plain PyTorch, for where there is no `transformers`: load_llama("examples/data/tinylm"). Modules are called
as there, so that what is written for one works with the other."""
import json, pathlib
import torch
from torch import nn
from load_factors import load_file


class Norm(nn.Module):
    def __init__(self, size, eps):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(size)), eps

    def forward(self, x):
        return self.weight * x * (x.square().mean(-1, keepdim=True) + self.eps).rsqrt()


class Attention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c, self.size = c, c["hidden_size"] // c["num_attention_heads"]
        features, few = c["hidden_size"], c["num_key_value_heads"] * self.size
        self.q_proj, self.o_proj = nn.Linear(features, features, bias=False), nn.Linear(features, features, bias=False)
        self.k_proj, self.v_proj = nn.Linear(features, few, bias=False), nn.Linear(features, few, bias=False)

    def rotate(self, x):  # rotary positions: the two halves of each head are the pairs
        angles = torch.arange(x.shape[-2])[:, None] * self.c["rope_theta"] ** (-torch.arange(0, self.size, 2) / self.size)
        a, b = x.chunk(2, -1)
        return torch.cat([a * angles.cos() - b * angles.sin(), b * angles.cos() + a * angles.sin()], -1)

    def forward(self, x):
        q, k, v = (p(x).unflatten(-1, (-1, self.size)).transpose(-2, -3) for p in (self.q_proj, self.k_proj, self.v_proj))
        k, v = (y.repeat_interleave(q.shape[-3] // k.shape[-3], -3) for y in (k, v))
        scores = self.rotate(q) @ self.rotate(k).transpose(-1, -2) / self.size ** 0.5
        later = torch.ones(x.shape[-2], x.shape[-2], dtype=torch.bool).triu(1)
        y = scores.masked_fill(later, -torch.inf).softmax(-1) @ v
        return self.o_proj(y.transpose(-2, -3).flatten(-2))


class FeedForward(nn.Module):
    def __init__(self, c):
        super().__init__()
        inner, features = c["intermediate_size"], c["hidden_size"]
        self.gate_proj, self.up_proj = nn.Linear(features, inner, bias=False), nn.Linear(features, inner, bias=False)
        self.down_proj = nn.Linear(inner, features, bias=False)

    def forward(self, x):
        return self.down_proj(nn.functional.silu(self.gate_proj(x)) * self.up_proj(x))


class Block(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.input_layernorm, self.post_attention_layernorm = (Norm(c["hidden_size"], c["rms_norm_eps"]) for _ in range(2))
        self.self_attn, self.mlp = Attention(c), FeedForward(c)

    def forward(self, x):
        x = x + self.self_attn(self.input_layernorm(x))
        return x + self.mlp(self.post_attention_layernorm(x))


class Llama(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.model = nn.Module()
        self.model.embed_tokens = nn.Embedding(c["vocab_size"], c["hidden_size"])
        self.model.layers = nn.ModuleList(Block(c) for _ in range(c["num_hidden_layers"]))
        self.model.norm = Norm(c["hidden_size"], c["rms_norm_eps"])
        self.lm_head = nn.Linear(c["hidden_size"], c["vocab_size"], bias=False)

    def forward(self, tokens):
        x = self.model.embed_tokens(tokens)
        for block in self.model.layers:
            x = block(x)
        return self.lm_head(self.model.norm(x))


def load_llama(folder):
    """The model of a folder with config.json and model.safetensors, in single precision."""
    folder = pathlib.Path(folder)
    model = Llama(json.loads((folder / "config.json").read_text()))
    model.load_state_dict({name: tensor.float() for name, tensor in load_file(folder / "model.safetensors").items()})
    return model.eval()
