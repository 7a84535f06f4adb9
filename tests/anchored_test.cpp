// SPDX-License-Identifier: MIT
// Anchored regression against alternating least squares, closed forms and pseudo-inverses.
#include "support/calibrated.hpp"
#include "support/catch.hpp"
#include "support/exact.hpp"
#include "support/expect_error.hpp"
#include "support/naive.hpp"
#include "support/random.hpp"

#include <nsvd/nsvd.hpp>

#include <Eigen/Cholesky>
#include <Eigen/QR>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <tuple>
#include <utility>

using Eigen::Index;
using Eigen::MatrixXd;
using nsvd::calibration;
using nsvd::moments;
using support::calibrated;
using support::expect_error;
using support::gaussian;

namespace {

constexpr double eps = std::numeric_limits<double>::epsilon();

/// A layer, its inputs before and after, and an error to make up for.
struct layer {
    MatrixXd w, a, b, e;
    double epsilon;

    layer(Index m, Index n, Index tokens, std::uint64_t seed, double outlier, double relative_epsilon)
        : w(gaussian(m, n, seed)),
          a(support::activations(n, tokens, seed + 10, outlier)),
          b(0.9 * a + 0.3 * support::activations(n, tokens, seed + 20, outlier)),
          e(gaussian(m, tokens, seed + 30)),
          epsilon(relative_epsilon) {}

    [[nodiscard]] double ridge() const { return epsilon * b.squaredNorm() / static_cast<double>(b.rows()); }
    [[nodiscard]] calibration<double> calib() const {
        calibration<double> c(a.rows());
        c.update(a, b);
        return c;
    }
    [[nodiscard]] MatrixXd error_moments() const { return e * b.transpose(); }

    /// ‖W A + E − W′ B‖² + ε‖W − W′‖² in long double.
    [[nodiscard]] double objective(const MatrixXd& approximation) const {
        const support::MatrixXl wide = w.cast<long double>();
        const support::MatrixXl other = approximation.cast<long double>();
        return static_cast<double>(
            (wide * a.cast<long double>() + e.cast<long double>() - other * b.cast<long double>())
                .squaredNorm() +
            static_cast<long double>(ridge()) * (wide - other).squaredNorm());
    }

    /// The same as one least-squares problem: ‖G − W′ H‖².
    [[nodiscard]] MatrixXd wanted() const {
        MatrixXd g(w.rows(), a.cols() + w.cols());
        g << w * a + e, std::sqrt(ridge()) * w;
        return g;
    }
    [[nodiscard]] MatrixXd seen() const {
        MatrixXd h(w.cols(), a.cols() + w.cols());
        h << b, std::sqrt(ridge()) * MatrixXd::Identity(w.cols(), w.cols());
        return h;
    }

    /// Alternating least squares for W′ = L R, by QR in every step: no Gram matrix, no SVD.
    [[nodiscard]] double alternate(Index k, std::uint64_t seed, int rounds) const {
        const MatrixXd g = wanted();
        const MatrixXd h = seen();
        const Eigen::HouseholderQR<MatrixXd> of_h(h.transpose());
        MatrixXd r = gaussian(k, w.cols(), seed);
        MatrixXd l;
        for (int i = 0; i < rounds; ++i) {
            const MatrixXd rh = r * h;
            l = Eigen::HouseholderQR<MatrixXd>(rh.transpose()).solve(g.transpose()).transpose();
            // min over R of ‖G − L R H‖: L⁺ G H⁺
            const MatrixXd lg = Eigen::HouseholderQR<MatrixXd>(l).solve(g);
            r = of_h.solve(lg.transpose()).transpose();
        }
        return objective(l * r);
    }
};

/// ‖(W A + E − W′ B) Bᵀ + ε (W − W′)‖ over the norms of its parts: 0 at a minimum over all matrices.
double gradient(const layer& p, const MatrixXd& target) {
    const MatrixXd fit = (p.w * p.a + p.e - target * p.b) * p.b.transpose();
    const MatrixXd pull = p.ridge() * (p.w - target);
    return (fit + pull).norm() /
           ((p.w * p.a).norm() * p.b.norm() + p.e.norm() * p.b.norm() + p.ridge() * p.w.norm());
}

}  // namespace

