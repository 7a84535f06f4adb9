# shellcheck shell=bash
# No build system: the include folder and Eigen's.
begin
clone
eigen=$(pkg-config --variable=includedir eigen3 2>/dev/null || true)
for folder in "${eigen:-}" /usr/include/eigen3 /usr/local/include/eigen3 /opt/homebrew/include/eigen3; do
    if [ -f "$folder/Eigen/Core" ]; then eigen=$folder; break; fi
done
# shellcheck disable=SC2086
$CXX -std=c++20 $FLAGS -I src/include -I "$eigen" "$PROGRAM" -o app
runs ./app eigen
row "$($CXX --version | head -1 | sed 's/ (.*) / /')" eigen
