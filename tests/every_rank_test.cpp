// SPDX-License-Identifier: MIT
// Every rank and share of one decomposition against a decomposition for each.
#include "support/calibrated.hpp"
#include "support/catch.hpp"
#include "support/expect_error.hpp"
#include "support/generate.hpp"
#include "support/naive.hpp"

#include <nsvd/nsvd.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace {

using Eigen::Index;
using Eigen::MatrixXd;
using nsvd::every_rank;
using support::calibrated;
using support::generator;
using support::product;

template <class Scalar>
constexpr double eps = std::numeric_limits<Scalar>::epsilon();

/// `W′` and the factors of `one` are those of `other`, up to rounding of ‖W‖ and the signs of directions.
template <class Scalar>
void check_same(const nsvd::low_rank<Scalar>& one, const nsvd::low_rank<Scalar>& other, const MatrixXd& w) {
    REQUIRE(one.rank() == other.rank());
    CHECK((product(one) - product(other)).norm() / w.norm() <= 100 * eps<Scalar>);
    CHECK(support::orthogonality(one.left) <= (std::is_same_v<Scalar, double> ? 20 : 4) * eps<Scalar>);
    CHECK((one.right.template cast<double>() - one.left.template cast<double>().transpose() * w).norm() <=
          20 * eps<Scalar> * w.norm());
    Index stages = 0;
    for (const nsvd::stage_info& s : one.info.stages)
        stages += s.rank;
    CHECK(stages == one.rank());
}

template <class Scalar>
void check_all_of(const MatrixXd& w, const MatrixXd& x) {
    const Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic> weights = w.cast<Scalar>();
    const MatrixXd exact = weights.template cast<double>();
    const auto calib = calibrated(x);
    const every_rank all(weights, nsvd::gram_metric(calib));
    static_assert(std::is_same_v<decltype(all), const every_rank<Scalar>>);
    const Index full = std::min(w.rows(), w.cols());
    REQUIRE(all.full_rank() == full);
    REQUIRE(all.spectrum().size() == static_cast<std::size_t>(full));
    REQUIRE(all.spectrum().complete);
    const support::VectorXl sigma = support::singular_values(exact * x);
    for (Index i = 0; i < full; ++i) {
        const auto square = i < sigma.size() ? static_cast<double>(sigma(i) * sigma(i)) : 0.0;
        CHECK(std::abs(all.spectrum()[static_cast<std::size_t>(i)] - square) <=
              1e-12 * static_cast<double>(sigma(0) * sigma(0)));
    }
    for (Index k = 1; k <= full; ++k) {
        CAPTURE(w.rows(), w.cols(), k);
        const auto d = all.take(k);
        const auto reference = nsvd::asvd(weights, calib, nsvd::rank{k});
        check_same(d, reference, exact);
        CHECK(d.info.loss == Approx(reference.info.loss).margin(1e-12 * all.spectrum().total()));
        CHECK(d.info.status == reference.info.status);
        for (const double share : {1.0, 0.95, 0.7, 0.3, 0.0}) {
            CAPTURE(share);
            const auto nested = all.take(k, share);
            const auto fresh = nsvd::nested(weights, calib, nsvd::rank{k}, {.share = share});
            check_same(nested, fresh, exact);
            CHECK(nested.info.loss == Approx(fresh.info.loss).margin(1e-12 * all.spectrum().total()));
        }
    }
}

}  // namespace

TEST_CASE("every_rank: all ranks and shares of layers of all shapes", "[every_rank]") {
    generator g(1);
    for (const auto& [m, n] : {std::pair<Index, Index>(9, 12), {12, 9}, {10, 10}, {1, 7}, {7, 1}, {1, 1}}) {
        const MatrixXd w = g.gaussian(m, n);
        const MatrixXd x = support::activations(g, n, 5 * n);
        check_all_of<double>(w, x);
        check_all_of<float>(w, x);
    }
}

