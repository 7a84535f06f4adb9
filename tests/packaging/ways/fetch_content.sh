# shellcheck shell=bash
# FetchContent from a local path, and with FIND_PACKAGE_ARGS: the installed package if there is one, else the source.
backend=$(backends | sed 's/.* //')
begin
clone
given=(-DNSVD_SOURCE="$PWD/src" -DNSVD_BACKEND="$backend" -DGIVEN_BUILD_TYPE= -DGIVEN_CXX_FLAGS="$FLAGS")
consumer app -DWAY=FetchContent "${given[@]}"
runs app/app "$backend"
row "$(cmake_version)" "$backend"

if cmake -E capabilities | grep -q '"minor":2[0-3],.*"major":3\|"major":3,"minor":2[0-3],'; then
    say "FIND_PACKAGE_ARGS needs CMake 3.24"
else
    library build "$backend"
    cmake --install build --prefix "$PWD/prefix"
    configure app.src found -DWAY=FetchContent_or_find_package "${given[@]}" -DCMAKE_PREFIX_PATH="$PWD/prefix" >log
    grep -q 'nsvd was found: 1' log || fail "FIND_PACKAGE_ARGS did not take the installed package"
    configure app.src fallback -DWAY=FetchContent_or_find_package "${given[@]}" >log
    grep -q 'nsvd was found: 0\|nsvd was found: $' log || fail "FIND_PACKAGE_ARGS found a package where there is none"
    say "FIND_PACKAGE_ARGS: takes the installed package, or the source"
fi
