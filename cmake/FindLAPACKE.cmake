# Finds a LAPACKE and the CBLAS that goes with it; defines LAPACKE::LAPACKE.
#
# OpenBLAS built with LAPACK carries all of it in one library; distributions that split it have liblapacke and
# libopenblas, or the reference libraries: liblapacke, liblapack, libblas, and libcblas where libblas lacks that part
# (BLA_VENDOR=Generic prefers these).
#
# LAPACKE_ILP64: the libraries with 64-bit integers, liblapacke64 and libopenblas64. A library whose integers are not
# as wide as its header says would compute wrong results silently; it is not accepted.
include(FindPackageHandleStandardArgs)

if(LAPACKE_ILP64)
    set(lapacke_suffix 64)
    set(LAPACKE_COMPILE_DEFINITIONS LAPACK_ILP64)
else()
    set(lapacke_suffix "")
    set(LAPACKE_COMPILE_DEFINITIONS)
endif()

find_path(LAPACKE_INCLUDE_DIR lapacke.h PATH_SUFFIXES openblas${lapacke_suffix} lapacke${lapacke_suffix})
if(LAPACKE_ILP64)
    find_path(CBLAS_INCLUDE_DIR cblas.h PATH_SUFFIXES openblas64 openblas64-pthread openblas64-openmp openblas64-serial)
else()
    find_path(CBLAS_INCLUDE_DIR cblas.h PATH_SUFFIXES openblas cblas)
endif()
find_library(LAPACKE_LIBRARY lapacke${lapacke_suffix})
find_library(LAPACKE_OPENBLAS_LIBRARY NAMES openblas${lapacke_suffix})
find_library(LAPACKE_CBLAS_LIBRARY cblas${lapacke_suffix})
find_library(LAPACKE_BLAS_LIBRARY blas${lapacke_suffix})
find_library(LAPACKE_LAPACK_LIBRARY lapack${lapacke_suffix})
mark_as_advanced(LAPACKE_INCLUDE_DIR CBLAS_INCLUDE_DIR LAPACKE_LIBRARY LAPACKE_OPENBLAS_LIBRARY
                 LAPACKE_CBLAS_LIBRARY LAPACKE_BLAS_LIBRARY LAPACKE_LAPACK_LIBRARY)

set(LAPACKE_LINK_LIBRARIES)
if(LAPACKE_LIBRARY)
    list(APPEND LAPACKE_LINK_LIBRARIES ${LAPACKE_LIBRARY})
endif()
if(LAPACKE_OPENBLAS_LIBRARY AND NOT BLA_VENDOR STREQUAL "Generic")
    list(APPEND LAPACKE_LINK_LIBRARIES ${LAPACKE_OPENBLAS_LIBRARY})
elseif(LAPACKE_BLAS_LIBRARY AND LAPACKE_LAPACK_LIBRARY)
    list(APPEND LAPACKE_LINK_LIBRARIES ${LAPACKE_LAPACK_LIBRARY})
    if(LAPACKE_CBLAS_LIBRARY)
        list(APPEND LAPACKE_LINK_LIBRARIES ${LAPACKE_CBLAS_LIBRARY})
    endif()
    list(APPEND LAPACKE_LINK_LIBRARIES ${LAPACKE_BLAS_LIBRARY})
endif()