TEST_CASE("anchored: alternating least squares finds nothing better", "[anchored]") {
    for (const auto& [m, n, k] : {std::tuple(8, 10, 3), std::tuple(10, 7, 2), std::tuple(6, 6, 5)})
        for (const double outlier : {1.0, 30.0})
            for (const double epsilon : {0.03, 1e-4, 0.5}) {
                CAPTURE(m, n, k, outlier, epsilon);
                const layer p(m, n, 60, 1, outlier, epsilon);
                const MatrixXd errors = p.error_moments();
                const auto d = nsvd::anchored(p.w, p.calib(), nsvd::rank{k},
                                              {.epsilon = epsilon, .output_error = &errors});
                const double ours = p.objective(support::product(d));
                double best = std::numeric_limits<double>::infinity();
                for (std::uint64_t start = 0; start < 4; ++start)
                    best = std::min(best, p.alternate(k, 100 + start, 400));
                CHECK(ours <= best * (1 + 1e-10));
                CHECK(best <= ours * (1 + 1e-3));  // it did get there
                CHECK(support::orthogonality(d.left) <= 1e-13);
                CHECK(d.rank() == k);
            }
}

TEST_CASE("anchored: the target is where the gradient vanishes", "[anchored]") {
    for (const auto& [m, n] : {std::pair(8, 10), std::pair(10, 8), std::pair(1, 5), std::pair(5, 1)})
        for (const double outlier : {1.0, 1e3})
            for (const double epsilon : {0.0, 1e-6, 0.03, 10.0}) {
                CAPTURE(m, n, outlier, epsilon);
                const layer p(m, n, 70, 41, outlier, epsilon);
                const MatrixXd errors = p.error_moments();
                const nsvd::anchored_options options{.epsilon = epsilon, .output_error = &errors};
                const MatrixXd target = nsvd::anchored_target(p.w, p.calib(), options);
                CHECK(gradient(p, target) <= 1e-12);
                // At full rank that is the answer.
                const auto d = nsvd::anchored(p.w, p.calib(), nsvd::rank{std::min(m, n)}, options);
                CHECK(support::product(d).isApprox(target, 1e-12));
            }
}

TEST_CASE("anchored: with the inputs it was made for it is W, to the bit, and blended ASVD", "[anchored]") {
    const Eigen::MatrixXf w = gaussian(12, 9, 51).cast<float>();
    const Eigen::MatrixXf x = support::activations(9, 700, 52, 1e3).cast<float>();
    for (const moments about : {moments::raw, moments::central})
        for (const double epsilon : {0.0, 0.03}) {
            calibration<float> calib(9, about);
            calib.update(x, x);
            const nsvd::anchored_options options{.epsilon = epsilon, .moments = about};
            CHECK(nsvd::anchored_target(w, calib, options) == w.cast<double>());
            const auto d = nsvd::anchored(w, calib, nsvd::rank{4}, options);
            const auto e = nsvd::asvd(w, calib, nsvd::rank{4}, {.blend = epsilon, .moments = about});
            CHECK(d.left == e.left);
            CHECK(d.right == e.right);
        }
}

TEST_CASE("anchored: a singular matrix of inputs gives the correction of least norm", "[anchored]") {
    for (const double outlier : {1.0, 1e3})
        for (const Index tokens : {1, 3, 7, 12}) {
            CAPTURE(outlier, tokens);
            layer p(5, 12, tokens, 61, outlier, 0.0);
            p.b.row(2).setZero();  // a channel that died
            const MatrixXd errors = p.error_moments();
            const MatrixXd target =
                nsvd::anchored_target(p.w, p.calib(), {.epsilon = 0.0, .output_error = &errors});
            REQUIRE(target.allFinite());
            // By QR of B itself.
            Eigen::CompleteOrthogonalDecomposition<MatrixXd> of_b(p.b);
            const MatrixXd expected = p.w + (p.w * (p.a - p.b) + p.e) * of_b.pseudoInverse();
            CHECK((target - expected).norm() <= 1e-6 * (expected - p.w).norm());
            const auto d =
                nsvd::anchored(p.w, p.calib(), nsvd::rank{3}, {.epsilon = 0.0, .output_error = &errors});
            CHECK(support::product(d).allFinite());
            CHECK(d.info.status == nsvd::status::singular_metric);
        }
    // Nothing but zeros, and an epsilon that vanishes beside them.
    const MatrixXd w = gaussian(3, 4, 62);
    calibration<double> zeros(4);
    zeros.update(gaussian(4, 9, 63), MatrixXd::Zero(4, 9));
    CHECK(nsvd::anchored_target(w, zeros) == w);
    CHECK(nsvd::anchored_target(w, zeros, {.epsilon = 0.0}) == w);
    layer p(4, 6, 3, 64, 1.0, 0.0);
    for (const double epsilon : {1e-300, 1e-30, 1e-16, 1e-12}) {
        CAPTURE(epsilon);
        const MatrixXd target = nsvd::anchored_target(p.w, p.calib(), {.epsilon = epsilon});
        CHECK(target.norm() <= 1e3 * p.w.norm());
    }
}

