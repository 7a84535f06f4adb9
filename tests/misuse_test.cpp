// SPDX-License-Identifier: MIT
// Every public function against every kind of misuse: the message says whose argument it was, and its value.
#include "support/catch.hpp"
#include "support/expect_error.hpp"
#include "support/random.hpp"

#include <nsvd/nsvd.hpp>

#include <functional>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

using Eigen::MatrixXd;
using support::expect_error;
using support::gaussian;

namespace {

constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();
constexpr double inf = std::numeric_limits<double>::infinity();
using words = std::initializer_list<std::string_view>;

const MatrixXd w = gaussian(4, 6, 1);

template <class X>
nsvd::calibration<float> seen(const X& x) {
    nsvd::calibration<float> calib(x.rows());
    calib.update(x);
    return calib;
}
const nsvd::calibration<float> calib = seen(gaussian(6, 20, 2));
const nsvd::calibration<float> narrow = seen(gaussian(5, 20, 3));
const nsvd::calibration<float> none(6);

nsvd::calibration<float> paired() {
    nsvd::calibration<float> c(6);
    c.update(gaussian(6, 20, 4), gaussian(6, 20, 5));
    return c;
}

/// The methods that take weights alone, and with a calibration, by the name that messages have for them.
template <class W, class Policy>
void each_method(const W& weights, const nsvd::calibration<float>& c, const Policy& policy,
                 const std::function<void(std::string_view, const std::function<void()>&)>& f) {
    const nsvd::calibration<float> pairs = paired();
    f("svd", [&] { (void)nsvd::svd(weights, policy); });
    f("asvd", [&] { (void)nsvd::asvd(weights, c, policy); });
    f("nested", [&] { (void)nsvd::nested(weights, c, policy); });
    f("anchored", [&] { (void)nsvd::anchored(weights, pairs, policy); });
    f("decompose", [&] { (void)nsvd::decompose(weights, {{nsvd::metric(), 1.0}}, policy); });
    f("interpolative", [&] { (void)nsvd::interpolative(weights, policy); });
}

}  // namespace

TEST_CASE("misuse: weights that are empty, not finite, or not there", "[misuse]") {
    each_method(MatrixXd(0, 6), calib, nsvd::rank{1}, [](auto name, const auto& call) {
        expect_error(call, {name, "is empty: 0×6"});
    });
    MatrixXd bad = w;
    for (const double value : {not_a_number, inf, -inf}) {
        bad(3, 2) = value;
        const std::string entry = "(3, 2) = " + nsvd::detail::text(value) + " is not finite";
        each_method(bad, calib, nsvd::rank{1}, [&](auto name, const auto& call) {
            expect_error(call, {name, entry});
        });
        expect_error([&] { (void)nsvd::every_rank(bad); }, {"every_rank: W", entry});
        expect_error([&] { (void)nsvd::anchored_target(bad, paired()); }, {"anchored_target: W", entry});
        expect_error([&] { (void)nsvd::bias_correction(bad, nsvd::svd(w, nsvd::rank{1}), calib); },
                     {"bias_correction: W", entry});
        expect_error([&] { (void)nsvd::held_out_losses(bad, calib, calib, 1, nsvd::tuning_grid()); },
                     {"W", entry});
    }
    const nsvd::strided_view<float> nowhere{nullptr, 4, 6};
    each_method(nowhere, calib, nsvd::rank{1}, [](auto, const auto& call) {
        expect_error(call, {"shape 4×6", "a null pointer"});
    });
    const std::vector<float> numbers(24);
    each_method(nsvd::strided_view<float>{numbers.data(), 4, 6, -1, 4}, calib, nsvd::rank{1},
                [](auto, const auto& call) {
                    expect_error(call, {"shape 4×6", "strides (-1, 4)"});
                });
    expect_error([&] { (void)nsvd::row_major(numbers, 5, 6); }, {"row_major", "24 numbers", "5×6"});
    expect_error([&] { (void)nsvd::column_major(numbers, -4, -6); }, {"column_major", "24 numbers", "-4×-6"});
}

