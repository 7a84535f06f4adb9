// SPDX-License-Identifier: MIT
// Lists of stages, statuses, and the ends of the range of numbers.
#include "support/calibrated.hpp"
#include "support/catch.hpp"
#include "support/expect_error.hpp"
#include "support/generate.hpp"
#include "support/naive.hpp"
#include "support/random.hpp"

#include <nsvd/nsvd.hpp>

#include <Eigen/QR>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <utility>

using Eigen::Index;
using Eigen::MatrixXd;
using support::calibrated;
using support::gaussian;
using support::product;

namespace {

/// ‖W′ − P W‖ / ‖W‖ for the orthogonal projector P onto the columns of `left`.
template <class Scalar>
double distance_to_projection(const MatrixXd& w, const nsvd::low_rank<Scalar>& d) {
    const MatrixXd left = d.left.template cast<double>();
    const MatrixXd projected = left * Eigen::CompleteOrthogonalDecomposition<MatrixXd>(left).solve(w);
    return (product(d) - projected).norm() / w.norm();
}

const nsvd::stage columns{nsvd::column_selection{}, 0.5};
const nsvd::stage rest{nsvd::metric(), 0.5};

}  // namespace

TEST_CASE("decompose: stages in the metrics of several calibrations", "[decompose]") {
    const MatrixXd w = gaussian(12, 16, 1);
    const nsvd::metric a = nsvd::gram_metric(calibrated(support::activations(16, 60, 2, 100.0)));
    const nsvd::metric b =
        nsvd::gram_metric(calibrated(support::activations(16, 60, 3)), nsvd::whitening::eigen);
    const auto d = nsvd::decompose(w, {{a, 0.5}, {b, 0.25}, {nsvd::metric(), 0.25}}, nsvd::rank{8});
    REQUIRE(d.info.stages.size() == 3);
    CHECK(d.info.stages[0].rank == 4);
    CHECK(d.info.stages[1].rank == 2);
    CHECK(d.info.stages[2].rank == 2);
    CHECK(support::orthogonality(d.left) <= 1e-14);
    CHECK(distance_to_projection(w, d) <= 1e-13);
    // Each stage alone is the best on what the ones before left over.
    const MatrixXd q = d.left.leftCols(4);
    const MatrixXd residual = w - q * (q.transpose() * w);
    const MatrixXd s = b.factor().dense();
    const MatrixXd q2 = d.left.middleCols(4, 2);
    CHECK(((residual - q2 * (q2.transpose() * residual)) * s).norm() ==
          Approx(support::best_error(residual * s, 2)).epsilon(1e-10));
}

TEST_CASE("decompose: a column stage may come first", "[decompose]") {
    for (const auto& [m, n] : {std::pair(10, 14), std::pair(14, 10)}) {
        const MatrixXd w = gaussian(m, n, 11);
        const auto alone = nsvd::decompose(w, {{nsvd::column_selection{}, 1.0}}, nsvd::rank{4});
        CHECK(distance_to_projection(w, alone) <= 1e-13);
        CHECK((w - product(alone)).norm() ==
              Approx(nsvd::interpolative(w, nsvd::rank{4}).error * w.norm()).epsilon(1e-10));
        const auto d = nsvd::decompose(w, {columns, rest}, nsvd::rank{6});
        CAPTURE(m, n);
        CHECK(distance_to_projection(w, d) <= 1e-12);
        // The second stage is the SVD of what the columns leave.
        const MatrixXd chosen = d.left.leftCols(3);
        const MatrixXd residual = w - chosen * Eigen::HouseholderQR<MatrixXd>(chosen).solve(w);
        CHECK((w - product(d)).norm() == Approx(support::best_error(residual, 3)).epsilon(1e-10));
    }
}

TEST_CASE("decompose: a stage after columns that are dependent", "[decompose]") {
    // The residual of the first stage has rank 1: two of the three columns add nothing.
    const MatrixXd w = gaussian(10, 3, 21) * gaussian(3, 12, 22);
    const auto d = nsvd::decompose(
        w, {{nsvd::metric(), 0.25}, {nsvd::column_selection{}, 0.5}, {nsvd::metric(), 0.25}}, nsvd::rank{8});
    CHECK(d.rank() == 8);
    CHECK(d.info.status == nsvd::status::rank_deficient);
    CHECK((w - product(d)).norm() <= 1e-12 * w.norm());
    CHECK(d.right.allFinite());
}

