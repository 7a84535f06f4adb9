#!/usr/bin/env bash
# Installs what is missing, builds nsvd-llm, and runs the main job on the embedded model: the methods of the paper and
# our preset `best` at five compressions, calibrated on one English text and evaluated on eight texts unlike each other. A few minutes.
set -euo pipefail
cd "$(dirname "$0")/.."
. cmake/packages.sh

need_packages "${build_packages[@]}"

say "Building nsvd-llm in build/examples"
cmake -S . -B build/examples -G Ninja -DCMAKE_BUILD_TYPE=Release -DNSVD_BUILD_TESTS=OFF -DNSVD_NATIVE=ON
cmake --build build/examples --target nsvd-llm

say "Comparing all methods on examples/data/tinylm"
data=examples/data
texts=()
for name in encyclopaedia news web commands instructions stories chinese japanese; do
    texts+=(--text "$name=$data/texts/$name.txt")
done
build/examples/bin/nsvd-llm compare --model $data/tinylm --calibration $data/texts/calibration.txt \
    "${texts[@]}" --in-domain encyclopaedia --compression 0.1,0.2,0.3,0.4,0.5 \
    --methods svd,asvd-0,asvd-1,asvd-2,nsvd-1,nsvd-2,nid-1,nid-2,best \
    --similarity --json build/report.json --html build/report.html

say "The same as a page with plots: $PWD/build/report.html"