TEST_CASE("every_rank: fewer tokens than channels", "[every_rank]") {
    // Beyond rank(X) = 4 both stages are in the metric I.
    generator g(2);
    for (const auto& [m, n] : {std::pair<Index, Index>(9, 12), {12, 9}}) {
        const MatrixXd w = g.gaussian(m, n);
        const MatrixXd x = g.gaussian(n, 4);
        check_all_of<double>(w, x);
        check_all_of<float>(w, x);
        const every_rank all(w, nsvd::gram_metric(calibrated(x)));
        const auto d = all.take(7);
        REQUIRE(d.info.stages.size() == 2);
        CHECK(d.info.stages[0].rank == 4);
        CHECK(d.info.stages[1].loss == Approx((w - product(d)).squaredNorm()));
        CHECK(all.take(3).info.stages.size() == 1);
    }
}

TEST_CASE("every_rank: weights of a lower rank", "[every_rank]") {
    generator g(3);
    for (const auto& [m, n] : {std::pair<Index, Index>(9, 12), {12, 9}}) {
        const MatrixXd w = g.gaussian(m, 5) * g.gaussian(5, n);
        check_all_of<double>(w, support::activations(g, n, 40));
        const auto calib = calibrated(support::activations(g, n, 40));
        const every_rank all(w, nsvd::gram_metric(calib));
        CHECK(all.spectrum()[5] == 0.0);
        CHECK(all.info().status == nsvd::status::rank_deficient);
        const auto d = all.take(8, 0.5);
        CHECK((w - product(d)).norm() <= 1e-13 * w.norm());
        // The stages are the same, too.
        const auto fresh = nsvd::nested(w, calib, nsvd::rank{8}, {.share = 0.5});
        check_same(d.truncate(6), fresh.truncate(6), w);
    }
    const every_rank zero(MatrixXd(MatrixXd::Zero(4, 6)), nsvd::metric());
    CHECK(product(zero.take(3, 0.5)).norm() == 0.0);
    CHECK(support::orthogonality(zero.take(4).left) <= 1e-15);
    CHECK(zero.relative_loss(zero.seen_in(nsvd::metric()), 2, 0.5) == 0.0);
}

TEST_CASE("every_rank: any metric, the metric I included", "[every_rank]") {
    generator g(4);
    const MatrixXd w = g.gaussian(8, 11);
    const auto calib = calibrated(support::activations(g, 11, 50, {.outliers = 2, .factor = 1e3}));
    const every_rank plain(w);
    const every_rank diagonal(w, nsvd::diagonal_metric(calib));
    for (Index k = 1; k <= 8; ++k) {
        check_same(plain.take(k), nsvd::svd(w, nsvd::rank{k}), w);
        check_same(plain.take(k, 0.5), nsvd::svd(w, nsvd::rank{k}), w);
        check_same(diagonal.take(k),
                   nsvd::asvd(w, calib, nsvd::rank{k}, {.whitening = nsvd::whitening::diagonal}), w);
        check_same(
            diagonal.take(k, 0.6),
            nsvd::nested(w, calib, nsvd::rank{k}, {.whitening = nsvd::whitening::diagonal, .share = 0.6}), w);
    }
}

TEST_CASE("every_rank: residuals whose spectrum one eigenproblem does not resolve", "[every_rank]") {
    generator g(5);
    // W has singular values over nine decades; what follows the first directions still spans seven.
    const MatrixXd w = g.with_spectrum(14, 18, support::geometric(14, 1e9));
    const auto calib = calibrated(support::activations(g, 18, 90));
    const every_rank all(w, nsvd::gram_metric(calib));
    for (Index k = 2; k <= 14; ++k) {
        CAPTURE(k);
        const auto d = all.take(k, 0.25);
        const auto fresh = nsvd::nested(w, calib, nsvd::rank{k}, {.share = 0.25});
        CHECK((w - product(d)).norm() ==
              Approx((w - product(fresh)).norm()).epsilon(1e-6).margin(4 * eps<double> * w.norm()));
    }
}

