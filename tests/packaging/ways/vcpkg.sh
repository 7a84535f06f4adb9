# shellcheck shell=bash
# The overlay port: by vcpkg where there is one (VCPKG_ROOT or in PATH), else its portfile with the functions it calls
# replaced, after which the package must satisfy vcpkg's rules.
clone
ports=$PWD/src/cmake/ports
if command -v vcpkg >/dev/null; then
    begin
    vcpkg install nsvd --overlay-ports="$ports" --x-install-root="$PWD/installed" --no-binarycaching
    consumer app -DCMAKE_PREFIX_PATH="$(dirname "$(find "$PWD/installed" -path '*share/nsvd' -type d)" | xargs dirname)"
    runs app/app eigen
    row "$(vcpkg version | head -1 | sed 's/.*version /vcpkg /; s/-[0-9a-f]*$//')" eigen
    return
fi
for backend in $(backends); do
    begin
    features=core
    [ "$backend" = eigen ] || features="core;lapack"
    cmake -DPORT_DIR="$ports/nsvd" -DPACKAGES="$PWD/packages" -DWORK="$PWD/work" "-DFEATURES=$features" \
        "-DCONFIGURE=-DCMAKE_CXX_FLAGS=$FLAGS" -P "$NSVD_PACKAGING/vcpkg/stub.cmake"
    consumer app -DCMAKE_PREFIX_PATH="$PWD/packages/nsvd_stub"
    runs app/app "$backend"
    row "no vcpkg: port run with stubs" "$backend" "ok (stub)"
    rm -rf packages work app app.src
done
