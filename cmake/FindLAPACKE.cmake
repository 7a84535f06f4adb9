# Finds a LAPACKE and the CBLAS that goes with it; defines LAPACKE::LAPACKE.
#
# OpenBLAS built with LAPACK carries all of it in one library; distributions that split it have liblapacke and
# libopenblas (or libcblas and libblas).
include(FindPackageHandleStandardArgs)

find_path(LAPACKE_INCLUDE_DIR lapacke.h PATH_SUFFIXES openblas lapacke)
find_path(CBLAS_INCLUDE_DIR cblas.h PATH_SUFFIXES openblas cblas)
find_library(LAPACKE_LIBRARY lapacke)
find_library(LAPACKE_OPENBLAS_LIBRARY openblas)
find_library(LAPACKE_CBLAS_LIBRARY cblas)
find_library(LAPACKE_BLAS_LIBRARY blas)
find_library(LAPACKE_LAPACK_LIBRARY lapack)
mark_as_advanced(LAPACKE_INCLUDE_DIR CBLAS_INCLUDE_DIR LAPACKE_LIBRARY LAPACKE_OPENBLAS_LIBRARY
                 LAPACKE_CBLAS_LIBRARY LAPACKE_BLAS_LIBRARY LAPACKE_LAPACK_LIBRARY)

set(LAPACKE_LINK_LIBRARIES)
if(LAPACKE_LIBRARY)
    list(APPEND LAPACKE_LINK_LIBRARIES ${LAPACKE_LIBRARY})
endif()
if(LAPACKE_OPENBLAS_LIBRARY)
    list(APPEND LAPACKE_LINK_LIBRARIES ${LAPACKE_OPENBLAS_LIBRARY})
elseif(LAPACKE_CBLAS_LIBRARY AND LAPACKE_BLAS_LIBRARY AND LAPACKE_LAPACK_LIBRARY)
    list(APPEND LAPACKE_LINK_LIBRARIES ${LAPACKE_LAPACK_LIBRARY} ${LAPACKE_CBLAS_LIBRARY} ${LAPACKE_BLAS_LIBRARY})
endif()

# What counts is that a program with the functions of both links.
if(LAPACKE_INCLUDE_DIR AND CBLAS_INCLUDE_DIR AND LAPACKE_LINK_LIBRARIES)
    include(CheckCXXSourceCompiles)
    include(CMakePushCheckState)
    cmake_push_check_state(RESET)
    set(CMAKE_REQUIRED_QUIET TRUE)
    set(CMAKE_REQUIRED_INCLUDES ${LAPACKE_INCLUDE_DIR} ${CBLAS_INCLUDE_DIR})
    set(CMAKE_REQUIRED_LIBRARIES ${LAPACKE_LINK_LIBRARIES})
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
endif()

find_package_handle_standard_args(LAPACKE REQUIRED_VARS LAPACKE_INCLUDE_DIR CBLAS_INCLUDE_DIR LAPACKE_LINKS)

if(LAPACKE_FOUND AND NOT TARGET LAPACKE::LAPACKE)
    add_library(LAPACKE::LAPACKE INTERFACE IMPORTED)
    set_target_properties(
        LAPACKE::LAPACKE
        PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${LAPACKE_INCLUDE_DIR};${CBLAS_INCLUDE_DIR}"
                   INTERFACE_LINK_LIBRARIES "${LAPACKE_LINK_LIBRARIES}")
endif()