TEST_CASE("misuse: ranks and ratios", "[misuse]") {
    for (const nsvd::index k : {0, -3, 5})
        each_method(w, calib, nsvd::rank{k}, [&](auto, const auto& call) {
            expect_error(call, {"rank " + std::to_string(k), "[1, 4]", "4×6"});
        });
    for (const double bad : {-0.25, 1.25, not_a_number, inf}) {
        const std::string value = nsvd::detail::text(bad);
        each_method(w, calib, nsvd::compression{bad}, [&](auto, const auto& call) {
            expect_error(call, {"compression: ratio = " + value, "[0, 1)"});
        });
        each_method(w, calib, nsvd::energy{bad}, [&](auto, const auto& call) {
            expect_error(call, {"energy: fraction = " + value, "(0, 1]"});
        });
        each_method(w, calib, nsvd::tolerance{bad}, [&](auto, const auto& call) {
            expect_error(call, {"tolerance: relative_error = " + value, "[0, 1)"});
        });
        expect_error([&] { (void)nsvd::nested(w, calib, nsvd::rank{2}, {.share = bad}); },
                     {"nested: share = " + value, "[0, 1]"});
        expect_error([&] { (void)nsvd::anchored(w, paired(), nsvd::rank{2}, {.share = bad}); },
                     {"anchored: share = " + value, "[0, 1]"});
        expect_error(
            [&] {
                (void)nsvd::decompose(w, {{nsvd::metric(), bad}}, nsvd::rank{2});
            },
            {"decompose: stage 1: share = " + value, "[0, 1]"});
        expect_error([&] { (void)nsvd::every_rank(w).take(2, bad); }, {"every_rank.take: share = " + value});
    }
    for (const double bad : {-1.0, not_a_number, inf}) {
        const std::string value = nsvd::detail::text(bad);
        expect_error([&] { (void)nsvd::asvd(w, calib, nsvd::rank{2}, {.blend = bad}); },
                     {"blend = " + value});
        expect_error([&] { (void)nsvd::gram_metric(calib, nsvd::whitening::eigen, bad); },
                     {"blend = " + value});
        expect_error([&] { (void)nsvd::diagonal_metric(calib, bad); }, {"alpha = " + value});
        expect_error([&] { (void)nsvd::anchored(w, paired(), nsvd::rank{2}, {.epsilon = bad}); },
                     {"epsilon = " + value});
    }
    const auto d = nsvd::svd(w, nsvd::rank{2});
    expect_error([&] { (void)d.truncate(3); }, {"truncate: k = 3", "[1, 2]"});
    for (const double growth : {1.0, -2.0, not_a_number})
        expect_error([&] { (void)nsvd::pivot(d, {.growth = growth}); },
                     {"pivot: growth = " + nsvd::detail::text(growth)});
}

