// SPDX-License-Identifier: MIT
#include <nsvd/solver/choose.hpp>
#include <nsvd/solver/cost.hpp>

#include <algorithm>
#include <support/catch.hpp>
#include <support/expect_error.hpp>

using Eigen::Index;
using nsvd::accuracy;
using nsvd::predicted_flops;

TEST_CASE("predicted flops are at least those of the factors, and grow with what is asked for",
          "[solver][cost]") {
    for (const Index m : {1, 7, 100, 512, 513, 1024, 3000, 4096})
        for (const Index n : {1, 100, 600, 4096, 11008})
            for (const bool weighted : {false, true}) {
                CAPTURE(m, n, weighted);
                CHECK(predicted_flops(m, n, 0, weighted) == 0.0);
                double before = 0.0;
                const Index side = std::min(m, n);
                for (const Index k : {Index{1}, side / 8, side / 4, side / 2, side}) {
                    if (k == 0) continue;
                    const double flops = predicted_flops(m, n, k, weighted);
                    const auto product = 2.0 * static_cast<double>(m) * static_cast<double>(n);
                    CHECK(flops >= product * static_cast<double>(k));
                    CHECK(flops >= before);
                    before = flops;
                    CHECK(predicted_flops(m, n, k, true) >= predicted_flops(m, n, k, false));
                }
            }
}

TEST_CASE("a layer twice as large in both directions takes about eight times as long", "[solver][cost]") {
    for (const Index n : {2560, 4096})
        for (const bool weighted : {false, true}) {
            const double ratio = predicted_flops(2 * n, 2 * n, n / 2, weighted, accuracy::fast) /
                                 predicted_flops(n, n, n / 4, weighted, accuracy::fast);
            CHECK(ratio > 6.0);
            CHECK(ratio < 9.0);
        }
}

TEST_CASE("the cost is that of the cheapest route", "[solver][cost]") {
    // Few directions: less than forming the Gram matrix and its tridiagonal form.
    const double few = predicted_flops(4096, 4096, 100, true);
    const double many = predicted_flops(4096, 4096, 2500, true);
    CHECK(few < 0.5 * many);
    // In double, twice as long.
    using nsvd::detail::choose_solver;
    const auto in_double = choose_solver({.rows = 512, .cols = 512, .rank = 128});
    const auto in_single = choose_solver({.rows = 513, .cols = 513, .rank = 128});
    CHECK(in_double.flops > in_single.flops);
}

TEST_CASE("predicted_flops refuses what can't be decomposed", "[solver][cost]") {
    support::expect_error([] { (void)predicted_flops(0, 3, 1, true); }, {"predicted_flops", "0×3"});
    support::expect_error([] { (void)predicted_flops(4, 3, 4, true); }, {"rank = 4", "[0, 3]"});
    support::expect_error([] { (void)predicted_flops(4, 3, -1, true); }, {"rank = -1"});
}
