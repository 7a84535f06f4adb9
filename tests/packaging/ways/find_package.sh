# shellcheck shell=bash
# cmake --install, then find_package; the installed tree is moved, installed over itself and staged with DESTDIR.
for backend in $(backends); do
    begin
    clone
    library build "$backend"
    cmake --install build --prefix "$PWD/prefix"
    consumer app -DCMAKE_PREFIX_PATH="$PWD/prefix"
    runs app/app "$backend"
    row "$(cmake_version)" "$backend"

    # No path of this machine in what was installed, but those of LAPACKE in nsvd.pc.
    ! grep -rn "$PWD" prefix || fail "the installed files name the folder they were made in"
    find prefix -type f | sort >first
    cmake --install build --prefix "$PWD/prefix"
    find prefix -type f | sort | cmp - first || fail "installing twice gives other files"
    DESTDIR="$PWD/stage" cmake --install build --prefix /opt/nsvd
    (cd stage/opt/nsvd && find . -type f | sort) | sed 's,^\.,prefix,' | cmp - first || fail "DESTDIR gives other files"
    for header in $(cd src/include && find . -name '*.hpp'); do
        [ -f "prefix/include/$header" ] || fail "not installed: $header"
    done

    # Moved, with the source and the build gone: the same program builds against the package's new place.
    mv prefix moved
    rm -rf src build app
    configure app.src app -DCMAKE_PREFIX_PATH="$PWD/moved"
    if [ "$backend" = lapack ] || ! has_lapacke; then
        cmake --build app
        runs app/app "$backend"
        say "moved to another prefix: builds and runs ($backend)"
    fi
    rm -rf moved stage app app.src
done