TEST_CASE("anchored: scales of W and of the inputs", "[anchored]") {
    const layer p(6, 8, 50, 71, 10.0, 0.03);
    const MatrixXd errors = p.error_moments();
    const MatrixXd target = nsvd::anchored_target(p.w, p.calib(), {.output_error = &errors});
    const MatrixXd product =
        support::product(nsvd::anchored(p.w, p.calib(), nsvd::rank{3}, {.output_error = &errors}));
    for (const double scale : {1e-100, 1e-20, 1e20, 1e100}) {
        CAPTURE(scale);
        const MatrixXd w = scale * p.w;
        const MatrixXd scaled_errors = scale * errors;
        const nsvd::anchored_options options{.output_error = &scaled_errors};
        CHECK(nsvd::anchored_target(w, p.calib(), options).isApprox(scale * target, 1e-12));
        CHECK(support::product(nsvd::anchored(w, p.calib(), nsvd::rank{3}, options))
                  .isApprox(scale * product, 1e-10));
        calibration<double> calib(8);
        calib.update(scale * p.a, scale * p.b);
        // e stays: E Bᵀ grows like B, and the correction by it shrinks.
        const MatrixXd large = scale * (scale * errors);
        CHECK(nsvd::anchored_target(p.w, calib, {.output_error = &large}).isApprox(target, 1e-12));
    }
    for (const float scale : {1e-20F, 1e15F}) {
        CAPTURE(scale);
        const Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor> w =
            scale * p.w.cast<float>();
        const MatrixXd scaled_errors = static_cast<double>(scale) * errors;
        const auto d = nsvd::anchored(w, p.calib(), nsvd::rank{3}, {.output_error = &scaled_errors});
        CHECK(support::product(d).isApprox(static_cast<double>(scale) * product, 1e-5));
    }
}

TEST_CASE("anchored: weights, merged halves and central moments", "[anchored]") {
    const layer p(6, 8, 50, 81, 3.0, 0.03);
    const Eigen::VectorXd weights = gaussian(50, 1, 82).cwiseAbs();
    const Eigen::MatrixXd roots = weights.cwiseSqrt().asDiagonal();
    calibration<double> weighted(8), scaled(8);
    weighted.update(p.a.leftCols(20), p.b.leftCols(20), weights.head(20));
    calibration<double> second(8);
    second.update(p.a.rightCols(30), p.b.rightCols(30), weights.tail(30));
    weighted.merge(second);
    scaled.update(MatrixXd(p.a * roots), MatrixXd(p.b * roots));
    CHECK(nsvd::anchored_target(p.w, weighted).isApprox(nsvd::anchored_target(p.w, scaled), 1e-12));

    const MatrixXd a = p.a.array() + 20.0;
    const MatrixXd b = p.b.array() - 30.0;
    const auto centred = [](const MatrixXd& x) -> MatrixXd { return x.colwise() - x.rowwise().mean(); };
    calibration<double> central(8, moments::central), plain(8), raw(8);
    central.update(a, b);
    plain.update(centred(a), centred(b));
    raw.update(a, b);
    const nsvd::anchored_options about_means{.moments = moments::central};
    CHECK(
        nsvd::anchored_target(p.w, central, about_means).isApprox(nsvd::anchored_target(p.w, plain), 1e-10));
    CHECK(support::product(nsvd::anchored(p.w, central, nsvd::rank{3}, about_means))
              .isApprox(support::product(nsvd::anchored(p.w, plain, nsvd::rank{3})), 1e-8));
    CHECK(nsvd::anchored_target(p.w, central).isApprox(nsvd::anchored_target(p.w, raw), 1e-10));
    expect_error([&] { (void)nsvd::anchored_target(p.w, raw, about_means); }, {"raw", "moments::central"});
}

TEST_CASE("anchored: an error of the output alone, and stages for the residual", "[anchored]") {
    const layer p(9, 8, 50, 91, 3.0, 0.03);
    const MatrixXd errors = p.error_moments();
    // Without pairs A = B.
    layer same = p;
    same.a = same.b;
    const nsvd::anchored_options options{.output_error = &errors};
    const MatrixXd target = nsvd::anchored_target(p.w, calibrated(p.b), options);
    CHECK(gradient(same, target) <= 1e-13);
    CHECK(target.isApprox(nsvd::anchored_target(p.w, same.calib(), options), 1e-12));

    const MatrixXd t = nsvd::anchored_target(p.w, p.calib(), options);
    for (const auto residual : {nsvd::residual::svd, nsvd::residual::interpolative}) {
        const auto d = nsvd::anchored(p.w, p.calib(), nsvd::rank{5},
                                      {.share = 0.6, .output_error = &errors, .residual = residual});
        const auto e =
            nsvd::nested(t, p.calib(), nsvd::rank{5}, {.share = 0.6, .residual = residual, .blend = 0.03});
        CHECK(support::product(d).isApprox(support::product(e), 1e-12));
        CHECK(d.parameters() == e.parameters());
        CHECK(d.info.stages.size() == 2);
    }
    CHECK(nsvd::anchored(p.w, p.calib(), nsvd::energy{0.9}).rank() >= 1);
}

