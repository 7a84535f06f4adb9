# SPDX-License-Identifier: MIT
"""compress_with_hooks.py NSVD_LLM MODEL TEXT OUTPUT, for a model of bytes: forward hooks gather statistics,
`nsvd-llm compress` makes factors of them (docs/format.md), and these become pairs of nn.Linear."""
import functools, pathlib, subprocess, sys
import torch
from torch import nn
from load_factors import load_factors, save_file
from tiny_llama import load_llama  # or: transformers.AutoModelForCausalLM.from_pretrained

# The first of the layers that share an input, and what a file of statistics calls it.
INPUTS = {"self_attn.q_proj": "attention.", "self_attn.o_proj": "attention_output.",
          "mlp.gate_proj": "feed_forward.", "mlp.down_proj": "feed_forward_output."}

def add(sums, at, layer, inputs):  # a token a row of x
    x = inputs[0].flatten(0, -2).double()
    count = torch.tensor([len(x)])
    for name, value in {"gram": x.T @ x, "sum": x.sum(0), "sum_abs": x.abs().sum(0), "tokens": count,
                        "weight": count.double()}.items():
        sums[at + name] = sums.get(at + name, 0) + value
    sums[at + "max_abs"] = x.abs().amax(0).maximum(sums.get(at + "max_abs", x[0].abs()))

@torch.no_grad()
def gather(model, windows):
    sums = {}
    hooks = [layer.register_forward_pre_hook(functools.partial(add, sums, name[:-len(end)] + INPUTS[end]))
             for name, layer in model.named_modules() for end in INPUTS if name.endswith(end)]
    for window in windows:
        model(window[None])
    for hook in hooks:
        hook.remove()  # Gram matrices are to be symmetric to the bit:
    return {name: (s + s.T) / 2 if name.endswith("gram") else s for name, s in sums.items()}

def put_in(model, folder):  # a pivoted layer, which has `kept` lines, stays load_factors.CompressedLinear
    for name, c in load_factors(folder)[0].items():
        pair = nn.Sequential(nn.Linear(*c.right.T.shape, bias=False), nn.Linear(*c.left.T.shape, c.bias is not None))
        for part, values in zip(pair.parameters(), (c.right, c.left, c.bias)):
            part.data = values.float()
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, pair if c.kept is None else c.float())

if __name__ == "__main__":
    nsvd_llm, folder, text, output = sys.argv[1:]
    model, windows = load_llama(folder), torch.tensor(list(pathlib.Path(text).read_bytes()))[:48384].split(256)
    save_file(gather(model, windows), output + ".statistics", {"format": "nsvd.calibrations", "version": "1"})
    subprocess.run([nsvd_llm, "compress", "--model", folder, "--statistics", output + ".statistics",
                    "--compression", "0.3", "--method", "nsvd-1", "--output", output], check=True)
    put_in(model, output)
    loss = nn.functional.cross_entropy(model(windows[0][None])[0, :-1], windows[0][1:])
    print(f"perplexity of the first window, by pairs of nn.Linear: {loss.exp():.3f}")
