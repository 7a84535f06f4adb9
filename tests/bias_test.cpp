// SPDX-License-Identifier: MIT
// Biases against the mean errors of tokens, and pairs of W′ and bias against an SVD of centred data.
#include "support/calibrated.hpp"
#include "support/catch.hpp"
#include "support/expect_error.hpp"
#include "support/naive.hpp"
#include "support/random.hpp"

#include <nsvd/nsvd.hpp>

#include <Eigen/QR>

#include <cmath>
#include <cstdint>
#include <limits>
#include <utility>

using Eigen::Index;
using Eigen::MatrixXd;
using Eigen::VectorXd;
using nsvd::calibration;
using nsvd::moments;
using support::calibrated;
using support::expect_error;
using support::gaussian;
using support::MatrixXl;
using support::VectorXl;

namespace {

constexpr double eps = std::numeric_limits<double>::epsilon();

/// ‖W A + E − W′ B − b 1ᵀ‖_F in long double.
double total_error(const MatrixXd& w, const MatrixXd& approximation, const MatrixXd& a, const MatrixXd& b,
                   const VectorXd& bias) {
    MatrixXl rest = w.cast<long double>() * a.cast<long double>() -
                    approximation.cast<long double>() * b.cast<long double>();
    rest.colwise() -= VectorXl(bias.cast<long double>());
    return static_cast<double>(rest.norm());
}

/// Something with a product and nothing else.
struct opaque {
    MatrixXd values;
    [[nodiscard]] Index rows() const { return values.rows(); }
    [[nodiscard]] Index cols() const { return values.cols(); }
    [[nodiscard]] VectorXd operator*(const VectorXd& x) const { return values * x; }
};

template <class Scalar, int Order>
void check_least_squares(moments about) {
    const Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic, Order> w = gaussian(7, 9, 1).cast<Scalar>();
    const MatrixXd wide = w.template cast<double>();
    const MatrixXd a = support::activations(9, 80, 2, 10.0).array() + 4.0;
    const MatrixXd b = a + gaussian(9, 80, 3);
    const MatrixXd e = gaussian(7, 80, 4).array() + 2.0;
    const VectorXd weights = gaussian(80, 1, 5).cwiseAbs();
    calibration<Scalar> pairs(9, about), plain(9, about);
    pairs.update(a, b, weights);
    plain.update(b, weights);
    const auto mean = [&](const MatrixXl& x) -> VectorXd {
        return (x * weights.cast<long double>() / weights.cast<long double>().sum()).cast<double>();
    };
    const MatrixXl wa = wide.cast<long double>() * a.cast<long double>();
    const MatrixXl wb = wide.cast<long double>() * b.cast<long double>();
    const auto d = nsvd::svd(w, nsvd::rank{3});
    const auto p = nsvd::pivot(d);
    const MatrixXl db = support::product(d).template cast<long double>() * b.cast<long double>();
    const MatrixXl pb = support::product(p.plain()).template cast<long double>() * b.cast<long double>();
    const double slack = 1000 * eps * wide.norm() * b.cwiseAbs().maxCoeff();
    const VectorXd mean_error = mean(e.cast<long double>());
    CHECK((nsvd::bias_correction(w, d, plain) - mean(wb - db)).norm() <= slack);
    CHECK((nsvd::bias_correction(w, d, pairs) - mean(wa - db)).norm() <= slack);
    CHECK((nsvd::bias_correction(w, p, pairs) - mean(wa - pb)).norm() <= slack);
    CHECK((nsvd::bias_correction(w, opaque{support::product(d)}, pairs) - mean(wa - db)).norm() <= slack);
    CHECK((nsvd::bias_correction(w, d, pairs, mean_error) - mean(wa + e.cast<long double>() - db)).norm() <=
          slack);
}

}  // namespace

TEST_CASE("bias: the mean error of the tokens, for any scalar, order and storage", "[bias]") {
    for (const moments about : {moments::raw, moments::central}) {
        check_least_squares<float, Eigen::ColMajor>(about);
        check_least_squares<float, Eigen::RowMajor>(about);
        check_least_squares<double, Eigen::ColMajor>(about);
        check_least_squares<double, Eigen::RowMajor>(about);
    }
}

