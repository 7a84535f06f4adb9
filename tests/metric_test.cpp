// SPDX-License-Identifier: MIT
// The metrics of central moments against those of centred inputs.
#include "support/calibrated.hpp"
#include "support/catch.hpp"
#include "support/expect_error.hpp"
#include "support/naive.hpp"
#include "support/random.hpp"

#include <nsvd/nsvd.hpp>

#include <algorithm>
#include <utility>

using Eigen::Index;
using Eigen::MatrixXd;
using nsvd::calibration;
using nsvd::moments;
using support::calibrated;
using support::expect_error;
using support::gaussian;

namespace {

MatrixXd with_mean(const MatrixXd& x, double offset) {
    return x.colwise() + offset * gaussian(x.rows(), 1, 7).col(0);
}

calibration<double> central(const MatrixXd& x) {
    calibration<double> calib(x.rows(), moments::central);
    calib.update(x);
    return calib;
}

MatrixXd centred(const MatrixXd& x) {
    return x.colwise() - x.rowwise().mean();
}

}  // namespace

TEST_CASE("metric: central moments are those of centred inputs", "[metric][moments]") {
    for (const auto& [m, n] : {std::pair(12, 9), std::pair(9, 12), std::pair(1, 4), std::pair(4, 1)})
        for (const double offset : {0.0, 10.0, 1e5}) {
            CAPTURE(m, n, offset);
            const MatrixXd w = gaussian(m, n, 1);
            const MatrixXd x = with_mean(support::activations(n, 60, 2, 20.0), offset);
            const auto c = central(x);
            const auto plain = calibrated(centred(x));
            const nsvd::rank k{(std::min(m, n) + 1) / 2};
            const auto check = [&](const auto& d, const auto& expected) {
                CHECK(support::product(d).isApprox(support::product(expected), 1e-6));
            };
            check(nsvd::asvd(w, c, k, {.moments = moments::central}), nsvd::asvd(w, plain, k));
            check(nsvd::asvd(w, c, k, {.whitening = nsvd::whitening::eigen, .moments = moments::central}),
                  nsvd::asvd(w, plain, k));
            check(nsvd::asvd(w, c, k, {.blend = 0.1, .moments = moments::central}),
                  nsvd::asvd(w, plain, k, {.blend = 0.1}));
            check(nsvd::nested(w, c, k, {.share = 0.5, .moments = moments::central}),
                  nsvd::nested(w, plain, k, {.share = 0.5}));
            const Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor> narrow =
                w.cast<float>();
            const auto d = nsvd::decompose(narrow, {{nsvd::central_gram_metric(c), 1.0}}, k);
            CHECK(support::product(d).isApprox(support::product(nsvd::asvd(w, plain, k)), 1e-4));
            CHECK(d.info.stages.front().metric == "central gram (cholesky)");
            // The raw metric does not depend on how the moments were gathered.
            check(nsvd::asvd(w, c, k), nsvd::asvd(w, calibrated(x), k));
            check(nsvd::decompose(w, {{nsvd::gram_metric(c), 1.0}}, k), nsvd::asvd(w, calibrated(x), k));
        }
}

TEST_CASE("metric: central moments of any scale", "[metric][moments]") {
    const MatrixXd w = gaussian(6, 8, 11);
    const MatrixXd x = with_mean(gaussian(8, 50, 12), 3.0);
    const MatrixXd expected = support::product(nsvd::asvd(w, calibrated(centred(x)), nsvd::rank{3}));
    for (const double scale : {1e-100, 1e100}) {
        const auto d = nsvd::asvd(w, central(scale * x), nsvd::rank{3}, {.moments = moments::central});
        CHECK(support::product(d).isApprox(expected, 1e-10));
        CHECK(d.info.status == nsvd::status::ok);
    }
}

TEST_CASE("metric: few tokens have one direction less about their mean", "[metric][moments]") {
    const MatrixXd w = gaussian(5, 6, 21);
    for (const Index tokens : {1, 2, 4, 7}) {
        CAPTURE(tokens);
        const auto c = central(with_mean(gaussian(6, tokens, 22), 5.0));
        const auto m = nsvd::central_gram_metric(c);
        CHECK(m.rank_limit(6) == tokens - 1);
        CHECK(m.rank(6) == std::min<Index>(tokens - 1, 6));
        const auto d = nsvd::asvd(w, c, nsvd::rank{3}, {.moments = moments::central});
        CHECK(support::product(d).allFinite());
        CHECK(support::orthogonality(d.left) <= 1e-13);
        CHECK(d.info.status == (tokens < 7 ? nsvd::status::singular_metric : nsvd::status::ok));
        // No direction is left for the metric: plain SVD.
        if (tokens == 1)
            CHECK(support::product(d).isApprox(support::product(nsvd::svd(w, nsvd::rank{3})), 1e-12));
    }
}

