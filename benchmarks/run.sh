#!/usr/bin/env bash
# Installs what is missing, installs nsvd into a folder of its own, builds the benchmarks against it and runs them.
#   benchmarks/run.sh                 a quick set, under 5 minutes; results in build/benchmarks/results
#   benchmarks/run.sh --full          the shapes of language models, about 25 minutes; results in benchmarks/results
#   benchmarks/run.sh --only REGEX    the rows whose names match, of either set; results in build/benchmarks/results
#   benchmarks/run.sh --data FOLDER   pipelines on real matrices (see README.md) in place of the sets
# OPENBLAS_NUM_THREADS is the number of cores unless it is set.
set -euo pipefail
cd "$(dirname "$0")/.."
. cmake/packages.sh

# python3-torch is measured too where it is installed, but half a gigabyte is not installed for that.
bench_packages=(libbenchmark-dev libspectra-dev python3-matplotlib)
full_packages=(libarmadillo-dev)

full=
only=
data=
while [ $# -gt 0 ]; do
    case $1 in
        --full) full=1 ;;
        --only) only=${2:?--only REGEX} && shift ;;
        --data) data=${2:?--data FOLDER} && shift ;;
        *) sed -n '2,7s/^# \{0,1\}//p' "$0" && exit 2 ;;
    esac
    shift
done
export OPENBLAS_NUM_THREADS=${OPENBLAS_NUM_THREADS:-$(nproc)}
export CMAKE_BUILD_PARALLEL_LEVEL=${CMAKE_BUILD_PARALLEL_LEVEL:-$(nproc)}
build=build/benchmarks
mkdir -p $build
raw=$build/raw
results=$build/results
[ -n "$full" ] && [ -z "$only$data" ] && results=benchmarks/results

need_packages "${build_packages[@]}" "${bench_packages[@]}" ${full:+"${full_packages[@]}"}
python=python3 # Debian's own has its matplotlib, whatever else comes first in PATH
[ -x /usr/bin/python3 ] && python=/usr/bin/python3

say "Installing nsvd into $build/prefix and building the benchmarks against it"
cmake -S . -B $build/nsvd -G Ninja -DCMAKE_BUILD_TYPE=Release -DNSVD_BACKEND=lapack -DNSVD_BUILD_TESTS=OFF \
    -DNSVD_BUILD_EXAMPLES=OFF >$build/configure.log 2>&1 || { cat $build/configure.log; exit 1; }
rm -rf $build/prefix
cmake --install $build/nsvd --prefix $build/prefix >/dev/null
cmake -S benchmarks -B $build/programs -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_PREFIX_PATH="$PWD/$build/prefix" \
    >>$build/configure.log 2>&1 || { cat $build/configure.log; exit 1; }
cmake --build $build/programs

rm -rf $raw
mkdir -p $raw $results
programs=(pipelines solvers breakdown calibration whitening apply)
[ -n "$data" ] && programs=(pipelines)
for program in "${programs[@]}"; do
    say "$program ($OPENBLAS_NUM_THREADS BLAS threads)"
    arguments=()
    [ "$program" = solvers ] && [ -z "$only" ] && arguments+=(--matrices $build/matrices)
    $build/programs/"$program" ${full:+--full} ${data:+--data "$data"} "${arguments[@]}" \
        ${only:+"--benchmark_filter=$only"} --benchmark_out=$raw/"$program".json
done

if [ -z "$only$data" ]; then
    say "PyTorch on the same matrices"
    $python benchmarks/torch_svd.py $build/matrices $raw/torch.json
    if [ -n "$full" ]; then
        say "Compile time"
        benchmarks/compile_time.sh | tee $raw/compile_time.txt
    fi
fi

say "Table and plots"
$python benchmarks/report.py $raw --output $results
say "Written to $results after $((SECONDS / 60)) min $((SECONDS % 60)) s"