TEST_CASE("bias: with the central metric no other rank-k matrix and bias do better", "[bias][moments]") {
    for (const auto& [m, n] : {std::pair(9, 12), std::pair(12, 9)})
        for (const double offset : {0.0, 5.0, 1e6}) {
            CAPTURE(m, n, offset);
            const Index k = 4;
            const MatrixXd w = gaussian(m, n, 11);
            MatrixXd x = gaussian(n, 70, 12);
            x.colwise() += offset * gaussian(n, 1, 13).col(0);
            calibration<double> calib(n, moments::central);
            calib.update(x);
            const auto d = nsvd::asvd(w, calib, nsvd::rank{k}, {.moments = moments::central});
            const double error =
                total_error(w, support::product(d), x, x, nsvd::bias_correction(w, d, calib));
            // Whatever W′, its best bias leaves the centred data: Eckart and Young give the best W′ for them.
            MatrixXl rest = w.cast<long double>() * x.cast<long double>();
            rest.colwise() -= VectorXl(rest.rowwise().mean());
            const double best = support::best_error(rest.cast<double>(), k);
            CHECK(error == Approx(best).epsilon(1e-8));
            // The metric of raw moments spends a direction on the mean.
            const auto raw = nsvd::asvd(w, calib, nsvd::rank{k});
            CHECK(total_error(w, support::product(raw), x, x, nsvd::bias_correction(w, raw, calib)) >=
                  error * (1 - 1e-9));
            CHECK(total_error(w, support::product(raw), x, x, VectorXd::Zero(m)) >= error * (1 - 1e-9));
            for (std::uint64_t seed = 0; seed < 20; ++seed) {
                const MatrixXd other =
                    support::product(d) + 0.1 * gaussian(m, k, 100 + seed) * gaussian(k, n, 200 + seed);
                const VectorXd bias = nsvd::bias_correction(w, opaque{other}, calib);
                CHECK(total_error(w, other, x, x, bias) >= best * (1 - 1e-9));
            }
        }
}

TEST_CASE("bias: anchored regression about the means", "[bias][anchored]") {
    const Index k = 3;
    const MatrixXd w = gaussian(6, 8, 21);
    const MatrixXd a = gaussian(8, 90, 22).array() + 50.0;
    const MatrixXd b = 0.9 * a + 0.2 * gaussian(8, 90, 23);
    calibration<double> calib(8, moments::central);
    calib.update(a, b);
    const nsvd::anchored_options options{.epsilon = 0.0, .moments = moments::central};
    const auto d = nsvd::anchored(w, calib, nsvd::rank{k}, options);
    const double error = total_error(w, support::product(d), a, b, nsvd::bias_correction(w, d, calib));
    // The best of rank k: what of W A no W′ B can give, and the tail of what one can.
    const auto centred = [](const MatrixXd& x) -> MatrixXd { return x.colwise() - x.rowwise().mean(); };
    const MatrixXd wanted = w * centred(a);
    const MatrixXd basis =
        Eigen::HouseholderQR<MatrixXd>(centred(b).transpose()).householderQ() * MatrixXd::Identity(90, 8);
    const MatrixXd possible = wanted * basis;
    const double out_of_reach = wanted.squaredNorm() - possible.squaredNorm();
    CHECK(error ==
          Approx(std::sqrt(out_of_reach + std::pow(support::best_error(possible, k), 2))).epsilon(1e-8));
}

TEST_CASE("bias: scales, one channel, full rank", "[bias]") {
    const MatrixXd w = gaussian(5, 6, 31);
    const MatrixXd x = gaussian(6, 40, 32).array() + 1.0;
    const auto d = nsvd::svd(w, nsvd::rank{2});
    const VectorXd expected = nsvd::bias_correction(w, d, calibrated(x));
    for (const double scale : {1e-140, 1e-30, 1e30, 1e120}) {
        CHECK(nsvd::bias_correction(w, d, calibrated(scale * x)).isApprox(scale * expected, 1e-12));
        const MatrixXd scaled = scale * w;
        CHECK(nsvd::bias_correction(scaled, nsvd::svd(scaled, nsvd::rank{2}), calibrated(x))
                  .isApprox(scale * expected, 1e-12));
    }
    const MatrixXd one = MatrixXd::Constant(1, 1, 3.0);
    CHECK(nsvd::bias_correction(one, nsvd::svd(one, nsvd::rank{1}), calibrated(one)).norm() <= 10 * eps);
    CHECK(nsvd::bias_correction(w, nsvd::svd(w, nsvd::rank{5}), calibrated(x)).norm() <= 1e-13 * w.norm());
}

