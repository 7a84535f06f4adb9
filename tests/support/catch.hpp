// SPDX-License-Identifier: MIT
/// Catch2 v2 (Debian 12) and v3 (Ubuntu 24.04, vcpkg, Conan) by one include.
#pragma once

#include <string>

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
using Catch::Approx;
namespace Catch {
using Matchers::ContainsSubstring;
}
#else
#include <catch2/catch.hpp>
namespace Catch {
inline auto ContainsSubstring(const std::string& text) {
    return Matchers::Contains(text);
}
}  // namespace Catch
#endif
