# shellcheck shell=bash
# What cannot work is said when the consumer is configured, in words; and configuring fetches nothing.
begin
clone
mkdir app.src
cp "$NSVD_PACKAGING"/consumer/* app.src/
library build eigen
cmake --install build --prefix "$PWD/prefix"
here=-DCMAKE_PREFIX_PATH=$PWD/prefix
refuses 'compatible with requested version "99"' configure app.src app1 "$here" -DNSVD_WANTED=99
refuses 'compatible with requested version "0.0.1"' configure app.src app2 "$here" -DNSVD_WANTED=0.0.1
configure app.src app3 "$here" -DNSVD_WANTED=0.1
refuses "it is auto, lapack or eigen" library build-bad mkl
refuses "nsvd" configure app.src app4 "$here" -DCMAKE_DISABLE_FIND_PACKAGE_Eigen3=ON

if has_lapacke; then
    rm -rf prefix
    library build-lapack lapack
    cmake --install build-lapack --prefix "$PWD/prefix"
    refuses "installed with the LAPACKE backend, but no LAPACKE with CBLAS was found" \
        configure app.src app5 "$here" -DCMAKE_DISABLE_FIND_PACKAGE_LAPACKE=ON
    refuses "installed with the LAPACKE backend, but no LAPACKE with CBLAS was found" \
        configure app.src app6 "$here" -DLAPACKE_LIBRARY= -DLAPACKE_OPENBLAS_LIBRARY= -DLAPACKE_BLAS_LIBRARY=
    # 32-bit libraries under 64-bit headers.
    lapacke=$(sed -n 's/^LAPACKE_LIBRARY:FILEPATH=//p' build-lapack/CMakeCache.txt)
    blas=$(sed -n 's/^LAPACKE_OPENBLAS_LIBRARY:FILEPATH=//p' build-lapack/CMakeCache.txt)
    refuses "are not as wide as lapack_int" library build-ilp64 lapack -DNSVD_ILP64=ON -DLAPACKE_LIBRARY="$lapacke" \
        -DLAPACKE_OPENBLAS_LIBRARY="$blas" -DCBLAS_INCLUDE_DIR="$(sed -n 's/^CBLAS_INCLUDE_DIR:PATH=//p' build-lapack/CMakeCache.txt)"
fi

! grep -nE 'FetchContent|ExternalProject|file\(DOWNLOAD' src/CMakeLists.txt src/cmake/*.cmake src/examples/CMakeLists.txt \
    src/examples/llm/CMakeLists.txt src/tests/CMakeLists.txt || fail "configuring may fetch something"
if unshare -rn true 2>/dev/null; then
    unshare -rn cmake -S src -B offline -DNSVD_BUILD_TESTS=OFF -DNSVD_BUILD_EXAMPLES=OFF
    say "configures without a network"
fi
row "$(cmake_version)" "eigen, lapack"
