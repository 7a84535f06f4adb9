// SPDX-License-Identifier: MIT
// Losses of candidates against decompositions that are made and measured one by one.
#include "support/calibrated.hpp"
#include "support/catch.hpp"
#include "support/expect_error.hpp"
#include "support/generate.hpp"
#include "support/naive.hpp"

#include <nsvd/nsvd.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>
#include <vector>

namespace {

using Eigen::Index;
using Eigen::MatrixXd;
using nsvd::best_tuning;
using nsvd::held_out_losses;
using nsvd::tuning;
using nsvd::whitening;
using support::calibrated;
using support::generator;

/// The squared error of a candidate by way of its `W′`.
template <class Matrix>
double direct(const Matrix& w, const nsvd::calibration<double>& calib, const MatrixXd& y, Index k,
              const tuning& t) {
    const auto d =
        nsvd::nested(w, calib, nsvd::rank{k},
                     {.whitening = t.whitening, .share = t.share, .alpha = t.alpha, .blend = t.blend});
    return std::pow(support::naive_error(w.template cast<double>(), support::product(d), y), 2);
}

}  // namespace

TEST_CASE("tune: each candidate of the grid by its own decomposition", "[tune]") {
    generator g(1);
    std::vector<tuning> candidates = nsvd::tuning_grid();
    CHECK(candidates.size() == 29);
    candidates.push_back({.whitening = whitening::eigen, .share = 0.5, .blend = 1e-3});
    candidates.push_back({.whitening = whitening::diagonal, .share = 0.7, .alpha = 0.5});
    candidates.push_back({.share = 0.0});
    for (const auto& [m, n] : {std::pair<Index, Index>(16, 22), {22, 16}, {1, 5}, {1, 1}}) {
        const MatrixXd w = g.gaussian(m, n);
        const auto calib = calibrated(support::activations(g, n, 60, {.outliers = 1, .factor = 20.0}));
        const MatrixXd y = support::activations(g, n, 60);
        const Index k = std::max<Index>(1, std::min(m, n) / 2);
        const std::vector<double> losses = held_out_losses(w, calib, calibrated(y), k, candidates);
        const std::vector<double> single =
            held_out_losses(w.cast<float>().eval(), calib, calibrated(y), k, candidates);
        REQUIRE(losses.size() == candidates.size());
        for (std::size_t i = 0; i < candidates.size(); ++i) {
            CAPTURE(m, n, i);
            CHECK(losses[i] == Approx(direct(w, calib, y, k, candidates[i])).epsilon(1e-8).margin(1e-14));
            CHECK(single[i] == Approx(losses[i]).epsilon(1e-4).margin(1e-10));
        }
    }
}

TEST_CASE("tune: inputs of another kind want the metric I to count, the calibration's own do not", "[tune]") {
    generator g(2);
    const MatrixXd w = g.gaussian(24, 30);
    // The calibration has seen next to nothing of half of the space; held-out inputs fill it.
    MatrixXd x = g.gaussian(30, 120);
    x.topRows(15) *= 1e-3;
    const MatrixXd like = g.gaussian(30, 300);
    const MatrixXd same = x;
    const std::vector<tuning> candidates{{}, {.share = 0.5}, {.blend = 1.0}};
    const auto calib = calibrated(x);
    const auto unlike = held_out_losses(w, calib, calibrated(like), 18, candidates);
    CHECK(best_tuning(unlike) != 0);
    CHECK(unlike[0] > 1.2 * unlike[1]);
    CHECK(unlike[0] > 1.2 * unlike[2]);
    // On the calibration itself nothing is better than its own optimum.
    CHECK(best_tuning(held_out_losses(w, calib, calibrated(same), 18, candidates)) == 0);
}

TEST_CASE("tune: one choice for a layer, one for a model", "[tune]") {
    const std::vector<std::vector<double>> layers{{0.5, 0.1, 0.2}, {0.1, 0.6, 0.2}};
    CHECK(best_tuning(layers[0]) == 1);
    CHECK(best_tuning(layers[1]) == 0);
    CHECK(best_tuning(layers) == 2);
    CHECK(best_tuning(std::vector<double>{0.3, 0.3}) == 0);
    support::expect_error([] { (void)best_tuning(std::vector<std::vector<double>>{}); },
                          {"best_tuning", "no layers"});
    support::expect_error([] { (void)best_tuning(std::vector<double>{}); }, {"no candidates"});
    support::expect_error(
        [] {
            (void)best_tuning(std::vector<std::vector<double>>{{0.1}, {0.1, 0.2}});
        },
        {"layer 1", "2 losses", "1"});
}

TEST_CASE("tune: zero inputs and misuse", "[tune]") {
    generator g(3);
    const MatrixXd w = g.gaussian(4, 6);
    const auto calib = calibrated(g.gaussian(6, 20));
    const std::vector<tuning> one(1);
    CHECK(held_out_losses(w, calib, calibrated(MatrixXd::Zero(6, 2)), 2, one) == std::vector<double>{0.0});
    CHECK(held_out_losses(w, calib, calib, 2, {}).empty());
    support::expect_error([&] { (void)held_out_losses(w, calib, nsvd::calibration<float>(5), 2, one); },
                          {"held_out_losses", "5", "6"});
    support::expect_error([&] { (void)held_out_losses(w, calib, nsvd::calibration<float>(6), 2, one); },
                          {"held_out has no tokens"});
    support::expect_error([&] { (void)held_out_losses(w, nsvd::calibration<float>(6), calib, 2, one); },
                          {"held_out_losses", "calib has no tokens"});
    support::expect_error([&] { (void)held_out_losses(w, calib, calib, 5, one); }, {"k = 5", "[1, 4]"});
    const std::vector<tuning> bad{{.share = 2.0}};
    support::expect_error([&] { (void)held_out_losses(w, calib, calib, 2, bad); }, {"share = 2"});
    const std::vector<tuning> blended{{.whitening = whitening::diagonal, .blend = 0.1}};
    support::expect_error([&] { (void)held_out_losses(w, calib, calib, 2, blended); }, {"blend = 0.1"});
}
