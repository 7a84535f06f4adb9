// SPDX-License-Identifier: MIT
// Similarity of calibrations against closed forms.
#include "support/calibrated.hpp"
#include "support/catch.hpp"
#include "support/expect_error.hpp"
#include "support/generate.hpp"

#include <nsvd/similarity.hpp>

#include <Eigen/Core>
#include <Eigen/SVD>

#include <cmath>

namespace {

using Eigen::Index;
using Eigen::MatrixXd;
using Eigen::VectorXd;
using nsvd::similarity;
using support::calibrated;
using support::generator;

}  // namespace

TEST_CASE("similarity: with itself and with another scale of it", "[similarity]") {
    generator g(1);
    for (const double scale : {1.0, 1e-90, 1e90}) {
        const MatrixXd x = scale * g.gaussian(7, 30);
        const auto a = calibrated(x);
        // Twice the tokens, another scale and sign.
        MatrixXd twice(7, 60);
        twice << -3.0 * x, -3.0 * x;
        const auto s = similarity(a, calibrated(twice), 4);
        CAPTURE(scale);
        CHECK(s.means == Approx(-1.0));
        CHECK(s.mean_abs == Approx(1.0));
        CHECK(s.grams == Approx(1.0));
        REQUIRE(s.principal_cosines.size() == 4);
        CHECK((s.principal_cosines.array() - 1.0).abs().maxCoeff() <= 1e-7);
        CHECK(similarity(a, a).principal_cosines.size() == 0);
    }
}

TEST_CASE("similarity: known angles", "[similarity]") {
    // Inputs in planes that are turned against each other by 0.3 and 1.1, and have nothing else in common.
    const double first = 0.3;
    const double second = 1.1;
    MatrixXd u = MatrixXd::Zero(6, 2);
    MatrixXd v = MatrixXd::Zero(6, 2);
    u(0, 0) = u(1, 1) = 1.0;
    v(0, 0) = std::cos(first);
    v(2, 0) = std::sin(first);
    v(1, 1) = std::cos(second);
    v(3, 1) = std::sin(second);
    const auto s = similarity(calibrated(u), calibrated(v), 2);
    CHECK(s.principal_cosines(0) == Approx(std::cos(first)));
    CHECK(s.principal_cosines(1) == Approx(std::cos(second)));
    // ⟨U Uᵀ, V Vᵀ⟩ = Σ cos².
    CHECK(s.grams == Approx((std::pow(std::cos(first), 2) + std::pow(std::cos(second), 2)) / 2.0));
    CHECK(s.means == Approx((std::cos(first) + std::cos(second)) / 2.0));

    MatrixXd w = MatrixXd::Zero(6, 2);
    w(4, 0) = w(5, 1) = 1.0;
    const auto apart = similarity(calibrated(u), calibrated(w), 2);
    CHECK(apart.grams == 0.0);
    CHECK(apart.means == 0.0);
    CHECK(apart.principal_cosines.maxCoeff() <= 1e-7);
}

TEST_CASE("similarity: principal angles against an SVD", "[similarity]") {
    for (std::uint64_t seed = 1; seed <= 10; ++seed) {
        generator g(seed);
        const Index n = 5 + static_cast<Index>(seed);
        const Index k = 1 + static_cast<Index>(seed) / 2;
        const auto data = [&] {
            return MatrixXd(g.orthonormal(n, n) * support::geometric(n, 100.0).asDiagonal() *
                            g.orthonormal(n, n).transpose());
        };
        const MatrixXd x = data();
        const MatrixXd y = data();
        const auto leading = [k](const MatrixXd& a) {
            return MatrixXd(Eigen::JacobiSVD<MatrixXd>(a, Eigen::ComputeThinU).matrixU().leftCols(k));
        };
        const VectorXd cosines =
            Eigen::JacobiSVD<MatrixXd>(leading(x).transpose() * leading(y)).singularValues();
        CHECK(
            (similarity(calibrated(x), calibrated(y), k).principal_cosines - cosines).cwiseAbs().maxCoeff() <=
            1e-7);
    }
}

TEST_CASE("similarity: zero inputs and misuse", "[similarity]") {
    generator g(3);
    const auto a = calibrated(g.gaussian(4, 9));
    const auto zero = similarity(a, calibrated(MatrixXd::Zero(4, 2)));
    CHECK(zero.means == 0.0);
    CHECK(zero.grams == 0.0);
    support::expect_error([&] { (void)similarity(a, calibrated(g.gaussian(5, 9))); },
                          {"similarity", "4", "5"});
    support::expect_error([&] { (void)similarity(a, nsvd::calibration<float>(4)); }, {"second", "no tokens"});
    support::expect_error([&] { (void)similarity(a, a, 5); }, {"dimension = 5", "[0, 4]"});
}
