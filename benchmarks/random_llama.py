#!/usr/bin/env python3
"""Writes a folder with a LLaMA model of random BF16 weights, and token ids to calibrate on: random_llama.py FOLDER
HIDDEN INTERMEDIATE BLOCKS. Nothing but the standard library."""
import json
import pathlib
import random
import struct
import sys

folder, hidden, intermediate, blocks = pathlib.Path(sys.argv[1]), *map(int, sys.argv[2:5])
heads, vocabulary, tokens = hidden // 64, 1024, 64 * 1024
folder.mkdir(parents=True, exist_ok=True)
source = random.Random(0)

shapes = {"model.embed_tokens.weight": (vocabulary, hidden), "lm_head.weight": (vocabulary, hidden), "model.norm.weight": (hidden,)}
for block in range(blocks):
    name = f"model.layers.{block}."
    for layer in ("q", "k", "v", "o"):
        shapes[f"{name}self_attn.{layer}_proj.weight"] = (hidden, hidden)
    for layer in ("gate", "up"):
        shapes[f"{name}mlp.{layer}_proj.weight"] = (intermediate, hidden)
    shapes[f"{name}mlp.down_proj.weight"] = (hidden, intermediate)
    for norm in ("input_layernorm", "post_attention_layernorm"):
        shapes[f"{name}{norm}.weight"] = (hidden,)


def numbers(shape):
    """BF16: norms are 1, the others of random sign and digits between 2^-6 and 2^-5."""
    if len(shape) == 1:
        return struct.pack("<H", 0x3F80) * shape[0]
    count = shape[0] * shape[1]
    bits = int.from_bytes(source.randbytes(2 * count), "little")
    digits = int.from_bytes(struct.pack("<H", 0x807F) * count, "little")
    exponent = int.from_bytes(struct.pack("<H", (127 - 6) << 7) * count, "little")
    return (bits & digits | exponent).to_bytes(2 * count, "little")


header, at = {}, 0
for name, shape in shapes.items():
    size = 2 * shape[0] * (shape[1] if len(shape) == 2 else 1)
    header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [at, at + size]}
    at += size
text = json.dumps(header).encode()
text += b" " * (-len(text) % 8)
with open(folder / "model.safetensors", "wb") as file:
    file.write(struct.pack("<Q", len(text)) + text)
    for shape in shapes.values():
        file.write(numbers(shape))
(folder / "config.json").write_text(
    json.dumps({
        "model_type": "llama", "hidden_act": "silu", "hidden_size": hidden, "intermediate_size": intermediate,
        "num_hidden_layers": blocks, "num_attention_heads": heads, "num_key_value_heads": heads, "vocab_size": vocabulary,
        "max_position_embeddings": 2048, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": False,
        "torch_dtype": "bfloat16"}, indent=2) + "\n")
(folder / "ids.u16").write_bytes(struct.pack(f"<{tokens}H", *(source.randrange(vocabulary) for _ in range(tokens))))