TEST_CASE("misuse: shapes that don't match", "[misuse]") {
    expect_error([] { (void)nsvd::asvd(w, narrow, nsvd::rank{2}); },
                 {"asvd: W is 4×6", "calib has 5 features"});
    expect_error([] { (void)nsvd::nested(w, narrow, nsvd::rank{2}); },
                 {"nested: W is 4×6", "calib has 5 features"});
    expect_error([] { (void)nsvd::anchored(w, narrow, nsvd::rank{2}); },
                 {"anchored: W is 4×6", "calib has 5 features"});
    const auto d = nsvd::svd(w, nsvd::rank{2});
    const auto other = nsvd::svd(gaussian(5, 6, 6), nsvd::rank{2});
    expect_error([&] { (void)nsvd::weighted_error(w, d, narrow); },
                 {"weighted_error: W has 6 columns", "calib has 5 features"});
    expect_error([&] { (void)nsvd::plain_error(w, other); }, {"plain_error: W is 4×6", "5×2", "2×6"});
    expect_error([&] { (void)nsvd::bias_correction(w, other, calib); }, {"bias_correction: W is 4×6", "5×6"});
    expect_error([&] { (void)nsvd::bias_correction(w, d, calib, Eigen::VectorXd::Ones(3)); },
                 {"bias_correction: mean_error has 3 numbers", "4 rows"});
    expect_error([&] { (void)(d * MatrixXd(5, 2)); }, {"low_rank * x: x is 5×2", "W is 4×6"});
    expect_error([&] { (void)(nsvd::pivot(d) * MatrixXd(5, 2)); },
                 {"pivoted_low_rank * x: x is 5×2", "W is 4×6"});
    expect_error([] { (void)nsvd::similarity(calib, narrow); }, {"similarity: a has 6 features", "b has 5"});
    expect_error([] { (void)nsvd::similarity(calib, calib, 7); }, {"similarity: dimension = 7", "[0, 6]"});
    expect_error([] { (void)nsvd::held_out_losses(w, calib, narrow, 2, nsvd::tuning_grid()); },
                 {"held_out_losses: held_out has 5 features", "calib has 6"});
    expect_error([] { (void)nsvd::stack_rows(w, gaussian(2, 5, 7)); },
                 {"stack_rows: matrix 1 is 2×5", "6 columns"});
    const std::vector<nsvd::index> heights{4, -1, 1};
    expect_error([&] { (void)nsvd::split_rows(d, heights); }, {"split_rows: heights[1] = -1"});
    const nsvd::metric five(nsvd::diagonal_factor(Eigen::VectorXd::Ones(5)));
    const Eigen::MatrixXd six = Eigen::MatrixXd::Ones(6, 2);
    expect_error([&] { (void)five.times(six); }, {"metric::times", "rows of x = 6", "M is 5×5"});
    expect_error([&] { (void)five.diagonal(6); }, {"metric::diagonal", "n = 6", "M is 5×5"});
    expect_error(
        [&] {
            (void)nsvd::decompose(w, {{five, 1.0}}, nsvd::rank{2});
        },
        {"decompose: stage 1: the metric is for 5 features", "W has 6 columns"});
    expect_error([] { (void)nsvd::cholesky_factor(gaussian(3, 2, 8)); }, {"M is 3×2", "not square"});
    const nsvd::whitening_factor s = nsvd::cholesky_factor(MatrixXd::Identity(3, 3));
    expect_error([&] { (void)s.apply(w); }, {"whitening_factor::apply: rows of x: 4, not 3"});
    expect_error([&] { (void)s.solve_right(w); }, {"whitening_factor::solve_right: columns of a: 6, not 3"});
}

TEST_CASE("misuse: calibrations", "[misuse]") {
    expect_error([] { nsvd::calibration<float>(-2); }, {"calibration: features = -2", "at least 1"});
    nsvd::calibration<float> c(6);
    expect_error([&] { c.update(w); }, {"calibration.update: x is 4×6", "6 features"});
    expect_error([&] { c.update(MatrixXd(6, 0)); }, {"calibration.update: x is empty: 6×0"});
    MatrixXd x = gaussian(6, 3, 9);
    expect_error([&] { c.update(x, gaussian(6, 4, 10)); }, {"calibration.update: a is 6×3", "b is 6×4"});
    expect_error(
        [&] {
            c.update(x, std::vector<double>{1.0, 2.0});
        },
        {"calibration.update: 2 weights", "3 tokens"});
    expect_error(
        [&] {
            c.update(x, std::vector<double>{1.0, -2.0, 1.0});
        },
        {"calibration.update: weight 1 = -2"});
    x(5, 1) = inf;
    expect_error([&] { c.update(x); }, {"calibration.update: x(5, 1) = inf"});
    expect_error([&] { c.merge(narrow); }, {"calibration.merge: other has 5 features", "this has 6"});
    CHECK(c.tokens() == 0);
    for (const auto& [name, call] : std::vector<std::pair<std::string, std::function<void()>>>{
             {"asvd", [] { (void)nsvd::asvd(w, none, nsvd::rank{2}); }},
             {"nested", [] { (void)nsvd::nested(w, none, nsvd::rank{2}); }},
             {"anchored", [] { (void)nsvd::anchored(w, none, nsvd::rank{2}); }},
             {"gram_metric", [] { (void)nsvd::gram_metric(none); }},
             {"diagonal_metric", [] { (void)nsvd::diagonal_metric(none); }},
             {"peak", [] { (void)nsvd::peak(none); }},
             {"bias_correction", [] { (void)nsvd::bias_correction(w, nsvd::svd(w, nsvd::rank{1}), none); }},
             {"weighted_error", [] { (void)nsvd::weighted_error(w, nsvd::svd(w, nsvd::rank{1}), none); }}})
        expect_error(call, {name, "calib has no tokens"});

    const auto stored = [](const std::function<void(nsvd::calibration_state&)>& spoil) {
        nsvd::calibration_state state = calib.state();
        spoil(state);
        return [state] { nsvd::calibration<float> restored(state); };
    };
    expect_error(stored([](auto& s) { s.sum.resize(4); }), {"calibration", "gram 6×6", "4 features"});
    expect_error(stored([](auto& s) { s.gram(4, 2) = not_a_number; }), {"gram(4, 2) = nan"});
    expect_error(stored([](auto& s) { s.sum_abs(3) = inf; }), {"sum_abs(3, 0) = inf"});
    expect_error(stored([](auto& s) { s.weight = not_a_number; }), {"weight = nan"});
    expect_error(stored([](auto& s) { s.tokens = -1; }), {"tokens = -1"});
    expect_error(stored([](auto& s) { s.gram(2, 2) = -1.0; }), {"channel 2", "gram(2, 2) = -1"});
    expect_error(stored([](auto& s) { s.max_abs(1) = 0.0; }), {"channel 1", "max_abs = 0"});
}

