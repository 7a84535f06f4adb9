# shellcheck shell=bash
# Which Eigen is taken, by us and by the installed package: 3.4 and 5, nothing older. Where there is but one real Eigen
# it is the machine's, under the version number to be tried.
fake() {  # fake VERSION: an Eigen3 package of that version
    mkdir -p "eigen-$1/share/eigen3/cmake"
    cat >"eigen-$1/share/eigen3/cmake/Eigen3Config.cmake" <<CMAKE
if(NOT TARGET Eigen3::Eigen)
    add_library(Eigen3::Eigen INTERFACE IMPORTED)
    set_target_properties(Eigen3::Eigen PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "$eigen")
endif()
CMAKE
    # As Eigen's own: compatible with its major version only.
    cat >write.cmake <<CMAKE
include(CMakePackageConfigHelpers)
write_basic_package_version_file("$PWD/eigen-$1/share/eigen3/cmake/Eigen3ConfigVersion.cmake"
    VERSION $1 COMPATIBILITY SameMajorVersion ARCH_INDEPENDENT)
CMAKE
    cmake -P write.cmake
}
eigen=$(pkg-config --variable=includedir eigen3 2>/dev/null || echo /usr/include/eigen3)
[ -f "$eigen/Eigen/Core" ] || eigen=/usr/include/eigen3
clone
mkdir app.src
cp "$NSVD_PACKAGING"/consumer/* app.src/
begin
for version in 3.4.0 3.4.1 5.0.0 5.0.1; do
    fake $version
    library "build-$version" eigen -DEigen3_DIR="$PWD/eigen-$version/share/eigen3/cmake"
    cmake --install "build-$version" --prefix "$PWD/prefix"
    configure app.src "app-$version" -DCMAKE_PREFIX_PATH="$PWD/prefix" \
        -DEigen3_DIR="$PWD/eigen-$version/share/eigen3/cmake"
done
fake 3.3.9
old=-DEigen3_DIR=$PWD/eigen-3.3.9/share/eigen3/cmake
refuses "nsvd needs Eigen 3.4 or newer; found 3.3.9" library build-old eigen "$old"
refuses "nsvd needs Eigen 3.4 or newer; found 3.3.9" configure app.src app-old -DCMAKE_PREFIX_PATH="$PWD/prefix" "$old"
row "$(cmake_version), Eigen 3.4 and 5 taken, 3.3.9 refused" eigen
