# An overlay port: it packages the source tree that it lies in.
#
#     vcpkg install nsvd --overlay-ports=nsvd/cmake/ports        (or "nsvd[lapack]")
#
# vcpkg caches by the contents of this folder, so after a change elsewhere in the tree: --no-binarycaching. In a registry
# vcpkg_from_github would stand in place of the next line.
#
# The feature lapack takes LAPACKE from the system (Debian: liblapacke-dev libopenblas-dev). vcpkg's openblas is built
# without LAPACK, its lapack-reference and clapack without LAPACKE, and requests for it (microsoft/vcpkg 17498, 23333,
# 34562, 41911, 42345) were closed. A port of LAPACKE in another overlay is found as well.
get_filename_component(SOURCE_PATH "${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)

set(VCPKG_BUILD_TYPE release) # headers only

set(backend eigen)
if("lapack" IN_LIST FEATURES)
    set(backend lapack)
endif()

vcpkg_cmake_configure(
    SOURCE_PATH "${SOURCE_PATH}"
    OPTIONS
        -DNSVD_BACKEND=${backend}
        -DNSVD_BUILD_TESTS=OFF
        -DNSVD_BUILD_EXAMPLES=OFF
        -DNSVD_BUILD_FUZZERS=OFF
        -DNSVD_INSTALL=ON
)
vcpkg_cmake_install()
vcpkg_cmake_config_fixup(CONFIG_PATH lib/cmake/nsvd)
vcpkg_fixup_pkgconfig()

file(REMOVE_RECURSE "${CURRENT_PACKAGES_DIR}/share/doc")
file(INSTALL "${CMAKE_CURRENT_LIST_DIR}/usage" DESTINATION "${CURRENT_PACKAGES_DIR}/share/${PORT}")
vcpkg_install_copyright(FILE_LIST "${SOURCE_PATH}/LICENSE")
