// SPDX-License-Identifier: MIT
/// Catch2 v2 (Debian 12) and v3 (Ubuntu 24.04, vcpkg, Conan) by one include.
#pragma once

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
using Catch::Approx;
#else
#define CATCH_CONFIG_ENABLE_BENCHMARKING 0
#include <catch2/catch.hpp>
#endif