set(LAPACKE_FAILURE_REASON)
if(LAPACKE_INCLUDE_DIR AND CBLAS_INCLUDE_DIR AND LAPACKE_LINK_LIBRARIES)
    include(CheckCXXSourceCompiles)
    include(CMakePushCheckState)
    cmake_push_check_state(RESET)
    set(CMAKE_REQUIRED_QUIET TRUE)
    set(CMAKE_REQUIRED_INCLUDES ${LAPACKE_INCLUDE_DIR} ${CBLAS_INCLUDE_DIR})
    set(CMAKE_REQUIRED_LIBRARIES ${LAPACKE_LINK_LIBRARIES})
    list(TRANSFORM LAPACKE_COMPILE_DEFINITIONS PREPEND -D OUTPUT_VARIABLE CMAKE_REQUIRED_DEFINITIONS)

    # What counts is that a program with the functions of both links,
    check_cxx_source_compiles(
        "#include <cblas.h>
#include <lapacke.h>
int main() {
    double x = 1;
    cblas_dscal(1, 1.0, &x, 1);
    return LAPACKE_dpotrf_work(LAPACK_COL_MAJOR, 'L', 1, &x, 1);
}"
        LAPACKE_LINKS)
    cmake_pop_check_state()

    # and that both take integers as wide as lapack_int. dgetrf writes integers, so that their width can be seen; of
    # 2 - 2^32, 32-bit libraries see 2 and 64-bit ones a negative size, at which dscal does nothing.
    if(LAPACKE_LINKS AND NOT DEFINED LAPACKE_INTEGERS AND NOT CMAKE_CROSSCOMPILING)
        set(source "${CMAKE_BINARY_DIR}/CMakeFiles/lapacke_integers.cpp")
        file(WRITE "${source}"
             "#include <cstdint>
extern \"C\" void cblas_dscal(std::int64_t, double, double*, std::int64_t);
extern \"C\" std::int64_t LAPACKE_dgetrf_work(int, std::int64_t, std::int64_t, double*, std::int64_t, void*);
#include <lapacke_config.h>
int main() {
    const std::int64_t n = std::int64_t(2) - (std::int64_t(1) << 32);
    double x[2] = {1, 1};
    cblas_dscal(n, 2.0, x, 1);
    double a[4] = {0, 1, 1, 0};
    std::int32_t pivots[4] = {-7, -7, -7, -7};
    LAPACKE_dgetrf_work(102, 2, 2, a, 2, pivots);
    const bool header = sizeof(lapack_int) == 4;
    return (x[1] == 2) == header && (pivots[2] == -7) == header ? 0 : 3;
}
")
        set(folders ${LAPACKE_INCLUDE_DIR} ${CBLAS_INCLUDE_DIR})
        list(TRANSFORM LAPACKE_COMPILE_DEFINITIONS PREPEND -D OUTPUT_VARIABLE definitions)
        try_run(
            LAPACKE_RUNS LAPACKE_RUN_COMPILES "${CMAKE_BINARY_DIR}" "${source}"
            CMAKE_FLAGS "-DINCLUDE_DIRECTORIES=${folders}"
            COMPILE_DEFINITIONS ${definitions}
            LINK_LIBRARIES ${LAPACKE_LINK_LIBRARIES})
        if(LAPACKE_RUNS STREQUAL "3")
            set(integers DIFFER)
        elseif(LAPACKE_RUNS STREQUAL "0")
            set(integers agree)
        else()
            set(integers unknown)
            message(STATUS "LAPACKE: could not try how wide its integers are")
        endif()
        set(LAPACKE_INTEGERS ${integers} CACHE INTERNAL "Whether LAPACKE's and CBLAS's integers are what lapacke.h says")
        unset(LAPACKE_RUNS CACHE)
        unset(LAPACKE_RUN_COMPILES CACHE)
    endif()
    set(LAPACKE_INTEGERS_AGREE TRUE)
    if(LAPACKE_INTEGERS STREQUAL "DIFFER")
        set(LAPACKE_INTEGERS_AGREE FALSE)
    endif()

    string(REPLACE ";" ", " libraries "${LAPACKE_LINK_LIBRARIES}")
    if(NOT LAPACKE_LINKS)
        set(LAPACKE_FAILURE_REASON "A program with LAPACKE and CBLAS does not link with ${libraries}.")
    elseif(NOT LAPACKE_INTEGERS_AGREE)
        set(LAPACKE_FAILURE_REASON
            "The integers of ${libraries} are not as wide as lapack_int of ${LAPACKE_INCLUDE_DIR}/lapacke.h (NSVD_ILP64 is for libraries with 64-bit integers).")
    endif()
endif()

find_package_handle_standard_args(
    LAPACKE REQUIRED_VARS LAPACKE_INCLUDE_DIR CBLAS_INCLUDE_DIR LAPACKE_LINKS LAPACKE_INTEGERS_AGREE
    REASON_FAILURE_MESSAGE "${LAPACKE_FAILURE_REASON}")

if(LAPACKE_FOUND AND NOT TARGET LAPACKE::LAPACKE)
    add_library(LAPACKE::LAPACKE INTERFACE IMPORTED)
    set_target_properties(
        LAPACKE::LAPACKE
        PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${LAPACKE_INCLUDE_DIR};${CBLAS_INCLUDE_DIR}"
                   INTERFACE_COMPILE_DEFINITIONS "${LAPACKE_COMPILE_DEFINITIONS}"
                   INTERFACE_LINK_LIBRARIES "${LAPACKE_LINK_LIBRARIES}")
endif()
