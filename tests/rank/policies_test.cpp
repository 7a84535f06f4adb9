// SPDX-License-Identifier: MIT
// The ranks that policies pick.
#include "support/catch.hpp"
#include "support/expect_error.hpp"
#include "support/naive.hpp"
#include "support/random.hpp"

#include <nsvd/nsvd.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <vector>

using Eigen::MatrixXd;
using nsvd::shape;
using nsvd::spectrum;

namespace {

static_assert(nsvd::shape_policy<nsvd::rank> && nsvd::shape_policy<nsvd::compression>);
static_assert(nsvd::spectrum_policy<nsvd::energy> && nsvd::spectrum_policy<nsvd::tolerance>);
static_assert(!nsvd::spectrum_policy<nsvd::rank> && !nsvd::shape_policy<nsvd::energy>);
static_assert(!nsvd::rank_policy<int> && !nsvd::rank_policy<std::string>);
static_assert(!nsvd::rank_policy<decltype([](const shape&) { return std::string(); })>);
static_assert(!nsvd::rank_policy<decltype([](const MatrixXd&) { return nsvd::index{1}; })>);

/// floor((1 − ratio)·mn/(m + n)) with the ratio in units of 1e-9, in 128 bits.
std::int64_t exact_rank(std::int64_t removed, std::int64_t m, std::int64_t n) {
    __extension__ using wide = __int128;
    return static_cast<std::int64_t>(wide{1'000'000'000 - removed} * m * n / (wide{1'000'000'000} * (m + n)));
}

spectrum complete(const std::vector<double>& values) {
    return {.leading = values};
}

/// The smallest k whose dropped energy is at most `allowed` of the total, in long double.
nsvd::index smallest(const std::vector<double>& values, long double allowed) {
    long double total = 0;
    for (const double v : values)
        total += v;
    for (std::size_t k = 0; k <= values.size(); ++k) {
        long double dropped = 0;
        for (std::size_t i = values.size(); i > k; --i)
            dropped += values[i - 1];
        if (dropped <= allowed * total) return static_cast<nsvd::index>(k);
    }
    return -1;
}

}  // namespace

TEST_CASE("compression: the rank of 128-bit integer arithmetic", "[rank]") {
    for (const std::int64_t m : {2, 3, 64, 172, 768, 1000, 2896, 4096, 5120, 11008, 13824, 128256})
        for (const std::int64_t n : {2, 5, 64, 512, 999, 4096, 5120, 11008, 28672})
            for (std::int64_t percent = 0; percent < 100; ++percent) {
                const std::int64_t expected = exact_rank(10'000'000 * percent, m, n);
                CAPTURE(m, n, percent);
                const nsvd::compression policy{static_cast<double>(percent) / 100.0};
                if (expected == 0)
                    CHECK_THROWS_AS(policy(shape{m, n}), nsvd::error);
                else if (policy(shape{m, n}) != expected)
                    FAIL_CHECK("rank " << policy(shape{m, n}) << ", not " << expected);
            }
}

