# SPDX-License-Identifier: MIT
"""Applies the errors listed in tests/mutation/mutations to copies of include/, one at a time, and runs the tests that
are named there against each. Prints a table; exits with 1 unless every error is noticed."""

import argparse
import concurrent.futures
import dataclasses
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests"
BUILD = ROOT / "build" / "mutation"
BACKENDS = ("lapack", "eigen")
# Compiled once: all that no mutation changes.
PREFIX = '#include <Eigen/Dense>\n\n#include "support/catch.hpp"\n'


@dataclasses.dataclass
class Mutation:
    name: str
    header: str = ""
    tests: list = dataclasses.field(default_factory=list)
    cases: list = dataclasses.field(default_factory=list)  # what Catch is to run of them; all if empty
    backend: str = "lapack"
    original: list = dataclasses.field(default_factory=list)
    replacement: list = dataclasses.field(default_factory=list)

    @property
    def folder(self):
        return BUILD / "mutants" / re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")

    def mutated(self):
        text = (ROOT / "include/nsvd" / self.header).read_text()
        original = "\n".join(self.original)
        if text.count(original) != 1:
            raise ValueError(f"its text is {text.count(original)} times in {self.header}, not once")
        return text.replace(original, "\n".join(self.replacement))


def read_list(path):
    mutations = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        field = re.fullmatch(r"(header|tests|cases|backend): (.+)", line)
        if not line or line.startswith("#"):
            continue
        if line.startswith("["):
            mutations.append(Mutation(line.strip("[]")))
        elif line.startswith(("- ", "+ ")) or line in ("-", "+"):
            of = mutations[-1].original if line[0] == "-" else mutations[-1].replacement
            of.append(line[2:])
        elif field:
            key, value = field.groups()
            setattr(mutations[-1], key, shlex.split(value) if key in ("tests", "cases") else value)
        else:
            sys.exit(f"{path}:{number}: {line!r} is no line of a list of mutations")
    for m in mutations:
        if not (m.header and m.tests and m.original) or m.backend not in BACKENDS:
            sys.exit(f"{path}: [{m.name}] needs a header, tests, a text and one of the backends {BACKENDS}")
    if len({m.folder for m in mutations}) != len(mutations):
        sys.exit(f"{path}: two mutations have one name")
    return mutations


def pkg_config(*arguments):
    done = subprocess.run(["pkg-config", *arguments], capture_output=True, text=True)
    return shlex.split(done.stdout) if done.returncode == 0 else None


class Tools:
    def __init__(self):
        self.compiler = shlex.split(os.environ.get("CXX", "c++"))
        shared = os.environ.get("NSVD_SHARED_DIR", str(ROOT.parent / "shared"))
        self.flags = ["-std=c++20", "-O1", "-w", f"-I{TESTS}", f'-DNSVD_SHARED_DIR="{shared}"',
                      *(pkg_config("--cflags-only-I", "eigen3") or ["-I/usr/include/eigen3"])]
        self.libraries = {
            "lapack": pkg_config("--libs", "lapacke", "openblas") or ["-llapacke", "-lopenblas"],
            "eigen": [],
        }
        self.catch = pkg_config("--libs", "catch2-with-main") or ["-lCatch2WithMain"]

    def backend_flags(self, backend):
        if backend == "eigen":
            return self.flags
        return [*self.flags, "-DNSVD_USE_LAPACK",
                *(pkg_config("--cflags-only-I", "lapacke", "openblas") or [])]

    def prefix(self, backend):
        return BUILD / backend / "prefix.hpp"

    def precompile(self, backend):
        header = self.prefix(backend)
        header.parent.mkdir(parents=True, exist_ok=True)
        header.write_text(PREFIX)
        command = [*self.compiler, *self.backend_flags(backend), "-x", "c++-header", str(header), "-o",
                   f"{header}.gch"]
        subprocess.run(command, check=True)

    def compile(self, source, to, include, backend):
        """Returns what the compiler says where it fails, else nothing."""
        to.parent.mkdir(parents=True, exist_ok=True)
        # With solvers compiled apart, as in the tests of every day; never those of a file of another backend.
        own = "other_backend" in source.name
        command = [*self.compiler, *(self.flags if own else self.backend_flags(backend)), f"-I{include}"]
        if not own:
            command += ["-include", str(self.prefix(backend)), "-include", "nsvd/extern_templates.hpp"]
        command += ["-MMD", "-MF", str(to.with_suffix(".d")), "-c", str(source), "-o", str(to)]
        done = subprocess.run(command, capture_output=True, text=True)
        return done.stderr or "failed" if done.returncode else ""

    def link(self, objects, program, backend):
        command = [*self.compiler, *map(str, objects), "-o", str(program), *self.catch, *self.libraries[backend]]
        done = subprocess.run(command, capture_output=True, text=True)
        return done.stderr if done.returncode else ""


def headers_of(object_file):
    """Those of the library that it was compiled from."""
    text = object_file.with_suffix(".d").read_text()
    return set(re.findall(r"/include/nsvd/(\S+\.hpp)", text))


def support_of(test):
    """What a test wants linked beside the solvers."""
    text = (TESTS / test).read_text()
    named = [name for name in ("reference_svd", "other_backend") if f"support/{name}.hpp" in text]
    return ["support/solvers.cpp"] + [f"support/{name}.cpp" for name in named]