TEST_CASE("decompose: a singular Gram matrix and a regular W", "[decompose]") {
    const MatrixXd w = gaussian(10, 12, 31);
    const MatrixXd x = gaussian(12, 4, 32);
    const auto calib = calibrated(x);
    for (const Index k : {2, 4, 7, 10}) {
        CAPTURE(k);
        const auto d = nsvd::asvd(w, calib, nsvd::rank{k});
        CHECK(d.rank() == k);
        CHECK(support::orthogonality(d.left) <= 1e-14);
        CHECK(((w - product(d)) * x).norm() ==
              Approx(support::best_error(w * x, k < 4 ? k : 4)).margin(1e-12));
        // Beyond rank(X) the metric I fills up: the best that is left of W.
        if (k > 4) {
            const MatrixXd q = d.left.leftCols(4);
            const MatrixXd residual = w - q * (q.transpose() * w);
            CHECK((w - product(d)).norm() == Approx(support::best_error(residual, k - 4)).margin(1e-12));
        }
    }
    CHECK(nsvd::asvd(w, calib, nsvd::rank{4}).info.status == nsvd::status::singular_metric);
    CHECK(nsvd::asvd(w, calib, nsvd::rank{4}).info.numerical_rank == 4);
}

TEST_CASE("decompose: W of full rank is not rank-deficient for want of inputs", "[decompose]") {
    const MatrixXd w = gaussian(10, 12, 31);
    const auto calib = calibrated(gaussian(12, 4, 32));
    CHECK(nsvd::asvd(w, calib, nsvd::rank{7}).info.status == nsvd::status::singular_metric);
}

TEST_CASE("decompose: a stage far below the one before is orthogonal to it", "[decompose]") {
    // What the first stage leaves is 1e-6 to 1e-12 of W, and the rounding of W along Q1 shows in its
    // directions.
    support::generator g(51);
    const MatrixXd w = g.with_spectrum(20, 24, support::geometric(20, 1e12));
    const auto calib = calibrated(support::activations(g, 24, 100));
    const auto d = nsvd::nested(w, calib, nsvd::rank{18}, {.share = 0.5});
    REQUIRE(d.info.stages.size() == 2);
    REQUIRE(d.info.stages[1].rank == 9);
    CHECK(support::orthogonality(d.left) <= 20 * std::numeric_limits<double>::epsilon());
}

TEST_CASE("decompose: the rank of weights that were rounded to float", "[decompose]") {
    support::generator g(52);
    const MatrixXd low = g.gaussian(30, 6) * g.gaussian(6, 40);
    const Eigen::MatrixXf w = low.cast<float>();
    // Inputs that favour some directions may make of rounding what could be weights.
    const auto calib = calibrated(support::activations(g, 40, 200, {.condition = 1.0}));
    for (const auto& d : {nsvd::svd(w, nsvd::rank{10}), nsvd::asvd(w, calib, nsvd::rank{10})}) {
        CHECK(d.info.numerical_rank == 6);
        CHECK(d.info.status == nsvd::status::rank_deficient);
        // It is a count: what rounding added is there to be taken.
        CHECK(d.rank() == 10);
        CHECK(d.info.spectrum(9) > 0.0);
    }
}

TEST_CASE("decompose: zero W, zero X", "[decompose]") {
    const MatrixXd w = gaussian(5, 8, 41);
    const auto blind = calibrated(MatrixXd::Zero(8, 3));
    for (const auto whitening :
         {nsvd::whitening::cholesky, nsvd::whitening::eigen, nsvd::whitening::diagonal}) {
        const auto d = nsvd::asvd(w, blind, nsvd::rank{3}, {.whitening = whitening});
        CHECK((w - product(d)).norm() == Approx(support::best_error(w, 3)));
        CHECK(d.info.status >= nsvd::status::singular_metric);
        const auto zero = nsvd::nested(MatrixXd(MatrixXd::Zero(5, 8)), blind, nsvd::rank{5},
                                       {.whitening = whitening, .residual = nsvd::residual::interpolative});
        CHECK(zero.rank() == 5);
        CHECK(product(zero).norm() == 0.0);
        CHECK(zero.info.status == nsvd::status::rank_deficient);
    }
    const auto zero = nsvd::svd(Eigen::MatrixXf::Zero(6, 4), nsvd::rank{4});
    CHECK(support::orthogonality(zero.left) <= 1e-6);
    CHECK(zero.right.norm() == 0.0F);
}

TEST_CASE("decompose: the numbers at the ends of the range of double", "[decompose]") {
    const MatrixXd w = gaussian(6, 8, 51).cwiseMax(-3.0).cwiseMin(3.0);
    const double error = support::best_error(w, 3) / w.norm();
    const auto calib = calibrated(support::activations(8, 30, 52));
    for (const double scale : {1e307, 1e200, 1e-200, 1e-300}) {
        CAPTURE(std::log10(scale));
        const auto d = nsvd::svd(scale * w, nsvd::rank{3});
        CHECK(d.right.allFinite());
        CHECK(support::orthogonality(d.left) <= 1e-14);
        CHECK(nsvd::plain_error(scale * w, d) == Approx(error).epsilon(1e-10));
        CHECK(nsvd::asvd(scale * w, calib, nsvd::rank{3}).right.allFinite());
    }
}