TEST_CASE("every_rank: the small end of a residual, whatever order its directions come in", "[every_rank]") {
    // Inputs are small where W is large and favour mixtures of all directions, so that R Rᵀ is not graded: of
    // one eigenproblem directions that are 1e-8 of the largest would be known to a digit or none.
    generator g(8);
    const Index n = 16;
    const Eigen::VectorXd values = support::geometric(n, 1e8);
    const MatrixXd u = g.orthonormal(n, n);
    const MatrixXd v = g.orthonormal(n, n);
    const MatrixXd w = u * values.asDiagonal() * v.transpose();
    const MatrixXd x = v * values.array().pow(-0.9).matrix().asDiagonal() * g.gaussian(n, 50);
    const auto calib = calibrated(x);
    const every_rank all(w, nsvd::gram_metric(calib));
    // What is σ of the largest is known to eps/σ², and W′ to eps/σ, down to where one eigenproblem ends:
    // σ² = √eps.
    const double known = std::pow(eps<double>, 0.75);
    for (Index k = 8; k < n; ++k) {
        CAPTURE(k);
        const auto d = all.take(k, 0.0);
        REQUIRE(d.info.stages[0].rank == 1);
        const auto fresh = nsvd::nested(w, calib, nsvd::rank{k}, {.share = 0.0});
        CHECK((product(d) - product(fresh)).norm() <= known * w.norm());
    }
}

TEST_CASE("every_rank: losses on other inputs without forming W′", "[every_rank]") {
    generator g(6);
    for (const auto& [m, n] : {std::pair<Index, Index>(9, 12), {12, 9}})
        for (const double scale : {1.0, 1e-100, 1e100}) {
            const MatrixXd w = g.gaussian(m, n) * scale;
            const MatrixXd x = support::activations(g, n, 60);
            const MatrixXd y = support::activations(g, n, 60, {.outliers = 2, .factor = 30.0}) / scale;
            const every_rank all(w, nsvd::gram_metric(calibrated(x)));
            const MatrixXd seen = all.seen_in(nsvd::gram_metric(calibrated(y)));
            const MatrixXd plain = all.seen_in(nsvd::metric());
            for (Index k = 1; k < 9; ++k)
                for (const double share : {1.0, 0.8, 0.4}) {
                    CAPTURE(m, n, scale, k, share);
                    const MatrixXd p = product(all.take(k, share));
                    CHECK(std::sqrt(all.relative_loss(seen, k, share)) ==
                          Approx(support::naive_error(w / scale, p / scale, y * scale)).epsilon(1e-9));
                    CHECK(std::sqrt(all.relative_loss(plain, k, share)) ==
                          Approx(support::naive_error(w / scale, p / scale)).epsilon(1e-9));
                    if (share == 1.0)
                        CHECK(all.relative_loss(seen, k) == Approx(all.relative_loss(seen, k, 1.0)));
                }
        }
}

TEST_CASE("every_rank: losses in metrics at the ends of the range", "[every_rank]") {
    generator g(9);
    const MatrixXd w = g.gaussian(5, 7);
    const every_rank all(w);
    Eigen::VectorXd scales = g.gaussian(7, 1).cwiseAbs();
    const auto seen_by = [&](double scale) {
        return all.seen_in(nsvd::metric(nsvd::diagonal_factor(scale * scales)));
    };
    for (const double scale : {1e-200, 1e200})
        for (Index k = 1; k < 5; ++k)
            for (const double share : {1.0, 0.5})
                CHECK(all.relative_loss(seen_by(scale), k, share) ==
                      Approx(all.relative_loss(seen_by(1.0), k, share)));
    // Whatever else is not finite is no candidate.
    const MatrixXd broken = MatrixXd::Constant(5, 5, std::numeric_limits<double>::quiet_NaN());
    CHECK(std::isinf(all.relative_loss(broken, 2)));
    CHECK(std::isinf(all.relative_loss(broken, 2, 0.5)));
}

