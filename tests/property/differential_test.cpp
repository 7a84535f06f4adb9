// SPDX-License-Identifier: MIT
// The library against Jacobi SVDs of W X and of the residuals, in double: no Gram matrix, no whitening.
// Errors must agree within 2e-5, both of them: the plain error does only if the subspace is the right one.
#include "support/catch.hpp"
#include "support/generate.hpp"
#include "support/reference_svd.hpp"

#include <nsvd/nsvd.hpp>

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <limits>
#include <type_traits>
#include <utility>
#include <vector>

namespace {

using Eigen::Index;
using Eigen::MatrixXd;

template <class Scalar>
using matrix_of = Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic>;

/// What the comparison may differ by: 2e-5 of the error, and the rounding of the factors, which adds to the
/// error in quadrature.
struct allowance {
    double weighted;  ///< relative to ‖W X‖
    double plain;     ///< relative to ‖W‖
};

void check_error(double found, double optimum, double rounding) {
    CAPTURE(optimum, rounding);
    const double highest = std::hypot(optimum, rounding);
    CHECK(found / (highest * (1 + 2e-5) + std::numeric_limits<double>::min()) <= 1.0);
    // The reference is no better than its own rounding, which W X in double amplifies.
    CHECK((optimum - found) / (2e-5 * optimum + rounding + 1e-12) <= 1.0);
}

template <class Result>
void check(const MatrixXd& w, const MatrixXd& x, const Result& d, const MatrixXd& reference,
           const allowance& rounding) {
    const support::errors expected = support::measure(w, x, reference);
    const support::errors found =
        support::measure(w, x, d.left.template cast<double>() * d.right.template cast<double>());
    check_error(found.weighted, expected.weighted, rounding.weighted);
    check_error(found.plain, expected.plain, rounding.plain);
}

/// ASVD-I, II, NSVD-I and NID-I at several ranks, up to min(m, n).
template <class Scalar>
void compare(const MatrixXd& exact_w, const MatrixXd& exact_x, std::initializer_list<double> fractions,
             const allowance& extra = {}) {
    const matrix_of<Scalar> w_in = exact_w.cast<Scalar>();
    const matrix_of<Scalar> x_in = exact_x.cast<Scalar>();
    const MatrixXd w = w_in.template cast<double>();
    const MatrixXd x = x_in.template cast<double>();
    nsvd::calibration<Scalar> calib(w.cols());
    calib.update(x_in);
    constexpr double eps = std::is_same_v<Scalar, double> ? 10 * std::numeric_limits<double>::epsilon()
                                                          : double{std::numeric_limits<float>::epsilon()};
    // In double the reference rounds as much as we do. Rounding errors of the factors are independent of each
    // other: most of it averages out in W′ X.
    const allowance rounding{eps * w.norm() * x.norm() / (w * x).norm() + extra.weighted,
                             4 * eps + extra.plain};
    const Index full = std::min(w.rows(), w.cols());
    for (const double fraction : fractions) {
        const Index k = std::max<Index>(1, static_cast<Index>(fraction * static_cast<double>(full)));
        CAPTURE(k);
        const nsvd::rank rank{k};
        const MatrixXd q = support::reference_asvd(w, x, k);
        const MatrixXd optimum = q * (q.transpose() * w);
        check(w, x, nsvd::asvd(w_in, calib, rank), optimum, rounding);
        check(w, x, nsvd::asvd(w_in, calib, rank, {.whitening = nsvd::whitening::eigen}), optimum, rounding);
        const Index k1 =
            std::max<Index>(1, static_cast<Index>(std::floor(0.8 * static_cast<double>(k) + 0.5)));
        const MatrixXd q12 = support::reference_nsvd(w, x, k1, k - k1);
        check(w, x, nsvd::nested(w_in, calib, rank, {.share = 0.8}), q12 * (q12.transpose() * w), rounding);
        // Stage 1 of rank k₁ is ASVD-I of rank k₁, whose directions beyond rank(W S) come from I (design §1).
        INFO("NID-I");
        check(w, x,
              nsvd::nested(w_in, calib, rank, {.share = 0.8, .residual = nsvd::residual::interpolative}),
              support::reference_nid(w, x, k1, k - k1), rounding);
    }
}

/// A trained layer has a spectrum that falls slowly, and no ties.
MatrixXd weights(support::generator& g, Index m, Index n) {
    return 0.02 * std::sqrt(static_cast<double>(m)) *
           g.with_spectrum(m, n, support::geometric(std::min(m, n), 50.0));
}

constexpr std::initializer_list<double> some_ranks{0.1, 0.35, 0.6, 0.9};
const std::vector<std::pair<Index, Index>> shapes{{40, 40}, {28, 60}, {60, 28}};

}  // namespace

