// SPDX-License-Identifier: MIT
#include "support/catch.hpp"

#include <nsvd/detail/factorizations.hpp>
#include <nsvd/detail/narrow.hpp>
#include <nsvd/rank/compression.hpp>

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

TEST_CASE("sizes beyond the integers of a library are refused before anything is read", "[narrow]") {
    namespace detail = nsvd::detail;
    constexpr std::int64_t beyond = std::int64_t{1} << 31;
    double one = 1.0;
    const detail::dense_span<double> result(&one, 1, 1, 1);
    [[maybe_unused]] const detail::dense_span<const double> column(&one, beyond, 1, beyond);
#if defined(NSVD_USE_LAPACK)
    if constexpr (sizeof(detail::blas_int) == 4) {
        CHECK_THROWS_WITH(
            detail::add_gram_lower<double>(result, column, detail::op::transpose),
            Catch::ContainsSubstring("a matrix dimension = 2147483648 does not fit the 32-bit"));
        CHECK_THROWS_AS(
            detail::multiply_into<double>(result, column, detail::op::transpose, column, detail::op::none),
            nsvd::error);
        CHECK_THROWS_WITH(detail::lapack::size(beyond), Catch::ContainsSubstring("2147483648"));
        // Divide and conquer: 2n² + 6n + 1 numbers of workspace for the whole, n² + 4n + 1 for a tridiagonal
        // matrix. Beyond them implicit QR takes its place.
        const auto whole = [](std::int64_t n) { return 1 + 6 * n + 2 * n * n; };
        const auto tridiagonal = [](std::int64_t n) { return 1 + 4 * n + n * n; };
        CHECK((detail::fits<std::int32_t>(whole(32766)) && !detail::fits<std::int32_t>(whole(32767))));
        CHECK((detail::fits<std::int32_t>(tridiagonal(46338)) &&
               !detail::fits<std::int32_t>(tridiagonal(46339))));
    }
#else
    Eigen::MatrixXd wide(0, beyond);
    CHECK_THROWS_WITH(detail::column_pivoted_r<double>(wide), Catch::ContainsSubstring("integers of Eigen"));
    CHECK(result.size() == 1);
#endif
}

TEST_CASE("no rank is computed from more entries than can be counted", "[narrow]") {
    constexpr nsvd::index side = nsvd::index{1} << 31;
    CHECK(nsvd::compression{0.5}({side, side}) == side / 4);
    CHECK_THROWS_WITH(nsvd::compression{0.5}({side + 1, side}),
                      Catch::ContainsSubstring("2147483649×2147483648 matrix has more than 2^62 entries"));
}
