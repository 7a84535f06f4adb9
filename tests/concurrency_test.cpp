// SPDX-License-Identifier: MIT
// The library in several threads of a program: what each has of its own, and what many read at once. The
// numbers are those of one thread, to the bit; the thread sanitizer (preset `thread`) sees the rest.
#include "support/calibrated.hpp"
#include "support/catch.hpp"
#include "support/random.hpp"

#include <nsvd/nsvd.hpp>

#include <Eigen/Core>

#include <cstddef>
#include <string>
#include <thread>
#include <vector>

using Eigen::MatrixXd;
using Eigen::MatrixXf;

namespace {

constexpr std::size_t threads = 4;

/// `work(i)` for each of the threads, all at once.
template <class Work>
void at_once(const Work& work) {
    std::vector<std::thread> pool;
    for (std::size_t i = 0; i < threads; ++i)
        pool.emplace_back([&work, i] { work(i); });
    for (std::thread& t : pool)
        t.join();
}

template <class Scalar>
bool same(const nsvd::low_rank<Scalar>& a, const nsvd::low_rank<Scalar>& b) {
    return a.left == b.left && a.right == b.right && a.info.status == b.info.status &&
           a.info.loss == b.info.loss;
}

}  // namespace

TEST_CASE("concurrency: a calibration for each thread, merged", "[concurrency]") {
    const auto about = GENERATE(nsvd::moments::raw, nsvd::moments::central);
    const MatrixXd x = support::activations(12, 400, 1);
    std::vector<nsvd::calibration<double>> parts(threads, nsvd::calibration<double>(12, about));
    at_once([&](std::size_t i) {
        for (Eigen::Index first = 0; first < 100; first += 25)
            parts[i].update(x.middleCols(static_cast<Eigen::Index>(i) * 100 + first, 25));
    });
    nsvd::calibration<double> merged(12, about);
    nsvd::calibration<double> expected(12, about);
    for (std::size_t i = 0; i < threads; ++i) {
        merged.merge(parts[i]);
        nsvd::calibration<double> part(12, about);
        for (Eigen::Index first = 0; first < 100; first += 25)
            part.update(x.middleCols(static_cast<Eigen::Index>(i) * 100 + first, 25));
        expected.merge(part);
    }
    CHECK(merged.tokens() == 400);
    CHECK(merged.gram() == expected.gram());
    const MatrixXd whole = x * x.transpose();
    CHECK((merged.gram() - whole).norm() <= 1e-13 * whole.norm());
}

TEST_CASE("concurrency: one calibration read by many, one workspace each", "[concurrency]") {
    const MatrixXf w = support::gaussian(40, 30, 2).cast<float>();
    const nsvd::calibration<double> calib = support::calibrated(support::activations(30, 90, 3, 100.0));
    const nsvd::rank k{9};
    const auto expected = nsvd::nested(w, calib, k, {.share = 0.7});
    const auto columns = nsvd::nested(w, calib, k, {.share = 0.7, .residual = nsvd::residual::interpolative});
    const double error = nsvd::weighted_error(w, expected, calib);
    std::vector<int> good(threads, 0);
    at_once([&](std::size_t i) {
        nsvd::workspace memory;
        for (int repeat = 0; repeat < 3; ++repeat) {
            const auto d = nsvd::nested(w, calib, k, {.share = 0.7, .workspace = &memory});
            const auto id = nsvd::nested(
                w, calib, k, {.share = 0.7, .residual = nsvd::residual::interpolative, .workspace = &memory});
            good[i] += same(d, expected) && same(id, columns) && nsvd::weighted_error(w, d, calib) == error &&
                       calib.mean().size() == 30 && nsvd::bias_correction(w, d, calib).allFinite();
        }
    });
    CHECK(good == std::vector<int>(threads, 3));
}

TEST_CASE("concurrency: one metric for many, factored once", "[concurrency]") {
    const MatrixXd w = support::gaussian(25, 20, 4);
    const nsvd::calibration<double> calib = support::calibrated(support::activations(20, 60, 5));
    const auto kind = GENERATE(nsvd::whitening::cholesky, nsvd::whitening::eigen);
    const nsvd::metric alone = nsvd::gram_metric(calib, kind, 0.01);
    const auto expected = nsvd::decompose(w, {{alone, 1.0}}, nsvd::energy{0.9});
    const nsvd::metric shared = nsvd::gram_metric(calib, kind, 0.01);
    std::vector<const nsvd::whitening_factor*> factors(threads);
    std::vector<int> good(threads, 0);
    at_once([&](std::size_t i) {
        const nsvd::metric mine = shared;
        factors[i] = &mine.factor();
        good[i] = same(nsvd::decompose(w, {{mine, 1.0}}, nsvd::energy{0.9}), expected);
    });
    CHECK(good == std::vector<int>(threads, 1));
    CHECK(factors == std::vector<const nsvd::whitening_factor*>(threads, factors[0]));
}

TEST_CASE("concurrency: one every_rank for many", "[concurrency]") {
    const MatrixXd w = support::gaussian(24, 30, 6);
    const nsvd::calibration<double> calib = support::calibrated(support::activations(30, 80, 7));
    const nsvd::every_rank all(w, nsvd::gram_metric(calib));
    const MatrixXd seen = all.seen_in(nsvd::metric());
    std::vector<double> expected;
    for (Eigen::Index k = 1; k <= 24; ++k)
        expected.push_back(all.relative_loss(seen, k, 0.5));
    std::vector<std::vector<double>> found(threads);
    at_once([&](std::size_t i) {
        for (Eigen::Index k = 1; k <= 24; ++k) {
            (void)all.take(k, 0.8);
            found[i].push_back(all.relative_loss(seen, k, 0.5));
        }
    });
    for (const auto& losses : found)
        CHECK(losses == expected);
}

TEST_CASE("concurrency: layers beyond what is solved in double", "[concurrency]") {
    const MatrixXf w = support::gaussian(600, 560, 8).cast<float>();
    const auto expected = nsvd::svd(w, nsvd::rank{40});
    std::vector<int> good(threads, 0);
    at_once([&](std::size_t i) {
        nsvd::workspace memory;
        const auto d = nsvd::svd(w, nsvd::rank{40}, {.workspace = &memory});
        good[i] = d.info.solver == expected.info.solver &&
                  (d.left * (d.left.transpose() * expected.left) - expected.left).norm() < 1e-3;
    });
    CHECK(good == std::vector<int>(threads, 1));
}