TEST_CASE("bias: factors at the ends of the range", "[bias]") {
    const MatrixXd w = gaussian(5, 6, 33);
    const MatrixXd x = gaussian(6, 40, 34).array() + 1.0;
    const auto d = nsvd::svd(w, nsvd::rank{2});
    const VectorXd expected = nsvd::bias_correction(w, d, calibrated(x));
    for (const double scale : {1e-300, 1e300}) {
        // In the left factor of one direction, in the right one of the other, and its inverse beside it.
        auto turned = d;
        turned.left.col(0) *= scale;
        turned.right.row(0) /= scale;
        turned.left.col(1) /= scale;
        turned.right.row(1) *= scale;
        // Directions that lack a vector are none, whatever the scale of the other.
        turned.left.conservativeResize(Eigen::NoChange, 4);
        turned.right.conservativeResize(4, Eigen::NoChange);
        turned.left.col(2).setConstant(1e200);
        turned.right.row(2).setZero();
        turned.left.col(3).setZero();
        turned.right.row(3).setConstant(1e200);
        for (const double tokens : {1e-30, 1.0, 1e20})
            CHECK(
                nsvd::bias_correction(w, turned, calibrated(tokens * x)).isApprox(tokens * expected, 1e-12));
    }
    // The largest direction does not meet the mean, (0, 1).
    const MatrixXd around = (MatrixXd(2, 2) << 1.0, -1.0, 1.0, 1.0).finished();
    const nsvd::low_rank<double> graded{Eigen::Vector2d(1e200, 1e-150).asDiagonal().toDenseMatrix(),
                                        Eigen::Vector2d(1e100, 1e-5).asDiagonal().toDenseMatrix()};
    CHECK(nsvd::bias_correction(MatrixXd::Zero(2, 2), graded, calibrated(around))
              .isApprox(Eigen::Vector2d(0.0, -1e-155), 1e-12));
}

TEST_CASE("bias: misuse", "[bias]") {
    const MatrixXd w = gaussian(5, 6, 41);
    const auto calib = calibrated(gaussian(6, 20, 42));
    auto d = nsvd::svd(w, nsvd::rank{2});
    const MatrixXd turned = w.transpose();
    expect_error([&] { (void)nsvd::bias_correction(turned, d, calib); }, {"W is 6×5", "5×6"});
    expect_error([&] { (void)nsvd::bias_correction(w, d, calibrated(gaussian(5, 9, 43))); },
                 {"bias_correction", "6 columns", "5 features"});
    expect_error([&] { (void)nsvd::bias_correction(w, d, calibration<float>(6)); }, {"no tokens"});
    expect_error([&] { (void)nsvd::bias_correction(w, d, calib, VectorXd::Zero(4)); },
                 {"mean_error", "4", "5 rows"});
    const double nan = std::numeric_limits<double>::quiet_NaN();
    expect_error([&] { (void)nsvd::bias_correction(w, d, calib, VectorXd::Constant(5, nan)); },
                 {"mean_error(0, 0) = nan"});
    MatrixXd bad = w;
    bad(2, 3) = nan;
    expect_error([&] { (void)nsvd::bias_correction(bad, d, calib); }, {"W(2, 3) = nan"});
    d.left(1, 1) = nan;
    expect_error([&] { (void)nsvd::bias_correction(w, d, calib); }, {"left(1, 1) = nan"});
    d.left.resize(5, 3);
    d.left.setZero();
    expect_error([&] { (void)nsvd::bias_correction(w, d, calib); }, {"left is 5×3", "right is 2×6"});
}
