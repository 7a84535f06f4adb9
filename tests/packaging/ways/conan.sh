# shellcheck shell=bash
# The recipe and its test_package: by Conan 2 where there is one, else the recipe's methods run against a stand-in for
# Conan and the test_package is built with the folder that they packaged.
clone
if command -v conan >/dev/null && conan --version | grep -q 'version 2'; then
    begin
    conan profile detect
    conan create src --build=missing -s compiler.cppstd=20 --test-folder=tests/packaging/conan/test_package
    row "$(conan --version | sed 's/ version//')" eigen
    return
fi
if ! command -v python3 >/dev/null; then
    begin
    row "no conan, no python3" - "skipped"
    return
fi
for backend in $(backends); do
    begin
    python3 src/tests/packaging/conan/check_recipe.py src/conanfile.py recipe "$backend"
    configure src/tests/packaging/conan/test_package app -DCMAKE_PREFIX_PATH="$PWD/recipe/package" \
        -DNSVD_PROGRAM="$PROGRAM"
    cmake --build app
    runs app/app "$backend"
    row "no Conan: recipe run with a stand-in" "$backend" "ok (stub)"
    rm -rf recipe app
done