TEST_CASE("compression: any ratio and huge shapes", "[rank]") {
    std::mt19937_64 engine(7);
    for (int i = 0; i < 20000; ++i) {
        const auto below = [&](std::int64_t bound) {
            return std::uniform_int_distribution<std::int64_t>(1, bound - 1)(engine);
        };
        const std::int64_t removed = below(1'000'000'000);
        const std::int64_t m = below(i % 2 == 0 ? 100'000 : 2'000'000'000);
        const std::int64_t n = below(i % 3 == 0 ? 100'000 : 2'000'000'000);
        const std::int64_t expected = exact_rank(removed, m, n);
        if (expected == 0) continue;
        const nsvd::index k = nsvd::compression{static_cast<double>(removed) / 1e9}(shape{m, n});
        CAPTURE(removed, m, n);
        if (k != expected) FAIL_CHECK("rank " << k << ", not " << expected);
    }
}

TEST_CASE("compression: figures that floating point gets wrong", "[rank]") {
    CHECK(nsvd::compression{0.9}(shape{5120, 5120}) == 256);
    CHECK(nsvd::compression{0.30}(shape{4096, 4096}) == 1433);
    CHECK(nsvd::compression{0.5}(shape{4096, 4096}) == 1024);
    CHECK(nsvd::compression{0.1}(shape{20, 20}) == 9);
    CHECK(nsvd::compression{0.9}(shape{20, 20}) == 1);
    CHECK(nsvd::compression{0.0}(shape{2, 2}) == 1);
    // What is computed from 1 − kept is the same ratio.
    CHECK(nsvd::compression{1.0 - 0.1}(shape{5120, 5120}) == 256);
    CHECK(nsvd::compression{1.0 - 0.7}(shape{20, 20}) == 7);
}

TEST_CASE("energy and tolerance: brute force over many spectra", "[rank]") {
    std::mt19937_64 engine(11);
    std::uniform_real_distribution<double> uniform(0.0, 1.0);
    for (int trial = 0; trial < 300; ++trial) {
        std::vector<double> values(static_cast<std::size_t>(1 + trial % 23));
        const double decay = 12.0 * uniform(engine);
        for (std::size_t i = 0; i < values.size(); ++i)
            values[i] = std::pow(10.0, -decay * uniform(engine));
        if (trial % 4 == 0) std::fill(values.begin(), values.end(), values[0]);
        std::sort(values.rbegin(), values.rend());
        const shape s{40, static_cast<nsvd::index>(values.size())};
        const double f = 0.001 + 0.998 * uniform(engine);
        CAPTURE(trial, f);
        const auto allowed = 1.0L - static_cast<long double>(f);
        CHECK(nsvd::energy{f}(complete(values), s) == smallest(values, allowed));
        CHECK(nsvd::tolerance{f}(complete(values), s) == smallest(values, static_cast<long double>(f) * f));
        // A partial spectrum gives the same rank or asks for more.
        spectrum part{.leading = std::span(values).first(values.size() / 2), .complete = false};
        for (std::size_t i = values.size(); i > part.size(); --i)
            part.rest += values[i - 1];
        const auto k = nsvd::energy{f}(part, s);
        const auto full = smallest(values, allowed);
        if (k)
            CHECK(*k == full);
        else
            CHECK(full > static_cast<nsvd::index>(part.size()));
    }
}

TEST_CASE("energy and tolerance: the ends of their range", "[rank]") {
    const std::vector<double> values{4.0, 2.0, 1.0, 1.0, 0.0, 0.0};
    const shape s{6, 6};
    CHECK(nsvd::energy{1.0}(complete(values), s) == 4);
    CHECK(nsvd::energy{0.5}(complete(values), s) == 1);
    CHECK(nsvd::energy{0.75}(complete(values), s) == 2);
    CHECK(nsvd::energy{0.76}(complete(values), s) == 3);
    CHECK(nsvd::energy{1e-12}(complete(values), s) == 1);
    CHECK(nsvd::tolerance{0.0}(complete(values), s) == 4);
    CHECK(nsvd::tolerance{0.5}(complete(values), s) == 2);
    CHECK(nsvd::tolerance{0.49}(complete(values), s) == 3);
    CHECK(complete(values).total() == 8.0);
    CHECK(complete(values).rest_after(2) == 2.0);
    CHECK(complete(values).rest_after(6) == 0.0);
    const MatrixXd zero = MatrixXd::Zero(4, 5);
    support::expect_error([&] { (void)nsvd::svd(zero, nsvd::energy{0.9}); }, {"svd", "rank 0", "4×5"});
    support::expect_error([&] { (void)nsvd::svd(zero, nsvd::tolerance{0.1}); }, {"svd", "rank 0", "4×5"});
}

TEST_CASE("policies: all of them work in every decomposition", "[rank]") {
    const MatrixXd w = support::with_spectrum(12, 18, support::geometric(12, 3.0, 0.6), 21);
    nsvd::calibration<double> calib(18);
    calib.update(support::activations(18, 90, 22));
    const auto ranks = [&](const auto& policy) {
        return std::vector<nsvd::index>{nsvd::svd(w, policy).rank(), nsvd::asvd(w, calib, policy).rank(),
                                        nsvd::nested(w, calib, policy, {.share = 0.5}).rank(),
                                        nsvd::interpolative(w, policy).rank()};
    };
    using all = std::vector<nsvd::index>;
    CHECK(ranks(nsvd::rank{5}) == all{5, 5, 5, 5});
    CHECK(ranks(nsvd::compression{0.3}) == all{5, 5, 5, 5});
    CHECK(ranks([](const shape& s) { return s.full_rank() / 2; }) == all{6, 6, 6, 6});
    CHECK(ranks([](const shape&) { return 7; }) == all{7, 7, 7, 7});
    const auto above = [](const spectrum& values, const shape& s) {
        CHECK(s.rows == 12);
        CHECK(s.cols == 18);
        CHECK(values.size() == 12);
        CHECK(values.complete);
        return std::count_if(values.begin(), values.end(), [&](double v) { return v > 0.01 * values[0]; });
    };
    CHECK(ranks(above)[0] == 5);  // 0.6^2i > 0.01
    const auto optional = [](const spectrum& values, const shape&) -> std::optional<nsvd::index> {
        if (!values.complete) return std::nullopt;
        return 4;
    };
    CHECK(ranks(optional) == all{4, 4, 4, 4});
    static int calls = 0;
    (void)nsvd::asvd(w, calib, [](const spectrum&, const shape&) { return ++calls; });
    CHECK(calls == 1);
    nsvd::index (*const function)(const shape&) = [](const shape& s) { return s.rows / 4; };
    CHECK(ranks(function) == all{3, 3, 3, 3});
}

TEST_CASE("policies: energy and tolerance hold for the error that is reached", "[rank]") {
    const MatrixXd w = support::gaussian(15, 20, 31);
    const MatrixXd x = support::activations(20, 100, 32, 100.0);
    nsvd::calibration<double> calib(20);
    calib.update(x);
    for (const double bound : {0.6, 0.3, 0.1, 0.01}) {
        CAPTURE(bound);
        const auto plain = nsvd::svd(w, nsvd::tolerance{bound});
        CHECK(support::best_error(w, plain.rank()) <= bound * w.norm());
        CHECK(support::best_error(w, plain.rank() - 1) > bound * w.norm());
        CHECK(nsvd::svd(w, nsvd::energy{1 - bound * bound}).rank() == plain.rank());
        const auto weighted = nsvd::asvd(w, calib, nsvd::tolerance{bound});
        CHECK(support::best_error(w * x, weighted.rank()) <= bound * (w * x).norm());
        CHECK(support::best_error(w * x, weighted.rank() - 1) > bound * (w * x).norm());
    }
}

TEST_CASE("policies: the scale of W does not change what a spectrum policy picks", "[rank]") {
    const MatrixXd w = support::gaussian(15, 20, 41);
    const nsvd::index k = nsvd::svd(w, nsvd::energy{0.9}).rank();
    for (const double scale : {1e-200, 1e-100, 1e100, 1e200}) {
        CAPTURE(std::log10(scale));
        CHECK(nsvd::svd(scale * w, nsvd::energy{0.9}).rank() == k);
        CHECK(nsvd::interpolative(scale * w, nsvd::tolerance{0.3}).rank() ==
              nsvd::interpolative(w, nsvd::tolerance{0.3}).rank());
    }
}

TEST_CASE("policies: a shape without rows or columns throws", "[policies]") {
    CHECK_THROWS_AS(nsvd::compression{0.3}(nsvd::shape{0, 0}), nsvd::error);
}
