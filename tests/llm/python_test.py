# SPDX-License-Identifier: MIT
"""examples/python against nsvd-llm: python_test.py NSVD_LLM REPOSITORY. Statistics by hooks are those of `calibrate`, and a
model with pairs of nn.Linear has the perplexity that `evaluate` measures. Exits with 77 where there is no PyTorch."""
import json, math, os, pathlib, subprocess, sys, tempfile

SYSTEM = "/usr/bin/python3"  # may have what the first python3 of the path has not
try:
    import torch
except ImportError:
    if "--system" not in sys.argv and os.access(SYSTEM, os.X_OK):
        os.execv(SYSTEM, [SYSTEM, *sys.argv, "--system"])
    print("skipped: no python3 with torch (Debian: python3-torch)")
    sys.exit(77)
nsvd_llm, repository = sys.argv[1], pathlib.Path(sys.argv[2])
sys.dont_write_bytecode = True
sys.path.insert(0, str(repository / "examples/python"))
from compress_with_hooks import gather, put_in
from load_factors import CompressedLinear, load_file, save_file
from tiny_llama import load_llama

MODEL = str(repository / "examples/data/tinylm")
torch.set_grad_enabled(False)


def run(*arguments):
    result = subprocess.run([nsvd_llm, *map(str, arguments)], capture_output=True, text=True)
    assert result.returncode == 0, (arguments, result.stderr)
    return result.stdout


def perplexity(model, windows):
    return math.exp(sum(float(torch.nn.functional.cross_entropy(model(w[None])[0, :-1], w[1:])) for w in windows) / len(windows))


with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    text = (repository / "examples/data/texts/calibration.txt").read_bytes()[:20 * 256]
    (folder / "text.txt").write_bytes(text)
    windows = torch.tensor(list(text)).split(256)
    model = load_llama(MODEL)

    ours = gather(model, windows)
    run("calibrate", "--model", MODEL, "--calibration", folder / "text.txt", "--output", folder / "theirs.safetensors")
    theirs = load_file(folder / "theirs.safetensors")
    assert set(ours) == set(theirs), set(ours) ^ set(theirs)
    worst = max(float((ours[n].double() - theirs[n].double()).norm() / theirs[n].double().norm()) for n in theirs)
    print(f"{len(theirs)} tensors of statistics, the largest relative difference {worst:.1e}")
    assert worst < 1e-5, worst
    assert all(torch.equal(ours[n], theirs[n]) for n in theirs if n.endswith("tokens"))

    save_file(ours, folder / "ours.safetensors", {"format": "nsvd.calibrations", "version": "1"})
    dense = perplexity(model, windows)
    for method, pairs in ("nsvd-1", True), ("nsvd-1+pivoted", False):
        output = folder / method
        run("compress", "--model", MODEL, "--statistics", folder / "ours.safetensors", "--compression", 0.3, "--method", method,
            "--output", output)
        model = load_llama(MODEL)
        put_in(model, output)
        kinds = {type(model.get_submodule(f"model.layers.{i}.mlp.up_proj")) for i in range(4)}
        assert kinds == {torch.nn.Sequential if pairs else CompressedLinear}, kinds
        here = perplexity(model, windows)
        there = json.loads(run("evaluate", "--model", output, "--text", folder / "text.txt", "--json", "-"))["perplexity"]
        print(f"{method}: perplexity {here:.4f} in PyTorch, {there:.4f} by nsvd-llm; dense {dense:.4f}")
        assert abs(here / there - 1) < 1e-4 and dense < here
