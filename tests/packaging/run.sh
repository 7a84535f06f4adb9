#!/usr/bin/env bash
# The ways in: each builds and runs a small program against nsvd in a folder of its own, with its own HOME and nothing
# of this build tree. Without arguments all of them; `run.sh WAY...` some; a table at the end.
#
#   NSVD_PACKAGING_PROGRAM  the program to build, e.g. examples/quickstart.cpp (default: consumer/main.cpp)
#   NSVD_PACKAGING_FLAGS    compiler flags (default: -O0)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
all=(find_package add_subdirectory fetch_content include_path pkg_config vcpkg conan eigen_versions refusals)
if [ "${1-}" = --list ]; then
    printf '%s\n' "${all[@]}"
    exit
fi
[ $# -gt 0 ] || set -- "${all[@]}"
for way in "$@"; do
    [ -f "$here/ways/$way.sh" ] || { echo "run.sh: no way '$way'; there are: ${all[*]}" >&2; exit 2; }
done

work=$(mktemp -d "${TMPDIR:-/tmp}/nsvd-packaging.XXXXXX")
trap 'rm -rf "$work"' EXIT
export NSVD_PACKAGING="$here" NSVD_ROOT="$root" TABLE="$work/table"
printf 'way|tool|backend|seconds|result\n' >"$TABLE"

failed=0
for way in "$@"; do
    mkdir -p "$work/$way/home"
    echo "== $way"
    status=0
    # shellcheck disable=SC2016 # expanded by the inner shell
    (
        cd "$work/$way"
        # Only what a compiler needs of the caller's environment; python's managers find themselves by HOME.
        env -i PATH="$PATH" HOME="$work/$way/home" LANG=C.UTF-8 TMPDIR="$work/$way" OPENBLAS_NUM_THREADS=1 WAY="$way" \
            CXX="${CXX:-c++}" NSVD_PACKAGING="$here" NSVD_ROOT="$root" TABLE="$TABLE" \
            FLAGS="${NSVD_PACKAGING_FLAGS:--O0}" PROGRAM="${NSVD_PACKAGING_PROGRAM:-$here/consumer/main.cpp}" \
            ${LD_LIBRARY_PATH:+LD_LIBRARY_PATH="$LD_LIBRARY_PATH"} \
            ${CMAKE_GENERATOR:+CMAKE_GENERATOR="$CMAKE_GENERATOR"} \
            bash -euo pipefail -c '. "$NSVD_PACKAGING/support.sh"; . "$NSVD_PACKAGING/ways/$WAY.sh"'
    ) >"$work/$way.log" 2>&1 || status=$?
    if [ "$status" -ne 0 ]; then
        failed=1
        tail -40 "$work/$way.log"
        printf '%s|||||FAILED\n' "$way" >>"$TABLE"
    else
        grep '^   - ' "$work/$way.log" || true
    fi
    rm -rf "${work:?}/$way"
done
echo
column -t -s '|' "$TABLE" 2>/dev/null || cat "$TABLE"
# ctest counts a way as skipped when nothing of it could run.
if [ "$failed" -eq 0 ] && ! tail -n +2 "$TABLE" | grep -qv 'skipped'; then exit 77; fi
exit "$failed"
