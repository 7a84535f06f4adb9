# Sourced by examples/run.sh and tests/run.sh: installs what is missing of the packages that nsvd builds with, from
# the distribution's archive on Debian and Ubuntu; elsewhere says what is wanted.

say() { printf '\n== %s\n' "$*"; }

need_packages() {
    if ! command -v apt-get >/dev/null 2>&1; then
        if command -v cmake >/dev/null 2>&1 && command -v c++ >/dev/null 2>&1; then
            say "No apt-get here: going on with what is installed."
        else
            say "No apt-get here, and no cmake or no C++ compiler."
        fi
        cat <<'TEXT'
Wanted: a C++20 compiler (gcc 12, clang 14 or newer), CMake 3.23 or newer, Ninja, Eigen 3.4 or newer, OpenBLAS with
CBLAS, LAPACKE, nlohmann-json 3.11, CLI11 2.1, fmt 9, xxHash 0.8 and, for the tests, Catch2 2.13 or 3.
  Fedora:   dnf install gcc-c++ cmake ninja-build eigen3-devel openblas-devel lapack-devel json-devel cli11-devel fmt-devel xxhash-devel catch-devel
  Arch:     pacman -S gcc cmake ninja eigen openblas lapacke nlohmann-json cli11 fmt xxhash catch2
  Homebrew: brew install cmake ninja eigen openblas lapack nlohmann-json cli11 fmt xxhash catch2
TEXT
        command -v cmake >/dev/null 2>&1 && command -v c++ >/dev/null 2>&1
        return
    fi
    local missing=()
    local package
    for package in "$@"; do
        dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
    done
    if [ ${#missing[@]} -eq 0 ]; then
        return
    fi
    local as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        if ! command -v sudo >/dev/null 2>&1; then
            say "Run this as root, or install sudo, or install these yourself: ${missing[*]}"
            return 1
        fi
        as_root=(sudo)
    fi
    say "Installing ${missing[*]}"
    "${as_root[@]}" apt-get update -q
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"
}

build_packages=(g++ cmake ninja-build libeigen3-dev libopenblas-dev liblapacke-dev nlohmann-json3-dev libcli11-dev
    libfmt-dev libxxhash-dev)
test_packages=(catch2 pkg-config doxygen libopenmpi-dev openmpi-bin librapidcheck-dev)
