// SPDX-License-Identifier: MIT
// What takes long tells how far it is, stops when asked, and is as good as new afterwards.
#include "support/calibrated.hpp"
#include "support/catch.hpp"
#include "support/random.hpp"

#include <nsvd/nsvd.hpp>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <functional>
#include <memory>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

using Eigen::Index;
using support::calibrated;
using support::gaussian;

namespace {

struct thrown_by_callback : std::runtime_error {
    thrown_by_callback() : std::runtime_error("enough") {}
};

/// What is in a result, for comparison to the bit.
template <class Scalar>
std::vector<double> numbers(const nsvd::low_rank<Scalar>& d) {
    std::vector<double> all(d.left.data(), d.left.data() + d.left.size());
    all.insert(all.end(), d.right.data(), d.right.data() + d.right.size());
    return all;
}

/// `call(progress, cancel)` gives the numbers of a result. It must tell how far it is from 0 to 1; end where
/// it is cancelled, or its callback throws, at any place; and give the same numbers again after that. Returns
/// how often it looked.
int watch(const std::function<std::vector<double>(const nsvd::progress_callback&, const nsvd::cancel_token&)>&
              call) {
    const std::vector<double> expected = call(nsvd::progress_callback(), nsvd::cancel_token());
    std::vector<double> told;
    bool named = true;
    bool same_thread = true;
    const std::thread::id here = std::this_thread::get_id();
    int looks = 0;
    const auto listen = [&](const nsvd::progress& p) {
        told.push_back(p.done);
        named = named && !p.what.empty();
        same_thread = same_thread && std::this_thread::get_id() == here;
    };
    CHECK(call(listen, [&] { return ++looks < 0; }) == expected);
    REQUIRE(told.size() >= 3);
    CHECK(told.front() == 0.0);
    CHECK(told.back() == 1.0);
    for (std::size_t i = 1; i < told.size(); ++i) {
        CAPTURE(i);
        CHECK(told[i] > told[i - 1]);
    }
    CHECK(named);
    CHECK(same_thread);

    for (const int part : {0, 1, 2, 3, 4}) {
        const int at = std::max(1, looks * part / 4);
        int count = 0;
        CAPTURE(looks, at);
        CHECK_THROWS_AS(call({}, [&] { return ++count >= at; }), nsvd::cancelled);
        CHECK(count == at);  // it doesn't go on after that
        CHECK(call({}, {}) == expected);
    }
    for (std::size_t i = 0; i < told.size(); i += std::max<std::size_t>(1, told.size() / 4)) {
        CAPTURE(i);
        const auto enough = [&](const nsvd::progress& p) {
            if (p.done >= told[i]) throw thrown_by_callback();
        };
        CHECK_THROWS_AS(call(enough, {}), thrown_by_callback);
        CHECK(call({}, {}) == expected);
    }
    return looks;
}

}  // namespace

TEST_CASE("progress: every method, in double precision", "[progress]") {
    const Eigen::MatrixXd w = gaussian(40, 56, 1);
    const auto calib = calibrated(support::activations(56, 200, 2, 10.0));
    nsvd::workspace memory;
    watch([&](const auto& progress, const auto& cancel) {
        return numbers(
            nsvd::svd(w, nsvd::rank{9}, {.workspace = &memory, .progress = progress, .cancel = cancel}));
    });
    watch([&](const auto& progress, const auto& cancel) {
        return numbers(nsvd::asvd(w, calib, nsvd::energy{0.9}, {.progress = progress, .cancel = cancel}));
    });
    for (const auto second : {nsvd::residual::svd, nsvd::residual::interpolative})
        watch([&](const auto& progress, const auto& cancel) {
            return numbers(
                nsvd::nested(w, calib, nsvd::rank{12},
                             {.share = 0.5, .residual = second, .progress = progress, .cancel = cancel}));
        });
    watch([&](const auto& progress, const auto& cancel) {
        return numbers(nsvd::decompose(w, {{nsvd::metric(), 0.5}, {nsvd::gram_metric(calib), 0.5}},
                                       nsvd::rank{12}, {.progress = progress, .cancel = cancel}));
    });
    nsvd::calibration<double> pairs(56);
    pairs.update(gaussian(56, 90, 3), gaussian(56, 90, 4));
    watch([&](const auto& progress, const auto& cancel) {
        return numbers(
            nsvd::anchored(w, pairs, nsvd::rank{12}, {.share = 0.8, .progress = progress, .cancel = cancel}));
    });
}

