# shellcheck shell=bash
# Sourced before each of ways/*.sh, in an empty folder.

root=$NSVD_ROOT

say() { printf '   - %s\n' "$*"; }
fail() { printf 'FAILED: %s\n' "$*" >&2; exit 1; }
now() { date +%s.%N; }

# What a `git clone` would bring, with what is not committed yet.
clone() {
    mkdir -p src
    if git -C "$root" rev-parse --git-dir >/dev/null 2>&1; then
        (cd "$root" && git ls-files -z --cached --others --exclude-standard |
            while IFS= read -r -d '' f; do [ ! -f "$f" ] || printf '%s\0' "$f"; done |
            tar --null -cf - -T -) | tar -xf - -C src
    else
        (cd "$root" && tar --exclude=./build -cf - .) | tar -xf - -C src
    fi
}

configure() {  # configure SOURCE BUILD [OPTION...]: nothing found but what the options name and the system has
    local source=$1 build=$2
    shift 2
    cmake -S "$source" -B "$build" -DCMAKE_CXX_FLAGS="$FLAGS" -DCMAKE_FIND_USE_PACKAGE_REGISTRY=OFF \
        -DCMAKE_FIND_USE_SYSTEM_PACKAGE_REGISTRY=OFF "$@"
}

library() {  # library BUILD BACKEND [OPTION...]: configures the clone as a package
    local build=$1 backend=$2
    shift 2
    configure src "$build" -DNSVD_BACKEND="$backend" -DNSVD_BUILD_TESTS=OFF -DNSVD_BUILD_EXAMPLES=OFF -DCMAKE_INSTALL_MESSAGE=NEVER "$@"
}

consumer() {  # consumer BUILD [OPTION...]: builds the program in a project of its own
    local build=$1
    shift
    mkdir -p "$build.src"
    cp "$NSVD_PACKAGING/consumer/CMakeLists.txt" "$build.src/"
    cp "$PROGRAM" "$build.src/main.cpp"
    configure "$build.src" "$build" "$@"
    cmake --build "$build"
}

runs() {  # runs PROGRAM BACKEND: it must succeed, and with the backend that was asked for
    "$1" | tee output
    if [ "$(basename "$PROGRAM")" = main.cpp ]; then
        grep -q "backend $2," output || fail "not the backend $2: $(cat output)"
    fi
}

refuses() {  # refuses TEXT COMMAND...: must fail, and say TEXT
    local text=$1
    shift
    if "$@" >refusal 2>&1; then
        cat refusal
        fail "succeeded, but should have said '$text': $*"
    fi
    tr -s '\n ' ' ' <refusal | grep -qF -- "$text" || { cat refusal; fail "does not say '$text'"; }
}

has_lapacke() { printf '#include <lapacke.h>\n' | $CXX -E -x c++ - >/dev/null 2>&1; }

# The backends that can be tried here.
backends() { if has_lapacke; then echo "eigen lapack"; else echo "eigen"; fi; }

cmake_version() { cmake --version | head -1 | sed 's/.*version /CMake /'; }

begin() { started=$(now); }
row() {  # row TOOL BACKEND [RESULT]: since begin
    local seconds
    seconds=$(awk -v a="$started" -v b="$(now)" 'BEGIN { printf "%.1f", b - a }')
    printf '%s|%s|%s|%s|%s\n' "$WAY" "$1" "$2" "$seconds" "${3:-ok}" >>"$TABLE"
}