TEST_CASE("metric: central moments that are not there", "[metric][moments]") {
    const MatrixXd w = gaussian(5, 6, 31);
    const auto raw = calibrated(gaussian(6, 20, 32));
    const auto c = central(gaussian(6, 20, 33));
    expect_error([&] { (void)nsvd::central_gram_metric(raw); }, {"central_gram", "raw", "moments::central"});
    expect_error([&] { (void)nsvd::asvd(w, raw, nsvd::rank{2}, {.moments = moments::central}); },
                 {"central_gram", "raw", "moments::central"});
    expect_error([&] { (void)nsvd::nested(w, raw, nsvd::rank{2}, {.moments = moments::central}); },
                 {"central_gram", "raw", "moments::central"});
    expect_error(
        [&] {
            (void)nsvd::asvd(w, c, nsvd::rank{2},
                             {.whitening = nsvd::whitening::diagonal, .moments = moments::central});
        },
        {"moments = central", "diagonal"});
    expect_error([&] { (void)nsvd::central_gram_metric(calibration<float>(3, moments::central)); },
                 {"central_gram_metric", "no tokens"});
    expect_error([&] { (void)nsvd::central_gram_metric(c, nsvd::whitening::diagonal); },
                 {"central_gram_metric", "diagonal_metric"});
    expect_error([&] { (void)nsvd::central_gram_metric(c, nsvd::whitening::eigen, -1.0); }, {"blend", "-1"});
}

TEST_CASE("metric: products and the diagonal are those of the matrix", "[metric]") {
    const Eigen::MatrixXd x = support::activations(7, 30, 5, 50.0);
    nsvd::calibration<double> c(7);
    c.update(x);
    const Eigen::MatrixXd gram = x * x.transpose();
    const Eigen::VectorXd s = Eigen::VectorXd::LinSpaced(7, 0.5, 4.0);
    const Eigen::MatrixXd blended = gram + 0.3 * gram.trace() / 7.0 * Eigen::MatrixXd::Identity(7, 7);
    const struct {
        nsvd::metric m;
        Eigen::MatrixXd matrix;
    } cases[] = {{nsvd::gram_metric(c), gram},
                 {nsvd::gram_metric(c, nsvd::whitening::eigen, 0.3), blended},
                 {nsvd::metric(nsvd::cholesky_factor(blended)), blended},
                 {nsvd::metric(nsvd::eigen_factor(gram)), gram},
                 {nsvd::metric(nsvd::diagonal_factor(s)), Eigen::MatrixXd(s.cwiseAbs2().asDiagonal())},
                 {nsvd::metric(), Eigen::MatrixXd::Identity(7, 7)}};
    const Eigen::MatrixXd y = support::gaussian(7, 3, 6);
    for (const auto& [m, matrix] : cases) {
        CAPTURE(m.name());
        const double norm = matrix.norm();
        CHECK((m.times(y) - matrix * y).norm() <= 1e-13 * norm * y.norm());
        CHECK((m.diagonal(7) - matrix.diagonal()).norm() <= 1e-13 * norm);
        if (m.is_identity()) continue;
        const Eigen::MatrixXd factor = m.factor().dense();
        CHECK((factor * factor.transpose() - matrix).norm() <= 1e-12 * norm);
    }
    expect_error(
        [] { (void)nsvd::metric(Eigen::MatrixXd(2, 3), 0.0, nsvd::whitening::cholesky, 2, "oblong"); },
        {"metric", "2×3", "not square"});
}

TEST_CASE("metric: a blend beyond the range", "[metric]") {
    nsvd::calibration<double> calib(3);
    calib.update(Eigen::MatrixXd::Constant(3, 2, 1e120));
    support::expect_error([&] { (void)nsvd::gram_metric(calib, nsvd::whitening::cholesky, 1e100); },
                          {"gram_metric", "blend = 1e+100", "finite"});
}

TEST_CASE("metric: ASVD-0 scales channels by a power of their mean or largest size", "[metric]") {
    const Eigen::MatrixXd x = support::activations(6, 25, 8, 20.0);
    nsvd::calibration<double> c(6);
    c.update(x);
    for (const double alpha : {0.0, 0.25, 0.5, 1.0}) {
        CAPTURE(alpha);
        for (const auto of : {nsvd::statistic::mean, nsvd::statistic::max}) {
            const Eigen::VectorXd size = of == nsvd::statistic::mean
                                             ? Eigen::VectorXd(x.cwiseAbs().rowwise().mean())
                                             : Eigen::VectorXd(x.cwiseAbs().rowwise().maxCoeff());
            const Eigen::VectorXd expected = size.array().pow(2.0 * alpha);
            CHECK((nsvd::diagonal_metric(c, alpha, of).diagonal(6) - expected).norm() <=
                  1e-13 * expected.norm());
        }
        CHECK((nsvd::diagonal_metric(c, alpha).diagonal(6) -
               nsvd::diagonal_metric(c, alpha, nsvd::statistic::mean).diagonal(6))
                  .norm() == 0.0);
    }
}