TEST_CASE("misuse: metrics and factors of one's own", "[misuse]") {
    nsvd::whitening_factor f = nsvd::cholesky_factor(MatrixXd::Identity(3, 3));
    f.scale(1) = -2.0;
    expect_error([&] { nsvd::metric m(f); }, {"metric", "scale(1) = -2"});
    f = nsvd::cholesky_factor(MatrixXd::Identity(3, 3));
    f.basis(2, 0) = inf;
    expect_error([&] { nsvd::metric m(f); }, {"metric: basis(2, 0) = inf"});
    f.basis.resize(2, 3);
    expect_error([&] { nsvd::metric m(f); }, {"metric: factor", "scale 3", "basis 2×3"});
    expect_error([] { (void)nsvd::diagonal_factor(Eigen::Vector3d(1.0, -2.0, 1.0)); },
                 {"diagonal_factor: s", "-2"});
    MatrixXd m = MatrixXd::Identity(3, 3);
    m(1, 1) = -4.0;
    expect_error([&] { (void)nsvd::eigen_factor(m); }, {"M(1, 1) = -4", "negative"});
}

TEST_CASE("misuse: budgets and peaks", "[misuse]") {
    const std::vector<double> squares{3.0, 2.0, 1.0};
    const nsvd::layer_profile good{.shape = {3, 5}, .spectrum = {.leading = squares}};
    const auto allocated = [&](nsvd::layer_profile l, nsvd::storage_budget b = {.amount = 15}) {
        return [=] { (void)nsvd::allocate({&l, 1}, b); };
    };
    nsvd::layer_profile l = good;
    l.name = "q_proj";
    l.floor = 4;
    expect_error(allocated(l), {"allocate: layer 'q_proj'", "floor", "4 to 3"});
    l = good;
    l.ceiling = 7;
    expect_error(allocated(l), {"allocate: layer 0", "ceiling", "1 to 7"});
    l = good;
    l.weight = not_a_number;
    expect_error(allocated(l), {"allocate: layer 0", "weight = nan"});
    expect_error(allocated(good, {.amount = 3}), {"allocate", "take 8", "budget is 3"});
    expect_error(allocated(good, {.amount = 3, .per_number = 0}), {"allocate", "per_number = 0"});
    expect_error(allocated(good, {.amount = 3, .per_index = -1}), {"allocate", "per_index = -1"});
    expect_error([] { (void)nsvd::spiking(std::vector<double>{1.0, -3.0}); }, {"spiking: peaks[1] = -3"});
    expect_error([] { (void)nsvd::spiking(std::vector<double>{1.0}, 0.5); }, {"spiking: factor = 0.5"});
}