TEST_CASE("anchored: larger than what is solved in double", "[anchored]") {
    const layer p(520, 560, 1500, 101, 50.0, 0.03);
    const Eigen::MatrixXf w = p.w.cast<float>();
    nsvd::workspace memory;
    const auto d = nsvd::anchored(w, p.calib(), nsvd::rank{150}, {.workspace = &memory});
    // T and M^½ without the library.
    MatrixXd metric = p.b * p.b.transpose();
    metric.diagonal().array() += p.ridge();
    const Eigen::LLT<MatrixXd> llt(metric);
    const MatrixXd wide = w.cast<double>();
    const MatrixXd target = wide + llt.solve((wide * (p.a - p.b) * p.b.transpose()).transpose()).transpose();
    const MatrixXd root = llt.matrixL();
    const Eigen::VectorXd values = support::singular_values_of(target * root);
    const double error = ((target - support::product(d)) * root).norm();
    CHECK(error <= values.tail(values.size() - 150).norm() * (1 + 1e-4));
    CHECK(support::orthogonality(d.left) <= 1e-4);
}

TEST_CASE("anchored: misuse", "[anchored]") {
    const layer p(5, 6, 20, 111, 1.0, 0.03);
    const auto calib = p.calib();
    expect_error([&] { (void)nsvd::anchored(p.w, calibrated(p.b), nsvd::rank{2}); },
                 {"anchored", "no pairs", "update(a, b)"});
    expect_error([&] { (void)nsvd::anchored_target(p.w, calibrated(p.b)); }, {"anchored_target", "no pairs"});
    expect_error([&] { (void)nsvd::anchored(p.w, calibration<float>(6), nsvd::rank{2}); }, {"no tokens"});
    expect_error([&] { (void)nsvd::anchored(p.w, calib, nsvd::rank{6}); }, {"rank 6", "[1, 5]"});
    expect_error([&] { (void)nsvd::anchored(MatrixXd(p.w.transpose()), calib, nsvd::rank{2}); },
                 {"anchored", "6×5", "6 features"});
    const double nan = std::numeric_limits<double>::quiet_NaN();
    for (const double epsilon : {-1.0, nan, std::numeric_limits<double>::infinity()})
        expect_error([&] { (void)nsvd::anchored(p.w, calib, nsvd::rank{2}, {.epsilon = epsilon}); },
                     {"epsilon", nsvd::detail::text(epsilon)});
    expect_error([&] { (void)nsvd::anchored(p.w, calib, nsvd::rank{2}, {.share = 1.5}); },
                 {"anchored", "share = 1.5"});
    MatrixXd errors = MatrixXd::Zero(5, 5);
    expect_error([&] { (void)nsvd::anchored(p.w, calib, nsvd::rank{2}, {.output_error = &errors}); },
                 {"output_error", "5×5", "5×6"});
    errors = MatrixXd::Zero(5, 6);
    errors(4, 5) = nan;
    expect_error([&] { (void)nsvd::anchored(p.w, calib, nsvd::rank{2}, {.output_error = &errors}); },
                 {"output_error(4, 5) = nan"});
    MatrixXd bad = p.w;
    bad(1, 2) = nan;
    expect_error([&] { (void)nsvd::anchored(bad, calib, nsvd::rank{2}); }, {"anchored", "W(1, 2) = nan"});
    const MatrixXd huge = MatrixXd::Constant(5, 6, 0x1p1023);
    calibration<double> grown(6);
    grown.update(MatrixXd(8.0 * MatrixXd::Identity(6, 6)), MatrixXd::Identity(6, 6));
    expect_error([&] { (void)nsvd::anchored_target(huge, grown); }, {"exceeds the range of double"});
    const MatrixXd one = MatrixXd::Constant(1, 1, 2.0);
    calibration<double> single(1);
    single.update(MatrixXd::Constant(1, 3, 3.0), MatrixXd::Constant(1, 3, 4.0));
    CHECK(nsvd::anchored_target(one, single, {.epsilon = 0.0})(0, 0) == Approx(1.5).epsilon(10 * eps));
    CHECK(support::product(nsvd::anchored(one, single, nsvd::rank{1}))(0, 0) ==
          Approx((2.0 * 12.0 + 0.03 * 16.0 * 2.0) / (16.0 * 1.03)).epsilon(10 * eps));
}
