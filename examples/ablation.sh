#!/usr/bin/env bash
# What each part of `--method best` contributes at equal bytes: every part added in turn, then each left out alone,
# on the embedded model and, where its folder is there, on stories260K. Writes docs/ablation.md. Some 15 minutes.
#   ./examples/ablation.sh [FOLDER of models/stories260K and texts/*.txt, default ../shared]
set -euo pipefail
cd "$(dirname "$0")/.."
. cmake/packages.sh
shared=${1:-../shared}

need_packages "${build_packages[@]}"
cmake -S . -B build/examples -G Ninja -DCMAKE_BUILD_TYPE=Release -DNSVD_BUILD_TESTS=OFF -DNSVD_NATIVE=ON
cmake --build build/examples --target nsvd-llm

p=asvd-1+pivoted
recipes=asvd-1,nsvd-1,$p,$p+greedy,$p+measured,$p+measured+own-text,best
recipes+=,asvd-1+measured+anchored+own-text,$p+anchored+own-text,$p+greedy+anchored+own-text,$p+measured+anchored
recipes+=,best+bias,best+joint,nsvd-1+pivoted+measured+anchored+own-text

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# MODEL CALIBRATION TEXT... : the first windows of each text, as a table
table() {
    local model=$1 calibration=$2 texts=() path name
    shift 2
    for path in "$@"; do
        name=$(basename "$path" .txt)
        head -c 40000 "$path" > "$scratch/$name.txt"
        texts+=(--text "$name=$scratch/$name.txt")
    done
    printf '\n```\n'
    build/examples/bin/nsvd-llm compare --model "$model" --calibration "$calibration" "${texts[@]}" --context 256 \
        --compression 0.2,0.3,0.4,0.5 --methods "$recipes" --against nsvd-1
    printf '```\n'
}

own=examples/data/texts
english=("$own"/{encyclopaedia,news,web,commands,instructions,stories}.txt)
{
    cat <<'TEXT'
# What each part of `best` contributes

Written by `./examples/ablation.sh`: perplexity of models whose linear layers take equal bytes (column `bytes`; masks of
pivoted storage counted). The first rows of a group add a part at a time; then `best` without one of its parts, and with
one more. [Mathematics](mathematics.md) has the formulas, `nsvd-llm compare --help` the names.

- `pivoted`: k rows or columns of W′ itself and the coefficients of the others, so a larger rank for the same bytes.
- `greedy`: ranks by the least sum of relative losses over all layers; `measured`: by the divergence of the model's
  predictions with each layer compressed alone, measured at nine ranks on 4096 tokens.
- `own-text`: calibrated on text that the model writes itself and on random tokens as well, at half the weight of the
  text each. No other text is used.
- `anchored`: block after block, each layer made for the inputs that the compressed ones before it give, layers that
  write to the residual stream for what that lacks by then.

TEXT
    printf 'Measured on %s, %s (%s processors).\n' "$(date +%F)" \
        "$(sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo 2>/dev/null | head -n 1)" "$(nproc)"
    printf '\n## tinylm, calibrated on one English text\n'
    table examples/data/tinylm $own/calibration.txt "${english[@]}" $own/chinese.txt $own/japanese.txt
    if [ -e "$shared/models/stories260K" ]; then
        printf '\n## stories260K, calibrated on TinyStories\n'
        table "$shared/models/stories260K" "$shared/texts/tinystories.calibration.txt" \
            "$shared"/texts/{tinystories,wikitext2,c4,snips}.txt "${english[@]}"
    fi
} > "$scratch/ablation.md"
mv "$scratch/ablation.md" docs/ablation.md
say "Written: docs/ablation.md"