TEMPLATE_TEST_CASE("errors are those of exact SVDs", "[property][differential]", float, double, Eigen::half,
                   Eigen::bfloat16) {
    std::uint64_t seed = 100;
    for (const auto& [m, n] : shapes)
        for (const double condition : {1.0, 30.0, 1e3}) {
            support::generator g(++seed);
            CAPTURE(seed, m, n, condition);
            const MatrixXd w = weights(g, m, n);
            compare<TestType>(w, support::activations(g, n, 3 * n, {.condition = condition}),
                              {0.1, 0.35, 0.6, 0.9, 1.0});
        }
}

TEMPLATE_TEST_CASE("errors are those of exact SVDs for ill-conditioned activations",
                   "[property][differential]", float, double, Eigen::half) {
    std::uint64_t seed = 200;
    for (const auto& [m, n] : shapes) {
        support::generator g(++seed);
        CAPTURE(seed, m, n);
        const MatrixXd w = weights(g, m, n);
        compare<TestType>(w, support::activations(g, n, 3 * n, {.condition = 1e6}), some_ranks);
    }
}

TEMPLATE_TEST_CASE("errors are those of exact SVDs behind outlier channels", "[property][differential]",
                   float, double) {
    std::uint64_t seed = 300;
    for (const auto& [m, n] : shapes)
        for (const double factor : {1e2, 1e4, 1e6})
            for (const double condition : {10.0, 1e3}) {
                // Factors in single precision round more than what is left beyond larger outliers.
                if (std::is_same_v<TestType, float> && factor > 1e3) continue;
                support::generator g(++seed);
                CAPTURE(seed, m, n, factor, condition);
                const MatrixXd w = weights(g, m, n);
                compare<TestType>(w,
                                  support::activations(
                                      g, n, 3 * n, {.condition = condition, .outliers = 3, .factor = factor}),
                                  some_ranks);
            }
}

// Also for NID-I with k₁ above rank(X): what stage 1 lacks is taken from I, not from more columns, which
// would cost up to 1.5 times the plain error.
TEST_CASE("beyond the rank of X the metric is I", "[property][differential]") {
    std::uint64_t seed = 400;
    for (const auto& [m, n] : shapes)
        for (const Index rank : {Index{1}, std::min(m, n) / 4, std::min(m, n) / 2})
            for (const bool short_run : {true, false}) {
                support::generator g(++seed);
                CAPTURE(seed, m, n, rank, short_run);
                const MatrixXd w = weights(g, m, n);
                // Few tokens, or many that are combinations of a few: rounded to float they would not be.
                const MatrixXd x =
                    support::activations(g, n, short_run ? rank : 3 * n, {.condition = 100.0, .rank = rank});
                const double gram = 1e-12;
                compare<double>(w, x, {0.2, 0.5, 0.75, 1.0}, {.weighted = gram, .plain = gram});
                if (short_run) compare<float>(w, x, {0.2, 0.5, 0.75, 1.0});
            }
}

TEST_CASE("where singular values are tied only errors are determined", "[property][differential]") {
    std::uint64_t seed = 500;
    using support::shape_of_spectrum;
    for (const auto& [m, n] : shapes)
        for (const auto kind : {shape_of_spectrum::flat, shape_of_spectrum::clustered,
                                shape_of_spectrum::pairs, shape_of_spectrum::step}) {
            support::generator g(++seed);
            const Index full = std::min(m, n);
            CAPTURE(seed, m, n, support::name_of(kind));
            // White activations, so that the ties are those of W X too.
            const MatrixXd w = g.with_spectrum(m, n, support::make_spectrum(kind, full));
            const MatrixXd x = 5.0 * g.orthonormal(2 * n, n).transpose();
            nsvd::calibration<double> calib(n);
            calib.update(x);
            for (Index k = 1; k <= full; k += 3) {
                CAPTURE(k);
                const MatrixXd q = support::reference_asvd(w, x, k);
                const double optimum = support::measure(w, x, q * (q.transpose() * w)).weighted;
                for (const auto& d : {nsvd::svd(w, nsvd::rank{k}), nsvd::asvd(w, calib, nsvd::rank{k}),
                                      nsvd::nested(w, calib, nsvd::rank{k}, {.share = 0.5})})
                    check_error(support::measure(w, x, d.dense()).weighted, optimum, 1e-14);
            }
        }
}
