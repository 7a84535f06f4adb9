#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""How long does PyTorch take for the leading left singular subspace of the matrices that `solvers` wrote?

Usage: torch_svd.py MATRICES OUTPUT.json. Writes rows as Google Benchmark does; without PyTorch it says so and
writes none.
"""
import json
import os
import pathlib
import statistics
import sys
import time


def median_seconds(run, repetitions=3):
    times = []
    for _ in range(repetitions):
        start = time.perf_counter()
        result = run()
        times.append(time.perf_counter() - start)
    return statistics.median(times), result


def over_optimum(torch, a, left, values):
    """‖A − QQᵀA‖/‖A‖ in double, and the same over the least there is."""
    wide = a.double()
    q = left.double()
    error = torch.linalg.norm(wide - q @ (q.T @ wide))
    least = torch.linalg.norm(values[q.shape[1]:])
    return (error / torch.linalg.norm(wide)).item(), (error / least).item()


def rows_of(torch, path):
    import numpy

    kind, scalar = path.stem.split("_")
    a = torch.from_numpy(numpy.load(path))
    values = torch.linalg.svdvals(a.double())
    plain, full = median_seconds(lambda: torch.linalg.svd(a, full_matrices=False))
    for part in (0.05, 0.35):
        k = round(part * min(a.shape))
        runs = {"torch:linalg.svd": (plain, full[0][:, :k])}
        for power in (2, 8):
            seconds, result = median_seconds(lambda: torch.svd_lowrank(a, q=k, niter=power))
            runs[f"torch:svd_lowrank niter={power}"] = (seconds, result[0])
        for solver, (seconds, left) in runs.items():
            error, ratio = over_optimum(torch, a, left, values)
            of = "weighted" if kind == "weighted" else "plain"
            yield {
                "name": f"{kind}/{a.shape[0]}x{a.shape[1]}/{scalar}/k:{k}/{solver}",
                "run_type": "iteration",
                "repetitions": 3,
                "real_time": seconds,
                "time_unit": "s",
                "rows": a.shape[0],
                "cols": a.shape[1],
                "k": k,
                "k_over_n": k / min(a.shape),
                "blas_threads": torch.get_num_threads(),
                "times_plain_svd": seconds / plain,
                f"{of}_error": error,
                f"{of}_over_optimum": ratio,
                "label": f"scalar={scalar}|blas=of PyTorch {torch.__version__}|solver={solver}",
            }


def main():
    folder, output = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    try:
        import torch
    except ImportError:
        print("skipped: python3-torch is not installed")
        return
    torch.set_num_threads(int(os.environ.get("OPENBLAS_NUM_THREADS", os.cpu_count())))
    rows = [row for path in sorted(folder.glob("*.npy")) for row in rows_of(torch, path)]
    for row in rows:
        print(f"{row['name']:70} {row['real_time']:10.5f} s")
    output.write_text(json.dumps({"context": {}, "benchmarks": rows}, indent=1))


if __name__ == "__main__":
    main()
