// SPDX-License-Identifier: MIT
// Error metrics against the norms of the matrices themselves.
#include "support/calibrated.hpp"
#include "support/catch.hpp"
#include "support/naive.hpp"
#include "support/random.hpp"

#include <nsvd/nsvd.hpp>

#include <cmath>
#include <utility>

using Eigen::Index;
using Eigen::MatrixXd;
using support::calibrated;
using support::gaussian;
using support::naive_error;

namespace {

template <class Scalar>
nsvd::low_rank<Scalar> factors(const MatrixXd& left, const MatrixXd& right) {
    nsvd::low_rank<Scalar> d;
    d.left = left.cast<Scalar>();
    d.right = right.cast<Scalar>();
    return d;
}

}  // namespace

TEST_CASE("metrics: plain and weighted error are those of the matrices", "[metrics]") {
    for (const auto& [m, n] : {std::pair(9, 14), std::pair(14, 9), std::pair(1, 5), std::pair(5, 1)})
        for (const double outlier : {1.0, 1e3, 1e6}) {
            CAPTURE(m, n, outlier);
            const MatrixXd w = gaussian(m, n, 1);
            const MatrixXd x = support::activations(n, 70, 2, outlier);
            // Any factors, not only good ones.
            const auto d = factors<double>(gaussian(m, 2, 3), gaussian(2, n, 4));
            CHECK(nsvd::plain_error(w, d) == Approx(naive_error(w, support::product(d))).epsilon(1e-12));
            CHECK(nsvd::weighted_error(w, d, calibrated(x)) ==
                  Approx(naive_error(w, support::product(d), x)).epsilon(1e-9));
        }
}

TEST_CASE("metrics: factors in float, W in half", "[metrics]") {
    const Eigen::MatrixX<Eigen::half> w = gaussian(8, 12, 11).cast<Eigen::half>();
    const MatrixXd wide = w.cast<double>();
    const MatrixXd x = support::activations(12, 60, 12, 1e3).cast<float>().cast<double>();
    const auto d = nsvd::svd(w, nsvd::rank{5});
    CHECK(nsvd::plain_error(w, d) == Approx(naive_error(wide, support::product(d))).epsilon(1e-12));
    CHECK(nsvd::weighted_error(w, d, calibrated(x)) ==
          Approx(naive_error(wide, support::product(d), x)).epsilon(1e-9));
    nsvd::calibration<Eigen::bfloat16> labelled(12);
    labelled.update(x);
    CHECK(nsvd::weighted_error(w, d, labelled) == nsvd::weighted_error(w, d, calibrated(x)));
}

TEST_CASE("metrics: small errors keep their digits", "[metrics]") {
    const MatrixXd w = support::with_spectrum(10, 10, support::geometric(10, 1.0, 0.1), 21);
    const MatrixXd x = gaussian(10, 40, 22);
    for (const Index k : {2, 4, 6}) {  // down to 1e-6
        const auto d = nsvd::svd(w, nsvd::rank{k});
        CAPTURE(k);
        CHECK(nsvd::plain_error(w, d) == Approx(naive_error(w, support::product(d))).epsilon(1e-6));
        CHECK(nsvd::weighted_error(w, d, calibrated(x)) ==
              Approx(naive_error(w, support::product(d), x)).epsilon(1e-6));
    }
    const auto exact = nsvd::svd(w, nsvd::rank{10});
    CHECK(nsvd::plain_error(w, exact) <= 1e-14);
    CHECK(nsvd::weighted_error(w, exact, calibrated(x)) <= 1e-8);
}

TEST_CASE("metrics: an error is never NaN, also where everything vanishes", "[metrics]") {
    const MatrixXd zero = MatrixXd::Zero(4, 6);
    const MatrixXd w = gaussian(4, 6, 31);
    const MatrixXd x = gaussian(6, 20, 32);
    const auto none = factors<double>(MatrixXd::Zero(4, 1), MatrixXd::Zero(1, 6));
    const auto some = factors<double>(gaussian(4, 1, 33), gaussian(1, 6, 34));
    const auto rank_0 = factors<double>(MatrixXd(4, 0), MatrixXd(0, 6));
    CHECK(nsvd::plain_error(zero, none) == 0.0);
    CHECK(nsvd::weighted_error(zero, none, calibrated(x)) == 0.0);
    CHECK(std::isinf(nsvd::plain_error(zero, some)));
    CHECK(std::isinf(nsvd::weighted_error(zero, some, calibrated(x))));
    CHECK(nsvd::plain_error(w, none) == 1.0);
    CHECK(nsvd::plain_error(w, rank_0) == 1.0);
    CHECK(nsvd::weighted_error(w, none, calibrated(x)) == Approx(1.0).epsilon(1e-15));
    // Inputs that are zero, in part or altogether.
    CHECK(nsvd::weighted_error(w, some, calibrated(MatrixXd::Zero(6, 3))) == 0.0);
    MatrixXd gaps = x;
    gaps.row(0).setZero();
    gaps.row(5).setZero();
    CHECK(nsvd::weighted_error(w, some, calibrated(gaps)) ==
          Approx(naive_error(w, support::product(some), gaps)).epsilon(1e-12));
    MatrixXd blind = MatrixXd::Zero(4, 6);
    blind.col(5) = gaussian(4, 1, 35);  // W X = 0, W ≠ 0
    CHECK(nsvd::weighted_error(blind, none, calibrated(gaps)) == 0.0);
    CHECK(std::isinf(nsvd::weighted_error(blind, some, calibrated(gaps))));
}