TEMPLATE_TEST_CASE("progress: the iterations in single precision", "[progress]", float, double) {
    using matrix = Eigen::Matrix<TestType, Eigen::Dynamic, Eigen::Dynamic>;
    const matrix w = gaussian(560, 640, 5).cast<TestType>();
    const auto calib = calibrated(support::activations(640, 1300, 6, 3.0));
    for (const Index k : {12, 100, 260}) {
        CAPTURE(k);
        nsvd::workspace memory;
        std::size_t kept = 0;
        const int looks = watch([&](const auto& progress, const auto& cancel) {
            auto d = nsvd::asvd(w, calib, nsvd::rank{k},
                                {.workspace = &memory, .progress = progress, .cancel = cancel});
            if (kept == 0) kept = memory.bytes();
            // Memory on loan comes back, however a call ends.
            CHECK(memory.bytes() == kept);
            CHECK(d.info.solver.find("single") != std::string::npos);
            return numbers(d);
        });
        CHECK(looks >= (k < 260 ? 8 : 5));  // each step of an iteration
    }
}

TEST_CASE("progress: what is not a decomposition", "[progress]") {
    const Eigen::MatrixXd w = gaussian(30, 44, 7);
    const auto calib = calibrated(support::activations(44, 150, 8));
    const auto other = calibrated(support::activations(44, 150, 9));
    const int pivots = watch([&](const auto& progress, const auto& cancel) {
        const auto found = nsvd::interpolative(w, nsvd::rank{20}, {.progress = progress, .cancel = cancel});
        return std::vector<double>(found.columns.begin(), found.columns.end());
    });
    CHECK(pivots >= 20);
    watch([&](const auto& progress, const auto& cancel) {
        const nsvd::every_rank all(w, nsvd::gram_metric(calib), {.progress = progress, .cancel = cancel});
        return numbers(all.take(7));
    });
    const std::vector<nsvd::tuning> grid = nsvd::tuning_grid();
    const int metrics = watch([&](const auto& progress, const auto& cancel) {
        return nsvd::held_out_losses(w, calib, other, 10, grid, {.progress = progress, .cancel = cancel});
    });
    CHECK(metrics >= static_cast<int>(grid.size()));
    watch([&](const auto& progress, const auto& cancel) {
        const auto found = nsvd::similarity(calib, other, 5, {.progress = progress, .cancel = cancel});
        return std::vector<double>(found.principal_cosines.begin(), found.principal_cosines.end());
    });
    const auto d = nsvd::svd(w, nsvd::rank{12});
    watch([&](const auto& progress, const auto& cancel) {
        const auto pivoted = nsvd::pivot(d, {.progress = progress, .cancel = cancel});
        return std::vector<double>(pivoted.left.data(), pivoted.left.data() + pivoted.left.size());
    });

    std::vector<std::vector<double>> spectra;
    std::vector<nsvd::layer_profile> layers;
    for (int l = 0; l < 20; ++l) {
        std::vector<double>& values = spectra.emplace_back();
        for (int i = 0; i < 30; ++i)
            values.push_back(std::pow(0.8 + 0.005 * l, i));
    }
    for (const std::vector<double>& values : spectra)
        layers.push_back({.shape = {30, 44}, .spectrum = {.leading = values}});
    using rule = nsvd::allocation_rule;
    for (const rule how : {rule::uniform, rule::greedy, rule::effective_rank, rule::loss_group}) {
        const int looks = watch([&](const auto& progress, const auto& cancel) {
            const auto found = nsvd::allocate(layers, {.amount = 12'000}, how, {progress, cancel});
            std::vector<double> ranks;
            for (const auto& k : found.ranks)
                ranks.push_back(static_cast<double>(k.value_or(-1)));
            return ranks;
        });
        CHECK(looks >= static_cast<int>(layers.size()));
    }
}

TEST_CASE("progress: the ways to ask for a stop", "[progress]") {
    const Eigen::MatrixXd w = gaussian(8, 12, 10);
    const auto run = [&](const nsvd::cancel_token& cancel) {
        return nsvd::svd(w, nsvd::rank{3}, {.cancel = cancel}).rank();
    };
    std::stop_source source;
    const nsvd::cancel_token by_token = source.get_token();
    CHECK(run(by_token) == 3);
    source.request_stop();
    CHECK(by_token.requested());
    CHECK_THROWS_AS(run(by_token), nsvd::cancelled);
    CHECK_THROWS_AS(run(source), nsvd::cancelled);
    std::atomic<bool> flag{false};
    CHECK(run(flag) == 3);
    flag = true;
    CHECK_THROWS_AS(run(flag), nsvd::cancelled);
    CHECK_THROWS_AS(run([] { return true; }), nsvd::cancelled);
    CHECK(run({}) == 3);
    CHECK_FALSE(nsvd::cancel_token());
    CHECK_FALSE(nsvd::cancel_token().requested());
    CHECK_FALSE(nsvd::cancel_token(std::function<bool()>()));
    CHECK_FALSE(nsvd::progress_callback(std::function<void(const nsvd::progress&)>()));
    CHECK_FALSE(nsvd::progress_callback(nullptr));

    // Misuse and a stop are told apart, and the message says whose.
    STATIC_REQUIRE(!std::is_base_of_v<nsvd::error, nsvd::cancelled>);
    STATIC_REQUIRE(std::is_base_of_v<std::runtime_error, nsvd::cancelled>);
    try {
        (void)run(flag);
    } catch (const nsvd::cancelled& stop) {
        CHECK(std::string(stop.what()) == "svd: cancelled at 0 %");
    }
    // What is wrong with the arguments comes first.
    CHECK_THROWS_AS((void)nsvd::svd(w, nsvd::rank{99}, {.cancel = flag}), nsvd::error);
}

TEST_CASE("progress: a stop from another thread", "[progress]") {
    const Eigen::MatrixXf w = gaussian(700, 700, 11).cast<float>();
    std::stop_source source;
    std::atomic<bool> started{false};
    std::thread other([&] {
        while (!started)
            std::this_thread::yield();
        source.request_stop();
    });
    const auto once_more = [&] {
        for (;;)  // the first may be over before the other thread had its turn
            (void)nsvd::svd(w, nsvd::rank{30},
                            {.progress = [&](const nsvd::progress&) { started = true; }, .cancel = source});
    };
    CHECK_THROWS_AS(once_more(), nsvd::cancelled);
    other.join();
}

TEST_CASE("progress: option structs can be constants, callbacks are shared and may be moved in",
          "[progress]") {
    static constexpr nsvd::svd_options constant{.accuracy = nsvd::accuracy::exact};
    STATIC_REQUIRE(!constant.progress);
    int calls = 0;
    auto counter = std::make_unique<int>(0);
    nsvd::nested_options options{
        .share = 0.5,
        .progress = [&calls, own = std::move(counter)](const nsvd::progress&) mutable { calls = ++*own; }};
    const Eigen::MatrixXd w = gaussian(8, 12, 12);
    const auto calib = calibrated(gaussian(12, 30, 13));
    const nsvd::nested_options copy = options;
    (void)nsvd::nested(w, calib, nsvd::rank{3}, options);
    const int first = calls;
    (void)nsvd::nested(w, calib, nsvd::rank{3}, copy);
    CHECK(first > 2);
    CHECK(calls == 2 * first);
    options = {};
    CHECK_FALSE(options.progress);
    CHECK(copy.progress);
}
