// SPDX-License-Identifier: MIT
#include "support/catch.hpp"

#include <nsvd/detail/narrow.hpp>

#include <cstdint>
#include <limits>

TEST_CASE("narrow: sizes fit or throw, never wrap", "[narrow]") {
    using nsvd::detail::fits;
    using nsvd::detail::narrow;
    constexpr std::int64_t largest = std::numeric_limits<std::int32_t>::max();
    CHECK(narrow<std::int32_t>(0, "n") == 0);
    CHECK(narrow<std::int32_t>(largest, "n") == largest);
    CHECK_FALSE(fits<std::int32_t>(largest + 1));
    CHECK_FALSE(fits<std::int32_t>(-1));
    CHECK(fits<std::int64_t>(largest + 1));
    CHECK_THROWS_WITH(narrow<std::int32_t>(largest + 1, "the workspace of dsyevd"),
                      Catch::ContainsSubstring("the workspace of dsyevd = 2147483648") &&
                          Catch::ContainsSubstring("32-bit"));
}
