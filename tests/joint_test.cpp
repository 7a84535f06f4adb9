// SPDX-License-Identifier: MIT
// Stacked layers against an SVD of the stack times its inputs.
#include "support/calibrated.hpp"
#include "support/catch.hpp"
#include "support/expect_error.hpp"
#include "support/generate.hpp"
#include "support/naive.hpp"

#include <nsvd/nsvd.hpp>

#include <Eigen/Core>

#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <type_traits>
#include <vector>

namespace {

using Eigen::Index;
using Eigen::MatrixXd;
using nsvd::split_rows;
using nsvd::stack_rows;
using support::best_error;
using support::calibrated;
using support::generator;
using support::product;

}  // namespace

TEST_CASE("joint: the best with one right factor, with inputs and without", "[joint]") {
    generator g(1);
    const MatrixXd x = support::activations(g, 12, 60, {.outliers = 1, .factor = 30.0});
    const auto calib = calibrated(x);
    const std::vector<MatrixXd> layers{g.gaussian(10, 12), g.gaussian(4, 12), g.gaussian(1, 12)};
    const MatrixXd w = stack_rows(layers);
    const std::vector<Index> heights{10, 4, 1};
    for (const Index k : {1, 5, 12}) {
        const auto joint = nsvd::asvd(w, calib, nsvd::rank{k});
        const auto plain = nsvd::svd(w, nsvd::rank{k});
        const auto parts = split_rows(joint, heights);
        const auto data_free = split_rows(plain, heights);
        REQUIRE(parts.size() == 3);
        double squares = 0.0;
        double plain_squares = 0.0;
        for (std::size_t i = 0; i < 3; ++i) {
            squares += ((layers[i] - product(parts[i])) * x).squaredNorm();
            plain_squares += (layers[i] - product(data_free[i])).squaredNorm();
            CHECK(parts[i].right == joint.right);
        }
        CHECK(std::sqrt(squares) == Approx(best_error(w * x, k)).margin(1e-12 * (w * x).norm()));
        CHECK(std::sqrt(plain_squares) == Approx(best_error(w, k)).margin(1e-13 * w.norm()));
    }
}

TEST_CASE("joint: parts do what the whole does, and say how it was made", "[joint]") {
    generator g(2);
    const Eigen::MatrixXf q = g.gaussian(8, 8).cast<float>();
    const Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor> k =
        g.gaussian(4, 8).cast<float>();
    const Eigen::Matrix<Eigen::bfloat16, Eigen::Dynamic, Eigen::Dynamic> v =
        g.gaussian(9, 8).cast<Eigen::bfloat16>();
    const auto w = stack_rows(q, k, v.bottomRows(4));
    static_assert(std::is_same_v<decltype(w), const Eigen::MatrixXf>);
    static_assert(std::is_same_v<decltype(stack_rows(q, MatrixXd())), MatrixXd>);
    CHECK(w.topRows(8) == q);
    CHECK(w.middleRows(8, 4) == k);
    CHECK(w.bottomRows(4) == v.bottomRows(4).cast<float>());
    const auto calib = calibrated(support::activations(g, 8, 50));
    const std::vector<Index> heights{8, 4, 4};
    for (const auto residual : {nsvd::residual::svd, nsvd::residual::interpolative}) {
        const auto joint = nsvd::nested(w, calib, nsvd::rank{5}, {.share = 0.6, .residual = residual});
        const auto parts = split_rows(joint, heights);
        const Eigen::VectorXf x = g.gaussian(8, 1).cast<float>();
        Eigen::VectorXf y(16);
        y << parts[0] * x, parts[1] * x, parts[2] * x;
        CHECK((y - joint * x).norm() <= 1e-6F * y.norm());
        // The right factor, and the identity block in it, count with each part.
        CHECK(parts[0].parameters() + parts[1].parameters() + parts[2].parameters() ==
              joint.parameters() + 2 * (joint.parameters() - joint.left.size()));
        const nsvd::decomposition_info& info = parts[1].info;
        CHECK(info.status == joint.info.status);
        CHECK(info.solver == joint.info.solver);
        REQUIRE(info.stages.size() == joint.info.stages.size());
        CHECK(info.stages[1].metric == joint.info.stages[1].metric);
        CHECK(info.stages[0].loss == 0.0);
        CHECK(info.spectrum.size() == 0);
        if (residual == nsvd::residual::interpolative) continue;
        // Stages are shortened together.
        const auto shorter = split_rows(joint.truncate(3), heights);
        CHECK((parts[1].truncate(3).dense() - shorter[1].dense()).norm() <=
              1e-6F * shorter[1].dense().norm());
    }
}

TEST_CASE("joint: pooled calibrations are those of all inputs", "[joint]") {
    generator g(3);
    const MatrixXd x1 = support::activations(g, 9, 40);
    const MatrixXd x2 = 2.0 * support::activations(g, 9, 25);
    MatrixXd both(9, 65);
    both << x1, x2;
    auto pooled = calibrated(x1);
    pooled.merge(calibrated(x2));
    const MatrixXd w = stack_rows(g.gaussian(6, 9), g.gaussian(6, 9));
    const auto d = nsvd::asvd(w, pooled, nsvd::rank{4});
    CHECK((product(d) - product(nsvd::asvd(w, calibrated(both), nsvd::rank{4}))).norm() <= 1e-12 * w.norm());
    CHECK(((w - product(d)) * both).norm() == Approx(best_error(w * both, 4)));
}

TEST_CASE("joint: the rank of a stack counts the right factor once", "[joint]") {
    generator g(4);
    const MatrixXd w = stack_rows(g.gaussian(16, 16), g.gaussian(16, 16), g.gaussian(16, 16));
    const auto d = nsvd::svd(w, nsvd::compression{0.5});
    // 0.75·16·ρ in place of ½·16·ρ, with ρ = 0.5.
    CHECK(d.rank() == 6);
    CHECK(d.parameters() == 6 * (48 + 16));
}

TEST_CASE("joint: misuse", "[joint]") {
    generator g(5);
    const MatrixXd w = g.gaussian(3, 4);
    support::expect_error([&] { (void)stack_rows(w, g.gaussian(3, 5)); }, {"matrix 1", "3×5", "4 columns"});
    support::expect_error([&] { (void)stack_rows(w, MatrixXd(0, 4)); }, {"matrix 1", "empty", "0×4"});
    support::expect_error([&] { (void)stack_rows(std::vector<MatrixXd>{}); }, {"stack_rows", "no matrices"});
    support::expect_error(
        [&] {
            (void)stack_rows(std::vector<MatrixXd>{w, g.gaussian(2, 3)});
        },
        {"matrix 1", "2×3", "4 columns"});
    const auto d = nsvd::svd(w, nsvd::rank{2});
    const std::vector<Index> wrong{1, 1};
    const std::vector<Index> none{3, 0};
    support::expect_error([&] { (void)split_rows(d, wrong); }, {"split_rows", "sum to 2", "3 rows"});
    support::expect_error([&] { (void)split_rows(d, none); }, {"split_rows", "= 0 is less than 1"});
    // Their sum overflows to 3.
    constexpr Index most = std::numeric_limits<Index>::max();
    const std::vector<Index> huge{2, most, most, 3};
    support::expect_error([&] { (void)split_rows(d, huge); },
                          {"split_rows: heights[1]", "2 rows of 3", "too many"});
}
