# SPDX-License-Identifier: MIT
"""Builds the tests on copies of the headers that have every error of tests/mutation/mutations in them behind a switch,
and runs the tests named there with one error switched on at a time. Prints a table; exits with 1 unless the tests
notice each of them, and pass with none."""

import argparse
import concurrent.futures
import dataclasses
import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests"
BUILD = ROOT / "build" / "mutation"
BACKENDS = ("lapack", "eigen")

# What is compiled before everything else: the switch, and what no error changes.
PREFIX = """#include <Eigen/Dense>
#include <cstdlib>
#include <type_traits>
#include "support/catch.hpp"
namespace nsvd_mutation {
inline bool is_on(int number) {
    static const char* const chosen = std::getenv("NSVD_MUTATION");
    static const int one = chosen != nullptr ? std::atoi(chosen) : 0;
    return number == one;
}
/// Constants are those of the headers as they are.
constexpr bool on(int number) {
    if (std::is_constant_evaluated()) {
        return false;
    } else {
        return is_on(number);
    }
}
}  // namespace nsvd_mutation
"""


@dataclasses.dataclass
class Mutation:
    number: int
    name: str
    header: str = ""
    tests: list = dataclasses.field(default_factory=list)
    cases: list = dataclasses.field(default_factory=list)  # what Catch is to run of them; all if empty
    backend: str = "lapack"
    original: list = dataclasses.field(default_factory=list)
    replacement: list = dataclasses.field(default_factory=list)

    def place(self, text):
        """Where the part that changes begins and ends."""
        before, part, after = (re.split("[«»]", "\n".join(self.original)) if "«" in "".join(self.original)
                               else ("", "\n".join(self.original), ""))
        if (count := text.count(before + part + after)) != 1:
            sys.exit(f"[{self.name}]: its text is {count} times in {self.header}, not once")
        begin = text.index(before + part + after) + len(before)
        return begin, begin + len(part)

    def switched(self, part):
        replacement = "\n".join(self.replacement)
        if part.endswith(";"):
            return f"{{ if (::nsvd_mutation::on({self.number})) {{ {replacement} }} else {{ {part} }} }}"
        return f"(::nsvd_mutation::on({self.number}) ? ({replacement}) : ({part}))"


def read_list(path):
    mutations = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        field = re.fullmatch(r"(header|tests|cases|backend): (.+)", line)
        if not line or line.startswith("#"):
            continue
        if line.startswith("["):
            mutations.append(Mutation(len(mutations) + 1, line.strip("[]")))
        elif line.startswith(("- ", "+ ")):
            of = mutations[-1].original if line[0] == "-" else mutations[-1].replacement
            of.append(line[2:])
        elif field:
            key, value = field.groups()
            setattr(mutations[-1], key, shlex.split(value) if key in ("tests", "cases") else value)
        else:
            sys.exit(f"{path}:{number}: {line!r} is no line of a list of mutations")
    for m in mutations:
        if not (m.header and m.tests and m.original and m.replacement) or m.backend not in BACKENDS:
            sys.exit(f"{path}: [{m.name}] needs a header, tests, two texts and one of the backends {BACKENDS}")
    return mutations