class Baseline:
    """The tests against the headers as they are."""

    def __init__(self, tools, mutations, jobs):
        self.tools = tools
        self.limits = {}
        sources = {(m.backend, s) for m in mutations for t in m.tests for s in [t, *support_of(t)]}
        runs = {(m.backend, t, tuple(m.cases)) for m in mutations for t in m.tests}
        with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
            list(pool.map(tools.precompile, {m.backend for m in mutations}))
            for (backend, source), said in zip(sources, pool.map(self.compile, sources)):
                if said:
                    sys.exit(f"{source} ({backend}) does not compile as it is:\n{said}")
            for run, said in zip(runs, pool.map(self.run, runs)):
                if said:
                    sys.exit(f"{run[1]} ({run[0]}, {' '.join(run[2]) or 'all cases'}) fails as it is:\n{said}")

    def object(self, backend, source):
        return BUILD / backend / Path(source).with_suffix(".o")

    def compile(self, item):
        backend, source = item
        return self.tools.compile(TESTS / source, self.object(backend, source), ROOT / "include", backend)

    def run(self, item):
        backend, test, cases = item
        name = re.sub(r"[^a-z0-9]+", "-", " ".join([test, *cases]).lower())
        program = BUILD / backend / "programs" / name
        program.parent.mkdir(exist_ok=True)
        objects = [self.object(backend, s) for s in [test, *support_of(test)]]
        said = self.tools.link(objects, program, backend)
        if said:
            return said
        start = time.monotonic()
        failed, said = run_tests(program, cases, 1200)
        self.limits[item] = max(30.0, 10.0 * (time.monotonic() - start))
        return said if failed else ""


def run_tests(program, cases, limit):
    """Whether a program of tests notices anything, and what it says."""
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    try:
        done = subprocess.run([str(program), *cases, "-w", "NoTests", "--abort"], capture_output=True, text=True,
                              errors="replace", timeout=limit, env=environment)
    except subprocess.TimeoutExpired:
        return True, "time"
    return done.returncode != 0, (done.stdout + done.stderr)[-3000:]


def try_mutation(tools, baseline, m):
    """(result, what noticed it or why it could not be tried)"""
    try:
        mutated = m.mutated()
    except ValueError as problem:
        return "stale", str(problem)
    shutil.rmtree(m.folder, ignore_errors=True)
    include = m.folder / "include"
    shutil.copytree(ROOT / "include", include)
    (include / "nsvd" / m.header).write_text(mutated)

    objects = {}

    def object_of(source):
        if source not in objects:
            objects[source] = baseline.object(m.backend, source)
            if m.header in headers_of(objects[source]):
                objects[source] = m.folder / Path(source).with_suffix(".o")
                said = tools.compile(TESTS / source, objects[source], include, m.backend)
                if said:
                    raise ValueError(said)
        return objects[source]

    try:
        reached = False
        for test in m.tests:
            program = m.folder / "program"
            files = [object_of(s) for s in [test, *support_of(test)]]
            reached = reached or any(m.folder in f.parents for f in files)
            said = tools.link(files, program, m.backend)
            if said:
                raise ValueError(said)
            failed, said = run_tests(program, m.cases, baseline.limits[(m.backend, test, tuple(m.cases))])
            if failed:
                return "killed", test + (" (time limit)" if said == "time" else "")
        return ("survived", ", ".join(m.tests)) if reached else ("unreached", "no test includes the header")
    except ValueError as problem:
        return "build error", str(problem)[:2000]
    finally:
        for file in [m.folder / "program", *m.folder.rglob("*.o")]:
            file.unlink(missing_ok=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="only mutations whose name or header has one of these in it")
    parser.add_argument("-j", "--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--list", type=Path, default=Path(__file__).with_name("mutations"))
    options = parser.parse_args()

    mutations = [m for m in read_list(options.list)
                 if not options.names or any(n in m.name or n in m.header for n in options.names)]
    if not mutations:
        sys.exit("no such mutation")
    stale = []
    for m in mutations:
        try:
            m.mutated()
        except ValueError as problem:
            stale.append(f"[{m.name}]: {problem}")
    if stale:
        sys.exit("\n".join(stale))
    start = time.monotonic()
    tools = Tools()
    baseline = Baseline(tools, mutations, options.jobs)
    print(f"{len(baseline.limits)} runs of tests pass as they are, {time.monotonic() - start:.0f} s", flush=True)

    counts = {}
    width = max(len(m.name) for m in mutations)

    def timed(m):
        begin = time.monotonic()
        return m, *try_mutation(tools, baseline, m), time.monotonic() - begin

    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for done in concurrent.futures.as_completed([pool.submit(timed, m) for m in mutations]):
            m, result, detail, seconds = done.result()
            counts[result] = counts.get(result, 0) + 1
            print(f"{result:11}  {m.name:{width}}  {seconds:4.0f} s  {detail}", flush=True)
    print(f"{len(mutations)} mutations in {time.monotonic() - start:.0f} s: "
          + ", ".join(f"{count} {result}" for result, count in sorted(counts.items())))
    return 0 if set(counts) == {"killed"} else 1


if __name__ == "__main__":
    sys.exit(main())
