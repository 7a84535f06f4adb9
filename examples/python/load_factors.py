# SPDX-License-Identifier: MIT
"""Compressed layers in PyTorch: load_factors("DIR-30") gives {name: CompressedLinear}, and {name: tensor} of the rest."""
import json, mmap, pathlib, struct
import torch

TYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "U8": torch.uint8,
         "I64": torch.int64}


def load_file(path):
    """The tensors of a safetensors file, mapped; the same as safetensors.torch.load_file."""
    with open(path, "rb") as file:
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    start = 8 + struct.unpack("<Q", data[:8])[0]

    def tensor(dtype, shape, data_offsets):
        count = torch.Size(shape).numel()
        return torch.frombuffer(data, dtype=TYPES[dtype], offset=start + data_offsets[0], count=count).reshape(shape)
    return {name: tensor(**entry) for name, entry in json.loads(data[8:start]).items() if name != "__metadata__"}


def save_file(tensors, path, metadata):
    """Writes a safetensors file; the same as safetensors.torch.save_file."""
    header, end, names = {"__metadata__": metadata}, 0, {dtype: name for name, dtype in TYPES.items()}
    for name, t in tensors.items():
        size = t.numel() * t.element_size()
        header[name] = {"dtype": names[t.dtype], "shape": list(t.shape), "data_offsets": [end, end := end + size]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for t in tensors.values():
            file.write(t.contiguous().numpy().tobytes())


class CompressedLinear(torch.nn.Module):
    """Layer `name` of m rows: y = left (right x), in pivots where the tensors have some, plus the bias."""

    def __init__(self, tensors, name, m):
        super().__init__()
        for part in "left", "right":
            self.register_buffer(part, tensors[f"{name}.{part}.weight"])
        self.register_buffer("bias", tensors.get(f"{name}.bias"))
        self.rows = len(self.left) != m  # kept, if there are pivots
        kept, mask = None, tensors.get(f"{name}.pivots")
        if mask is not None:
            lines = m if self.rows else self.left.shape[1] + self.right.shape[1]
            kept = (mask[:, None] >> torch.arange(8, dtype=torch.uint8) & 1).flatten()[:lines].bool()
        self.register_buffer("kept", kept)

    # [forward]
    def forward(self, x):
        if self.kept is None:
            y = x @ self.right.T @ self.left.T
        elif self.rows:
            z = x @ self.right.T
            y = x.new_empty(*x.shape[:-1], len(self.kept))
            y[..., self.kept] = z
            y[..., ~self.kept] = z @ self.left.T
        else:
            y = (x[..., self.kept] + x[..., ~self.kept] @ self.right.T) @ self.left.T
        return y if self.bias is None else y + self.bias
    # [forward]


def load_factors(folder):
    """The compressed layers of a folder, in one file or several, and the tensors that belong to none."""
    folder, files, tensors = pathlib.Path(folder), ["model.safetensors"], {}
    if not (folder / files[0]).exists():
        files = set(json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"].values())
    for file in files:
        tensors.update(load_file(folder / file))
    sizes = {layer["name"]: layer["m"] for layer in json.loads((folder / "report.json").read_text())["layers"]}
    names = [name for name in sizes if f"{name}.left.weight" in tensors]
    layers = {name: CompressedLinear(tensors, name, sizes[name]) for name in names}
    parts = {f"{name}.{part}" for name in names for part in ("left.weight", "right.weight", "pivots", "bias")}
    return layers, {name: tensor for name, tensor in tensors.items() if name not in parts}
