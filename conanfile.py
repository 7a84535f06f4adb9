# SPDX-License-Identifier: MIT
# Conan 2: conan create . --build=missing --test-folder=tests/packaging/conan/test_package [-o "nsvd/*:backend=lapack"]
import os
import re

from conan import ConanFile
from conan.tools.build import check_min_cppstd
from conan.tools.files import copy, load
from conan.tools.layout import basic_layout

required_conan_version = ">=2.0"


class NsvdConan(ConanFile):
    name = "nsvd"
    description = "Activation-aware low-rank decomposition of weight matrices"
    license = "MIT"
    topics = ("svd", "low-rank", "llm", "compression", "header-only")
    package_type = "header-library"
    settings = "os", "arch", "compiler", "build_type"
    options = {"backend": ["eigen", "lapack"]}
    default_options = {"backend": "eigen"}
    exports = "include/nsvd/version.hpp"
    exports_sources = "include/*", "LICENSE"
    no_copy_source = True

    def set_version(self):
        text = load(self, os.path.join(self.recipe_folder, "include", "nsvd", "version.hpp"))
        self.version = re.search(r'define NSVD_VERSION "([0-9.]+)"', text).group(1)

    def layout(self):
        basic_layout(self)

    def requirements(self):
        # Any from 3.4 on does, 5 too; the program may override it.
        self.requires("eigen/3.4.0", transitive_headers=True)
        if self.options.backend == "lapack":
            # With build_lapack OpenBLAS brings LAPACKE.
            self.requires("openblas/[>=0.3.24 <1]", options={"build_lapack": True}, transitive_headers=True,
                          transitive_libs=True)

    def package_id(self):
        self.info.clear()  # headers: one package for all settings, both backends

    def validate(self):
        if self.settings.get_safe("compiler.cppstd"):
            check_min_cppstd(self, 20)

    def package(self):
        copy(self, "LICENSE", self.source_folder, os.path.join(self.package_folder, "licenses"))
        copy(self, "*.hpp", os.path.join(self.source_folder, "include"), os.path.join(self.package_folder, "include"))

    def package_info(self):
        self.cpp_info.bindirs = []
        self.cpp_info.libdirs = []
        self.cpp_info.set_property("cmake_file_name", "nsvd")
        self.cpp_info.set_property("cmake_target_name", "nsvd::nsvd")
        self.cpp_info.set_property("pkg_config_name", "nsvd")
        self.cpp_info.requires = ["eigen::eigen"]
        if self.options.backend == "lapack":
            self.cpp_info.defines = ["NSVD_USE_LAPACK"]
            self.cpp_info.requires.append("openblas::openblas")
