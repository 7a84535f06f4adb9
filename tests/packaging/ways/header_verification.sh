# shellcheck shell=bash
# Every header compiled on its own, with what its target gives and nothing included before it; those of ext/ whose
# library is there.
clone
for backend in $(backends); do
    begin
    library "build-$backend" "$backend" -DCMAKE_VERIFY_INTERFACE_HEADER_SETS=ON | tee log
    cmake --build "build-$backend" --target all_verify_interface_header_sets
    left_out=$(grep -c '^-- Not verified' log || true)
    headers=$(find src/include -name '*.hpp' | wc -l)
    row "$(cmake_version), $((headers - left_out)) of $headers headers" "$backend"
done
