#!/usr/bin/env bash
# nsvd-llm compress by 1 process and by 2, a thread each, in turns: seconds, efficiency, and how far apart the results
# are. A model of random weights; arguments: hidden size, intermediate size, blocks, windows of 256 tokens.
#   ./benchmarks/mpi.sh [1024 2816 4 32]        (after ./examples/run.sh or cmake --preset release, with MPI)
set -euo pipefail
cd "$(dirname "$0")/.."
hidden=${1:-1024} intermediate=${2:-2816} blocks=${3:-4} windows=${4:-32} repetitions=${REPETITIONS:-3}
program=${NSVD_LLM:-build/release/bin/nsvd-llm}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

python3 benchmarks/random_llama.py "$folder/model" "$hidden" "$intermediate" "$blocks"
compress() {
    rm -rf "$folder/out-$1"
    mpirun -np "$1" "$program" compress --model "$folder/model" --calibration "$folder/model/ids.u16" --context 256 \
        --windows "$windows" --compression 0.3 --method nsvd-1 --threads 1 --output "$folder/out-$1" >/dev/null
    python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["seconds"])' "$folder/out-$1/report.json" \
        | tee -a "$folder/seconds-$1"
}
for _ in $(seq "$repetitions"); do
    echo "1 process: $(compress 1) s    2 processes: $(compress 2) s"
done
python3 - "$folder" "$hidden" "$intermediate" "$blocks" "$windows" <<'PYTHON'
import json, pathlib, statistics, sys
folder, hidden, intermediate, blocks, windows = pathlib.Path(sys.argv[1]), *sys.argv[2:]
one, two = (statistics.median(map(float, (folder / f"seconds-{n}").read_text().split())) for n in (1, 2))
a, b = (json.loads((folder / f"out-{n}/report.json").read_text())["layers"] for n in (1, 2))
worst = max(abs(x["weighted_error"] / y["weighted_error"] - 1) for x, y in zip(a, b))
same = sum(x == y for x, y in zip(*((folder / f"out-{n}/model.safetensors").read_bytes() for n in (1, 2))))
size = (folder / "out-1/model.safetensors").stat().st_size
print(f"LLaMA {hidden}/{intermediate}, {blocks} blocks, {windows} windows of 256 tokens, NSVD-I 30 %: {one:.1f} s and "
      f"{two:.1f} s (medians), efficiency {one / two / 2:.2f}; ranks equal: {[x['rank'] for x in a] == [x['rank'] for x in b]}, "
      f"weighted errors within {worst:.1e}, {size - same} of {size} bytes differ")
PYTHON
