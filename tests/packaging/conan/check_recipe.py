# SPDX-License-Identifier: MIT
"""check_recipe.py CONANFILE PACKAGE_FOLDER BACKEND: runs a recipe without Conan.

Loads it against the part of Conan 2's interface that it uses, runs its methods in Conan's order with the settings of a
C++20 compiler, checks what they say, packages into PACKAGE_FOLDER/package, and writes there what CMakeDeps would
generate, with the system's libraries in place of the required packages.
"""
import fnmatch
import importlib.util
import shutil
import sys
import types
from pathlib import Path


class InvalidConfiguration(Exception):
    pass


class Options(dict):
    __getattr__ = dict.__getitem__


class Settings(dict):
    def get_safe(self, name):
        return self.get(name)


class Info:
    cleared = False

    def clear(self):
        self.cleared = True


class CppInfo:
    def __init__(self):
        self.includedirs, self.libdirs, self.bindirs = ["include"], ["lib"], ["bin"]
        self.defines, self.requires, self.properties = [], [], {}

    def set_property(self, name, value):
        self.properties[name] = value


class Recipe:
    def __init__(self, folder, backend, cppstd):
        self.recipe_folder = str(folder)
        self.source_folder = str(folder)
        assert backend in self.options["backend"], f"no backend {backend}"
        self.options = Options(self.default_options, backend=backend)
        self.settings = Settings({"compiler.cppstd": cppstd})
        self.cpp_info, self.info, self.required = CppInfo(), Info(), {}

    def requires(self, reference, **traits):
        known = {"options", "transitive_headers", "transitive_libs", "visible", "override", "force", "headers", "libs"}
        assert set(traits) <= known, f"requires() has no {set(traits) - known}"
        self.required[reference.partition("/")[0]] = (reference, traits)


def check_min_cppstd(recipe, least):
    std = recipe.settings.get_safe("compiler.cppstd")
    if int(std.removeprefix("gnu")) < least:
        raise InvalidConfiguration(f"C++{std} < {least}")


def copy(_recipe, pattern, src, dst):
    copied = [p for p in Path(src).rglob("*") if p.is_file() and fnmatch.fnmatch(str(p.relative_to(src)), pattern)]
    for path in copied:
        to = Path(dst) / path.relative_to(src)
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, to)
    assert copied, f"copy: nothing in {src} is {pattern}"
    return copied


def install_stub():
    def module(name, **members):
        sys.modules[name] = types.ModuleType(name)
        vars(sys.modules[name]).update(members)

    module("conan", ConanFile=Recipe)
    module("conan.errors", ConanInvalidConfiguration=InvalidConfiguration)
    module("conan.tools")
    module("conan.tools.build", check_min_cppstd=check_min_cppstd, can_run=lambda _: True)
    module("conan.tools.files", copy=copy, load=lambda _, path: Path(path).read_text(encoding="utf-8"))
    module("conan.tools.layout", basic_layout=lambda _: None)
    module("conan.tools.cmake", CMake=object, cmake_layout=lambda _: None)


def load_recipe(path):
    spec = importlib.util.spec_from_file_location("recipe_" + str(abs(hash(str(path)))), path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (recipe,) = [c for c in vars(module).values() if isinstance(c, type) and issubclass(c, Recipe) and c is not Recipe]
    return recipe


def exported(recipe_class, root, to):
    """What the recipe exports is all that it has to work with."""
    for pattern in (recipe_class.exports, *recipe_class.exports_sources):
        copy(None, pattern, root, to)


def main(conanfile, folder, backend):
    install_stub()
    conanfile, folder = Path(conanfile).resolve(), Path(folder).resolve()
    recipe_class = load_recipe(conanfile)
    test_package = load_recipe(Path(__file__).parent / "test_package" / "conanfile.py")
    assert {"requirements", "layout", "build", "test"} <= set(vars(test_package))
    exported(recipe_class, conanfile.parent, folder / "exported")

    recipe = recipe_class(folder / "exported", backend, "20")
    recipe.set_version()
    header = (conanfile.parent / "include/nsvd/version.hpp").read_text(encoding="utf-8")
    assert f'NSVD_VERSION "{recipe.version}"' in header, recipe.version
    assert (recipe.name, recipe.package_type, recipe.license) == ("nsvd", "header-library", "MIT")
    recipe.layout()
    recipe.requirements()
    assert set(recipe.required) == ({"eigen"} if backend == "eigen" else {"eigen", "openblas"}), recipe.required
    recipe.validate()
    try:
        recipe_class(folder / "exported", backend, "17").validate()
    except InvalidConfiguration:
        pass
    else:
        raise AssertionError("C++17 was taken")
    recipe.package_id()
    assert recipe.info.cleared, "a package of headers has one id"

    package = folder / "package"
    recipe.package_folder = str(package)
    recipe.package()
    there = {p.relative_to(package / "include") for p in (package / "include").rglob("*.hpp")}
    ours = {p.relative_to(conanfile.parent / "include") for p in (conanfile.parent / "include").rglob("*.hpp")}
    assert there == ours, f"not packaged: {ours - there}"
    assert (package / "licenses/LICENSE").is_file()

    recipe.package_info()
    info = recipe.cpp_info
    assert not info.libdirs and not info.bindirs
    assert {r.partition("::")[0] for r in info.requires} == set(recipe.required)
    write_cmake_deps(info, package)
    print(f"nsvd/{recipe.version}, backend {backend}: recipe runs, package has {len(there)} headers")


def write_cmake_deps(info, package):
    target = info.properties["cmake_target_name"]
    libraries = {"eigen::eigen": "Eigen3::Eigen", "openblas::openblas": "lapacke openblas"}
    lines = ["find_package(Eigen3 REQUIRED)", f"add_library({target} INTERFACE IMPORTED)"]
    for folder in info.includedirs:
        lines.append(f'target_include_directories({target} INTERFACE "${{CMAKE_CURRENT_LIST_DIR}}/{folder}")')
    if info.defines:
        lines.append(f"target_compile_definitions({target} INTERFACE {' '.join(info.defines)})")
    lines.append(f"target_compile_features({target} INTERFACE cxx_std_20)  # the profile's cppstd")
    lines.append(f"target_link_libraries({target} INTERFACE {' '.join(libraries[r] for r in info.requires)})")
    name = info.properties["cmake_file_name"]
    (package / f"{name}-config.cmake").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