TEST_CASE("decompose: the largest and the denormal numbers", "[decompose]") {
    MatrixXd w = MatrixXd::Zero(2, 3);
    w(0, 0) = 1.5e308;
    w(1, 2) = -1e300;
    const auto large = nsvd::svd(w, nsvd::rank{2});
    CHECK(large.right.allFinite());
    if (large.right.allFinite()) CHECK(nsvd::plain_error(w, large) <= 1e-14);
    Eigen::MatrixXf f = Eigen::MatrixXf::Zero(2, 3);
    f(0, 0) = std::numeric_limits<float>::max();
    CHECK(nsvd::svd(f, nsvd::rank{1}).right.allFinite());
    w(0, 0) = 3e-310;
    w(1, 2) = 1e-310;
    const auto small = nsvd::svd(w, nsvd::rank{1});
    CHECK(std::abs(small.right(0, 0)) == Approx(3e-310).margin(0.0));
    CHECK(nsvd::plain_error(w, small) == Approx(1 / std::sqrt(10.0)).epsilon(1e-6));
}

TEST_CASE("decompose: spectra over six decades are cut at the optimum", "[decompose]") {
    for (std::uint64_t seed = 0; seed < 12; ++seed) {
        Eigen::VectorXd values = gaussian(12, 1, 60 + seed).cwiseAbs();
        for (Index i = 0; i < 12; ++i)
            values(i) = std::pow(10.0, -std::min(6.0, 3.0 * values(i)));
        values(0) = 1.0;
        for (const auto& [m, n] : {std::pair(12, 20), std::pair(20, 12)}) {
            const MatrixXd w = support::with_spectrum(m, n, values, 70 + seed);
            const support::VectorXl exact = support::singular_values(w);
            const auto spectrum = nsvd::svd(w, nsvd::rank{12}).info.spectrum;
            for (Index k = 1; k < 12; ++k) {
                CAPTURE(seed, m, n, k);
                const auto best = static_cast<double>(exact.tail(12 - k).norm());
                CHECK((w - product(nsvd::svd(w, nsvd::rank{k}))).norm() <= best * (1 + 1e-8));
                CHECK(std::sqrt(spectrum.tail(12 - k).sum()) == Approx(best).epsilon(1e-6).margin(0.0));
            }
        }
    }
}

TEST_CASE("decompose: as many copies as a Kronecker product has, to each level", "[decompose][single]") {
    support::generator g(4000);
    const Index copies = 128;
    // The largest two are closer than what a few products with random vectors tell apart.
    Eigen::VectorXd squares(8);
    squares << 11.0, 7.9, 7.1, 5.2, 3.8, 2.4, 1.8, 0.9;
    const MatrixXd few = g.orthonormal(8, 8) * squares.cwiseSqrt().asDiagonal();
    MatrixXd w = MatrixXd::Zero(8 * copies, 8 * copies);
    for (Index i = 0; i < copies; ++i)
        w.block(8 * i, 8 * i, 8, 8) = few;
    const Index k = 120;
    double optimum = 0.0;
    for (Index i = k; i < 8 * copies; ++i)
        optimum += squares(i / copies);
    for (const auto level : {nsvd::accuracy::exact, nsvd::accuracy::fast}) {
        const auto d = nsvd::svd(w, nsvd::rank{k}, {.accuracy = level});
        CAPTURE(d.info.solver, d.info.gap);
        CHECK(d.info.status == nsvd::status::ok);
        CHECK((w - product(d)).norm() <= (1.0 + 1e-6) * std::sqrt(optimum));
        CHECK(d.info.spectrum(k - 1) == Approx(squares((k - 1) / copies)).epsilon(1e-5));
    }
}

TEST_CASE("decompose: a large metric that is not positive semi-definite", "[decompose][single]") {
    support::generator g(4100);
    const Index n = 600;
    nsvd::calibration_state state;
    state.gram = MatrixXd::Constant(n, n, -0.5);
    state.gram.diagonal().setOnes();
    state.sum = Eigen::VectorXd::Zero(n);
    state.sum_abs = state.max_abs = Eigen::VectorXd::Constant(n, 1.0);
    state.sum_abs *= 600.0;
    state.max_abs *= 2.0;
    state.weight = 700.0;
    state.gram *= 700.0;
    state.tokens = 700;
    const nsvd::calibration<double> calib(state);
    for (const Index k : {30, 61, 300})
        support::expect_error([&] { (void)nsvd::asvd(g.gaussian(n, n), calib, nsvd::rank{k}); },
                              {"positive semi-definite"});
}