def update(path, text):
    """Writes a file, unless that is what it has: then it stays as old as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def write_headers(mutations):
    """Exits where a text is not found, is found more than once, or two of them overlap."""
    unknown = {m.header for m in mutations}
    for header in (ROOT / "include").rglob("*.hpp"):
        text = header.read_text()
        name = header.relative_to(ROOT / "include/nsvd").as_posix()
        unknown.discard(name)
        places = sorted((*m.place(text), m.number, m) for m in mutations if m.header == name)
        mutated = ""
        at = 0
        for begin, end, _, m in places:
            if begin < at:
                sys.exit(f"[{m.name}] overlaps with another in {name}")
            mutated += text[at:begin] + m.switched(text[begin:end])
            at = end
        update(BUILD / "include/nsvd" / name, mutated + text[at:])
    if unknown:
        sys.exit(f"no such header: {', '.join(sorted(unknown))}")


def pkg_config(*arguments):
    done = subprocess.run(["pkg-config", *arguments], capture_output=True, text=True)
    return done.stdout.split() if done.returncode == 0 else None


def support_of(test):
    """What a test wants linked beside the solvers."""
    text = (TESTS / test).read_text()
    return ["support/solvers.cpp",
            *(f"support/{name}.cpp" for name in ("reference_svd", "other_backend") if f"{name}.hpp" in text)]


def program_of(backend, test):
    return BUILD / backend / Path(test).with_suffix("")


def write_ninja(mutations):
    compiler = os.environ.get("CXX", "c++")
    shared = os.environ.get("NSVD_SHARED_DIR", ROOT.parent / "shared")
    eigen = " ".join(pkg_config("--cflags-only-I", "eigen3") or ["-I/usr/include/eigen3"])
    lapack = pkg_config("--libs", "lapacke", "openblas") or ["-llapacke", "-lopenblas"]
    catch = pkg_config("--libs", "catch2-with-main") or ["-lCatch2WithMain"]
    flags = f"-std=c++20 -w -I{BUILD}/include -I{TESTS} {eigen} -DNSVD_SHARED_DIR='\"{shared}\"'"
    # Tests are sooner compiled than run; the solvers take long if they are not optimized.
    level = {"support/solvers.cpp": "-O1"}
    macros = {"lapack": " ".join(["-DNSVD_USE_LAPACK", *(pkg_config("--cflags-only-I", "lapacke", "openblas") or [])]),
              "eigen": ""}
    lines = [
        "rule compile",
        f"  command = {compiler} {flags} $more -MMD -MF $out.d -c $in -o $out",
        "  depfile = $out.d",
        "rule precompile",
        f"  command = {compiler} {flags} $more -MMD -MF $out.d -x c++-header $in -o $out",
        "  depfile = $out.d",
        "rule link",
        f"  command = {compiler} $in -o $out {' '.join(catch)} $libraries",
    ]
    programs = sorted({(m.backend, t) for m in mutations for t in m.tests})
    for backend in sorted({backend for backend, _ in programs}):
        prefix = BUILD / backend / "prefix.hpp"
        update(prefix, PREFIX)
        lines += [f"build {prefix}.gch: precompile {prefix}", f"  more = -O0 {macros[backend]}"]
        tests = [t for b, t in programs if b == backend]
        for source in sorted({s for t in tests for s in [t, *support_of(t)]}):
            # One file is that of the other backend.
            more = "" if "other_backend" in source else f"{macros[backend]} -include nsvd/extern_templates.hpp"
            lines += [f"build {BUILD / backend / source}.o: compile {TESTS / source} | {prefix}.gch",
                      f"  more = {level.get(source, '-O0')} -include {prefix} {more}"]
        for test in tests:
            objects = " ".join(f"{BUILD / backend / s}.o" for s in [test, *support_of(test)])
            lines += [f"build {program_of(backend, test)}: link {objects}",
                      f"  libraries = {' '.join(lapack) if backend == 'lapack' else ''}"]
    update(BUILD / "build.ninja", "\n".join(lines) + "\n")


def run_tests(backend, test, cases, number, limit):
    """(whether a program of tests notices anything, what it says, the seconds it takes)"""
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "NSVD_MUTATION": str(number)}
    command = [str(program_of(backend, test)), *cases, "-w", "NoTests", "--abort"]
    start = time.monotonic()
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=limit,
                              env=environment)
        return done.returncode != 0, (done.stdout + done.stderr)[-3000:], time.monotonic() - start
    except subprocess.TimeoutExpired:
        return True, "time limit", time.monotonic() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="only mutations whose name or header has one of these in it")
    parser.add_argument("-j", "--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--list", type=Path, default=Path(__file__).with_name("mutations"))
    options = parser.parse_args()

    everything = read_list(options.list)
    mutations = [m for m in everything
                 if not options.names or any(n in m.name or n in m.header for n in options.names)]
    if not mutations:
        sys.exit("no such mutation")
    start = time.monotonic()
    write_headers(everything)
    write_ninja(mutations)
    programs = sorted({str(program_of(m.backend, t)) for m in mutations for t in m.tests})
    if subprocess.run(["ninja", "-C", str(BUILD), "-j", str(options.jobs), *programs]).returncode != 0:
        sys.exit(f"not built: a text of {options.list} is no code where it stands, or a test is broken")
    print(f"built in {time.monotonic() - start:.0f} s", flush=True)

    limits = {}
    width = max(len(m.name) for m in mutations)
    survivors = 0

    def try_one(m):
        begin = time.monotonic()
        for test in m.tests:
            failed, said, _ = run_tests(m.backend, test, m.cases, m.number, limits[m.backend, test, tuple(m.cases)])
            if failed:
                return m, test + (" (time limit)" if said == "time limit" else ""), time.monotonic() - begin
        return m, None, time.monotonic() - begin

    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        runs = sorted({(m.backend, t, tuple(m.cases)) for m in mutations for t in m.tests})
        for run, (failed, said, seconds) in zip(runs, pool.map(lambda r: run_tests(*r, 0, 1800), runs)):
            if failed:
                sys.exit(f"{run[1]} ({run[0]}, {' '.join(run[2]) or 'all cases'}) fails without any error:\n{said}")
            limits[run] = max(30.0, 10.0 * seconds)
        print(f"{len(runs)} runs without any error pass, {time.monotonic() - start:.0f} s", flush=True)
        for done in concurrent.futures.as_completed([pool.submit(try_one, m) for m in mutations]):
            m, by, seconds = done.result()
            survivors += by is None
            print(f"{'killed' if by else 'SURVIVED'}  {m.name:{width}}  {seconds:4.0f} s  {by or ''}", flush=True)
    print(f"{len(mutations)} mutations, {survivors} survived, {time.monotonic() - start:.0f} s")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