TEST_CASE("every_rank: factors beyond the range are an error", "[every_rank]") {
    const double largest = std::numeric_limits<double>::max();
    bool met = false;
    for (std::uint64_t seed = 1; seed <= 40; ++seed) {
        generator g(seed);
        MatrixXd w(5, 6);
        for (double& entry : w.reshaped())
            entry = (1.4 * g.uniform() - 0.7) * largest;
        const auto calib = calibrated(g.gaussian(6, 20));
        try {
            const every_rank all(w, nsvd::gram_metric(calib));
            for (const double share : {0.2, 0.5}) {
                const auto d = all.take(4, share);
                CHECK(d.right.allFinite());
            }
        } catch (const nsvd::error& e) {
            CHECK(std::string(e.what()).find("exceed the range") != std::string::npos);
            met = true;
        }
    }
    CHECK(met);
}

TEST_CASE("every_rank: beyond the size up to which decompositions are in double", "[every_rank]") {
    generator g(7);
    for (const auto& [m, n] : {std::pair<Index, Index>(600, 620), {620, 600}}) {
        const Eigen::MatrixXf w = g.gaussian(m, n).cast<float>();
        const auto calib = calibrated(support::activations(g, n, 900));
        const every_rank all(w, nsvd::gram_metric(calib));
        REQUIRE(all.spectrum().complete);
        REQUIRE(all.spectrum().size() == 600);
        CHECK(all.spectrum()[599] > 0.0);
        const MatrixXd seen = all.seen_in(nsvd::gram_metric(calib));
        for (const Index k : {60, 300, 590}) {
            CAPTURE(m, n, k);
            const auto fresh = nsvd::asvd(w, calib, nsvd::rank{k});
            CHECK(nsvd::weighted_error(w, all.take(k), calib) ==
                  Approx(nsvd::weighted_error(w, fresh, calib)).epsilon(2e-6));
            const double rest = all.spectrum().rest_after(static_cast<std::size_t>(k));
            CHECK(all.relative_loss(seen, k) == Approx(rest / all.spectrum().total()).epsilon(1e-5));
            const auto nested = all.take(k, 0.8);
            const auto fresh_nested = nsvd::nested(w, calib, nsvd::rank{k}, {.share = 0.8});
            CHECK(support::orthogonality(nested.left) <= 4 * eps<float>);
            CHECK(nsvd::plain_error(w, nested) == Approx(nsvd::plain_error(w, fresh_nested)).epsilon(2e-6));
            CHECK(nsvd::weighted_error(w, nested, calib) ==
                  Approx(nsvd::weighted_error(w, fresh_nested, calib)).epsilon(1e-4));
        }
    }
}

TEST_CASE("every_rank: misuse", "[every_rank]") {
    generator g(8);
    const every_rank all(g.gaussian(4, 6));
    support::expect_error([&] { (void)all.take(0); }, {"every_rank.take", "k = 0", "[1, 4]"});
    support::expect_error([&] { (void)all.take(5, 0.5); }, {"k = 5", "[1, 4]"});
    support::expect_error([&] { (void)all.take(2, 1.5); }, {"every_rank.take", "share = 1.5"});
    support::expect_error(
        [&] { (void)all.seen_in(nsvd::metric(nsvd::diagonal_factor(MatrixXd::Ones(5, 1)))); },
        {"every_rank.seen_in", "5", "6"});
    support::expect_error([&] { (void)all.relative_loss(MatrixXd::Zero(3, 4), 2); },
                          {"every_rank.relative_loss", "3×4", "4×4"});
    support::expect_error([&] { (void)every_rank(MatrixXd(0, 6)); }, {"every_rank", "W", "empty"});
    support::expect_error(
        [&] {
            (void)every_rank(g.gaussian(4, 6), nsvd::metric(nsvd::diagonal_factor(MatrixXd::Ones(5, 1))));
        },
        {"every_rank", "5 features", "6 columns"});
}
