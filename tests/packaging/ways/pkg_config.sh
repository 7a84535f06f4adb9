# shellcheck shell=bash
# nsvd.pc, from a prefix that was moved after the installation.
if ! command -v pkg-config >/dev/null; then
    begin
    row pkg-config - "skipped (no pkg-config)"
    return
fi
for backend in $(backends); do
    begin
    clone
    library build "$backend"
    cmake --install build --prefix "$PWD/prefix"
    mv prefix moved
    rm -rf src build
    PKG_CONFIG_PATH=$(dirname "$(find "$PWD/moved" -name nsvd.pc)")
    export PKG_CONFIG_PATH
    # shellcheck disable=SC2046,SC2086
    $CXX -std=c++20 $FLAGS "$PROGRAM" $(pkg-config --cflags --libs nsvd) -o app
    runs ./app "$backend"
    row "pkg-config $(pkg-config --version)" "$backend"
    [ "$(pkg-config --modversion nsvd)" = "$(sed -n 's/.*NSVD_VERSION "\(.*\)"/\1/p' moved/include/nsvd/version.hpp)" ] ||
        fail "nsvd.pc has another version than the headers"
    rm -rf moved app
done
