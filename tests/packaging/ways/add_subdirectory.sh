# shellcheck shell=bash
# The folder as part of another project, which must find nothing of its settings changed.
for backend in $(backends); do
    begin
    clone
    consumer app -DWAY=add_subdirectory -DNSVD_SOURCE="$PWD/src" -DNSVD_BACKEND="$backend" -DGIVEN_BUILD_TYPE= \
        -DGIVEN_CXX_FLAGS="$FLAGS"
    runs app/app "$backend"
    row "$(cmake_version)" "$backend"
    rm -rf src app app.src
done