TEST_CASE("metrics: scale of W or X does not matter", "[metrics]") {
    const MatrixXd w = gaussian(7, 10, 41);
    const MatrixXd x = support::activations(10, 50, 42, 1e3);
    const MatrixXd left = gaussian(7, 2, 43);
    const MatrixXd right = gaussian(2, 10, 44);
    const auto d = factors<double>(left, right);
    const double plain = naive_error(w, support::product(d));
    const double weighted = naive_error(w, support::product(d), x);
    for (const double scale : {1e-300, 1e-100, 1e100, 1e300}) {
        CAPTURE(scale);
        const MatrixXd scaled = scale * w;
        for (const auto& e : {factors<double>(scale * left, right), factors<double>(left, scale * right)}) {
            CHECK(nsvd::plain_error(scaled, e) == Approx(plain).epsilon(1e-12));
            CHECK(nsvd::weighted_error(scaled, e, calibrated(x)) == Approx(weighted).epsilon(1e-10));
        }
    }
    for (const double scale : {1e-100, 1e100})
        CHECK(nsvd::weighted_error(w, d, calibrated(scale * x)) == Approx(weighted).epsilon(1e-10));
    for (const float scale : {1e-30F, 1e-15F, 1e15F, 1e30F}) {
        CAPTURE(scale);
        const Eigen::MatrixXf scaled = scale * w.cast<float>();
        const auto e = nsvd::svd(scaled, nsvd::rank{3});
        CHECK(nsvd::plain_error(scaled, e) == Approx(support::best_error(w, 3) / w.norm()).epsilon(1e-6));
    }
}

TEST_CASE("metrics: directions of different scales", "[metrics]") {
    // The scale of W is in the left factor of one direction, in the right one of another. Found by fuzzing.
    const MatrixXd w = gaussian(7, 10, 45);
    const MatrixXd x = support::activations(10, 50, 46, 1e3);
    const MatrixXd left = gaussian(7, 3, 47);
    const MatrixXd right = gaussian(3, 10, 48);
    const double plain = naive_error(w, left * right);
    const double weighted = naive_error(w, left * right, x);
    for (const int exponent : {-1015, -300, 300, 1015}) {
        CAPTURE(exponent);
        const double scale = std::ldexp(1.0, exponent);
        MatrixXd l = left, r = right;
        l.col(0) *= scale;
        r.row(1) *= scale;
        l.col(2) *= std::ldexp(1.0, exponent / 2);
        r.row(2) *= std::ldexp(1.0, exponent - exponent / 2);
        CHECK(nsvd::plain_error(scale * w, factors<double>(l, r)) == Approx(plain).epsilon(1e-12));
        CHECK(nsvd::weighted_error(scale * w, factors<double>(l, r), calibrated(x)) ==
              Approx(weighted).epsilon(1e-10));
    }
}

TEST_CASE("metrics: an approximation far larger than W, or far smaller", "[metrics]") {
    const MatrixXd w = gaussian(7, 10, 49);
    const MatrixXd left = gaussian(7, 3, 50);
    const MatrixXd right = gaussian(3, 10, 51);
    const double ratio = (left * right).norm() / w.norm();
    for (const int exponent : {600, 1000}) {
        const double scale = std::ldexp(1.0, exponent);
        const auto d = factors<double>(scale * left, right);
        CHECK(nsvd::plain_error(w, d) == Approx(ratio * scale).epsilon(1e-12));
        CHECK(nsvd::plain_error(w / scale, factors<double>(left, right)) ==
              Approx(ratio * scale).epsilon(1e-12));
        CHECK(nsvd::plain_error(scale * w, factors<double>(left, right)) == Approx(1.0).epsilon(1e-12));
        CHECK(std::isinf(nsvd::plain_error(w / scale, d)));  // beyond the range of double
        // A direction without one of its vectors is none, whatever the scale of the other.
        auto half = factors<double>(left, right);
        half.left.col(1) *= scale;
        half.right.row(1).setZero();
        const MatrixXd rest = left.col(0) * right.row(0) + left.col(2) * right.row(2);
        CHECK(nsvd::plain_error(w, half) == Approx(naive_error(w, rest)).epsilon(1e-12));
    }
}

TEST_CASE("metrics: weights in channels far smaller than others", "[metrics]") {
    // All that W has meets inputs of 1e-100, beside some of 1e100.
    MatrixXd x = gaussian(2, 30, 55);
    x.row(0) *= 1e-100;
    x.row(1) *= 1e100;
    const MatrixXd w = (MatrixXd(2, 2) << 1.0, 0.0, 1.0, 0.0).finished();
    const auto half = factors<double>(Eigen::Vector2d(1.0, 0.0), Eigen::RowVector2d(1.0, 0.0));
    CHECK(nsvd::weighted_error(w, half, calibrated(x)) == Approx(std::sqrt(0.5)));
    const auto none = factors<double>(MatrixXd::Zero(2, 1), MatrixXd::Zero(1, 2));
    MatrixXd tiny = w;
    tiny.col(1).setConstant(1e-280);
    CHECK(nsvd::weighted_error(tiny, none, calibrated(x)) == Approx(1.0));
    // Nothing, and an approximation whose squares vanish.
    const auto some = factors<double>(Eigen::Vector2d(1e-180, 0.0), Eigen::RowVector2d(1.0, 0.0));
    CHECK(std::isinf(nsvd::plain_error(MatrixXd::Zero(2, 2), some)));
}

TEST_CASE("metrics: repeating the inputs changes nothing", "[metrics]") {
    const MatrixXd w = gaussian(6, 8, 51);
    const MatrixXd x = gaussian(8, 30, 52);
    const auto d = factors<double>(gaussian(6, 2, 53), gaussian(2, 8, 54));
    auto twice = calibrated(x);
    twice.update(x);
    CHECK(nsvd::weighted_error(w, d, twice) ==
          Approx(nsvd::weighted_error(w, d, calibrated(x))).epsilon(1e-13));
}
