// SPDX-License-Identifier: MIT
// Streaming statistics against naive sums in long double.
#include "support/catch.hpp"
#include "support/expect_error.hpp"
#include "support/naive.hpp"
#include "support/random.hpp"

#include <nsvd/calibration.hpp>

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <limits>
#include <span>
#include <string_view>
#include <vector>

using Eigen::Index;
using nsvd::calibration;
using nsvd::moments;
using support::activations;
using support::expect_error;
using support::gaussian;

namespace {

constexpr double eps = std::numeric_limits<double>::epsilon();
constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

/// max |c_ij − exact_ij| / √(exact_ii exact_jj).
double gram_error(const Eigen::MatrixXd& gram, const support::MatrixXl& exact) {
    long double worst = 0;
    for (Index j = 0; j < exact.cols(); ++j)
        for (Index i = 0; i < exact.rows(); ++i)
            worst =
                std::max(worst, std::abs(gram(i, j) - exact(i, j)) / std::sqrt(exact(i, i) * exact(j, j)));
    return static_cast<double>(worst);
}

/// All that a calibration knows is the same, up to rounding `slack`·eps.
void check_same(const calibration<double>& a, const calibration<double>& b, double slack) {
    CHECK(gram_error(a.gram(), b.gram().cast<long double>()) <= slack * eps);
    CHECK((a.mean() - b.mean()).cwiseAbs().maxCoeff() <= slack * eps * b.max_abs().maxCoeff());
    CHECK(a.mean_abs().isApprox(b.mean_abs(), slack * eps));
    CHECK(a.max_abs() == b.max_abs());
    CHECK(a.weight() == Approx(b.weight()).epsilon(slack * eps));
}

template <class Scalar>
void check_scalar() {
    const Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic> x =
        activations(7, 90, 11, 50.0).cast<Scalar>();
    calibration<Scalar> calib(7);
    calib.update(x);
    const Eigen::MatrixXd wide = x.template cast<double>();
    CHECK(gram_error(calib.gram(), support::naive_gram(wide)) <= 90 * eps);
    CHECK(calib.max_abs() == wide.cwiseAbs().rowwise().maxCoeff());
    CHECK(calib.mean_abs().isApprox(wide.cwiseAbs().rowwise().mean(), 90 * eps));
    CHECK((calib.mean() - wide.rowwise().mean()).norm() <= 90 * eps * wide.cwiseAbs().maxCoeff());
    CHECK(calib.tokens() == 90);
    CHECK(calib.weight() == 90.0);
    CHECK(calib.gram() == calib.gram().transpose());
}

/// Σ w (a − ā)(b − b̄)ᵀ in long double, two passes; all weights 1 if `weights` is empty.
support::MatrixXl naive_central(const Eigen::MatrixXd& a, const Eigen::MatrixXd& b,
                                const Eigen::VectorXd& weights = {}) {
    const support::VectorXl w = weights.size() > 0 ? support::VectorXl(weights.cast<long double>())
                                                   : support::VectorXl(support::VectorXl::Ones(a.cols()));
    support::MatrixXl x = a.cast<long double>();
    support::MatrixXl y = b.cast<long double>();
    x.colwise() -= support::VectorXl(x * w / w.sum());
    y.colwise() -= support::VectorXl(y * w / w.sum());
    return x * w.asDiagonal() * y.transpose();
}

/// max |c_ij − exact_ij| / √(a_ii b_jj), where a and b are the moments of either side.
double cross_error(const Eigen::MatrixXd& c, const support::MatrixXl& exact, const support::MatrixXl& a,
                   const support::MatrixXl& b) {
    long double worst = 0;
    for (Index j = 0; j < exact.cols(); ++j)
        for (Index i = 0; i < exact.rows(); ++i)
            worst = std::max(worst, std::abs(c(i, j) - exact(i, j)) / std::sqrt(a(i, i) * b(j, j)));
    return static_cast<double>(worst);
}

/// All that a calibration of central moments knows is the same, up to rounding `slack`·eps.
void check_same_central(const calibration<double>& a, const calibration<double>& b, double slack) {
    check_same(a, b, slack);
    CHECK(gram_error(a.central_gram(), b.central_gram().cast<long double>()) <= slack * eps);
    REQUIRE(a.has_cross() == b.has_cross());
    if (!a.has_cross()) return;
    CHECK((a.central_cross() - b.central_cross()).norm() <= slack * eps * b.central_cross().norm());
    CHECK((a.cross() - b.cross()).norm() <= slack * eps * b.cross().norm());
    CHECK((a.mean_original() - b.mean_original()).norm() <= slack * eps * b.mean_original().norm());
}

template <class Scalar>
void check_central_scalar(double offset, double tolerance) {
    CAPTURE(offset);
    Eigen::MatrixXd wide = activations(7, 1300, 111, 50.0);
    wide.array() += offset;
    const Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic> x = wide.cast<Scalar>();
    wide = x.template cast<double>();
    calibration<Scalar> calib(7, moments::central);
    calib.update(x);
    CHECK(calib.about() == moments::central);
    CHECK(gram_error(calib.central_gram(), naive_central(wide, wide)) <= tolerance);
    CHECK(calib.central_gram() == calib.central_gram().transpose());
    CHECK(calib.gram() == calib.gram().transpose());
    CHECK(gram_error(calib.gram(), support::naive_gram(wide)) <= 1300 * eps);
    const support::VectorXl mean = wide.cast<long double>().rowwise().mean();
    CHECK((calib.mean() - mean.cast<double>()).norm() <= 8 * eps * wide.cwiseAbs().maxCoeff());
    CHECK(calib.mean_abs().isApprox(wide.cwiseAbs().rowwise().mean(), 1300 * eps));
    CHECK(calib.max_abs() == wide.cwiseAbs().rowwise().maxCoeff());
    CHECK(calib.tokens() == 1300);
}

}  // namespace

TEST_CASE("calibration: fresh statistics are empty", "[calibration]") {
    const calibration<float> calib(3);
    CHECK(calib.features() == 3);
    CHECK(calib.tokens() == 0);
    CHECK(calib.weight() == 0.0);
    CHECK(calib.gram() == Eigen::MatrixXd::Zero(3, 3));
    CHECK(calib.mean() == Eigen::Vector3d::Zero());
    CHECK(calib.mean_abs() == Eigen::Vector3d::Zero());
    CHECK(calib.max_abs() == Eigen::Vector3d::Zero());
    expect_error([] { calibration<float>(0); }, {"features", "0"});
    expect_error([] { calibration<float>(-7); }, {"features", "-7"});
}

TEST_CASE("calibration: Gram, means and maxima of every scalar are those of naive sums", "[calibration]") {
    check_scalar<float>();
    check_scalar<double>();
    check_scalar<Eigen::half>();
    check_scalar<Eigen::bfloat16>();
}

TEST_CASE("calibration: outlier channels of 1e6 in float cost no digit of any entry", "[calibration]") {
    const Eigen::MatrixXf x = activations(12, 3000, 21, 1e6).cast<float>();
    calibration<float> calib(12);
    calib.update(x);
    CHECK(gram_error(calib.gram(), support::naive_gram(x)) <= 50 * eps);
}

TEST_CASE("calibration: the order and the size of updates do not matter", "[calibration]") {
    const Eigen::MatrixXd x = activations(6, 5000, 31, 10.0);
    calibration<double> once(6), many(6), left(6), right(6), single(6);
    once.update(x);  // more than two internal blocks
    CHECK(once.tokens() == 5000);
    CHECK(gram_error(once.gram(), support::naive_gram(x)) <= 200 * eps);
    for (Index first = 0, step = 1; first < x.cols(); first += step, step = 2 * step + 1)
        many.update(x.middleCols(first, std::min(step, x.cols() - first)));
    check_same(many, once, 500);
    for (Index t = 0; t < x.cols(); ++t)
        single.update(x.col(t));
    check_same(single, once, 5000);
    left.update(x.leftCols(2049));
    right.update(x.rightCols(5000 - 2049));
    calibration<float> merged(6);
    merged.merge(left);
    merged.merge(right);
    check_same(calibration<double>(merged.state()), once, 500);
    CHECK(merged.tokens() == 5000);
    expect_error([&] { merged.update(Eigen::MatrixXd(6, 0)); }, {"update", "x", "6×0", "empty"});
    CHECK(merged.tokens() == 5000);
    expect_error([&] { merged.merge(calibration<float>(5)); }, {"merge", "5 features", "6"});
}

TEST_CASE("calibration: a calibration can be merged with itself", "[calibration]") {
    const Eigen::MatrixXd x = gaussian(4, 30, 41);
    calibration<double> calib(4), twice(4);
    calib.update(x);
    calib.merge(calib);
    twice.update(x);
    twice.update(x);
    check_same(calib, twice, 100);
    CHECK(calib.tokens() == 60);
}

TEST_CASE("calibration: a weight counts like repetitions of the token", "[calibration]") {
    const Eigen::MatrixXd x = activations(5, 8, 51);
    const std::vector<int> weights{3, 0, 1, 2, 0, 5, 1, 4};
    calibration<double> weighted(5), repeated(5), fractions(5);
    weighted.update(x, weights);
    for (Index t = 0; t < 8; ++t)
        for (int r = 0; r < weights[static_cast<std::size_t>(t)]; ++r)
            repeated.update(x.col(t));
    check_same(weighted, repeated, 100);
    CHECK(weighted.tokens() == 6);
    CHECK(repeated.tokens() == 16);
    CHECK(weighted.weight() == 16.0);
    const Eigen::VectorXd w = gaussian(8, 1, 52).cwiseAbs();
    fractions.update(x, w);
    CHECK(gram_error(fractions.gram(), support::naive_gram(x, w)) <= 50 * eps);
    CHECK(fractions.mean_abs().isApprox(x.cwiseAbs() * w / w.sum(), 50 * eps));
    CHECK(fractions.max_abs() == x.cwiseAbs().rowwise().maxCoeff());
}

TEST_CASE("calibration: masked tokens are not looked at, NaN or not", "[calibration]") {
    Eigen::MatrixXf x = gaussian(4, 4200, 61).cast<float>();
    std::vector<bool> mask(4200);
    Eigen::MatrixXd kept(4, 0);
    for (Index t = 0; t < x.cols(); ++t) {
        mask[static_cast<std::size_t>(t)] = t % 3 != 0;
        if (t % 3 == 0) {
            x.col(t).setConstant(t % 2 == 0 ? static_cast<float>(not_a_number)
                                            : -std::numeric_limits<float>::infinity());
            continue;
        }
        kept.conservativeResize(Eigen::NoChange, kept.cols() + 1);
        kept.rightCols(1) = x.col(t).cast<double>();
    }
    calibration<double> masked(4), by_span(4), plain(4);
    masked.update(x, mask);
    plain.update(kept);
    check_same(masked, plain, 500);
    CHECK(masked.tokens() == 2800);
    const std::vector<Eigen::half> numbers(mask.begin(), mask.end());
    by_span.update(x, std::span<const Eigen::half>(numbers));
    check_same(by_span, plain, 500);
    calibration<double> nothing(4);
    nothing.update(x, std::vector<bool>(4200, false));
    CHECK(nothing.tokens() == 0);
    CHECK(nothing.gram().norm() == 0.0);
}

TEST_CASE("calibration: any expression, layout and scalar feeds any calibration", "[calibration]") {
    const Eigen::MatrixXf x = activations(6, 40, 71).cast<float>();
    calibration<double> plain(6);
    plain.update(x);
    const auto check = [&](const auto& expression) {
        calibration<double> calib(6);
        calib.update(expression);
        check_same(calib, plain, 100);
        CHECK(calib.tokens() == 40);
    };
    using row_major = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
    const row_major rows = x;
    const Eigen::MatrixXf transposed = x.transpose();
    Eigen::MatrixXf padded = Eigen::MatrixXf::Constant(9, 44, static_cast<float>(not_a_number));
    padded.block(2, 3, 6, 40) = x;
    check(rows);
    check(transposed.transpose());
    check(padded.block(2, 3, 6, 40));
    check(Eigen::Map<const row_major>(rows.data(), 6, 40));
    check(Eigen::Map<const Eigen::Matrix<float, 6, 40>>(x.data()));
    check(Eigen::Ref<const Eigen::MatrixXf>(x));
    check(Eigen::MatrixXd::Identity(6, 6) * x.cast<double>());
    check(x.cast<double>());
    check(nsvd::strided_view<float>{rows.data(), 6, 40, 40, 1});
    check(nsvd::strided_view<float>{padded.data() + 3 * 9 + 2, 6, 40, 1, 9});
}

TEST_CASE("calibration: an update that throws leaves everything as it was", "[calibration]") {
    const Eigen::MatrixXd x = gaussian(5, 4500, 81);
    calibration<double> calib(5);
    calib.update(x);
    const nsvd::calibration_state before = calib.state();
    Eigen::MatrixXd bad = x;
    bad(2, 4499) = not_a_number;
    expect_error([&] { calib.update(bad); }, {"x(2, 4499) = nan"});
    bad(2, 4499) = 1e200;
    expect_error([&] { calib.update(bad); }, {"max |x| = 1e+200", "2^450"});
    expect_error([&] { calib.update(x.topRows(4)); }, {"x", "4×4500", "5 features"});
    expect_error([&] { calib.update(x.transpose()); }, {"x", "4500×5", "5 features"});
    expect_error([&] { calib.update(x, std::vector<bool>(4499, true)); }, {"4499 weights", "4500 tokens"});
    for (const double w : {-1.0, not_a_number, std::numeric_limits<double>::infinity(), 0x1p100}) {
        Eigen::VectorXd weights = Eigen::VectorXd::Ones(4500);
        weights(4400) = w;
        expect_error([&] { calib.update(x, weights); }, {"weight 4400", nsvd::detail::text(w)});
    }
    CHECK(calib.state().gram == before.gram);
    CHECK(calib.state().sum == before.sum);
    CHECK(calib.state().sum_abs == before.sum_abs);
    CHECK(calib.state().max_abs == before.max_abs);
    CHECK(calib.tokens() == before.tokens);
    CHECK(calib.weight() == before.weight);
}

TEST_CASE("calibration: the state survives a round trip, impossible states are refused", "[calibration]") {
    calibration<double> calib(4);
    calib.update(activations(4, 50, 91, 1e6));
    const calibration<double> again(calib.state());
    CHECK(again.gram() == calib.gram());
    CHECK(again.mean() == calib.mean());
    CHECK(again.mean_abs() == calib.mean_abs());
    CHECK(again.max_abs() == calib.max_abs());
    CHECK(again.tokens() == calib.tokens());
    CHECK(again.weight() == calib.weight());

    const auto refused = [&](auto&& spoil, std::initializer_list<std::string_view> words) {
        nsvd::calibration_state state = calib.state();
        spoil(state);
        expect_error([&] { calibration<double>{state}; }, words);
    };
    refused([](auto& s) { s.gram.resize(4, 3); }, {"shapes", "4×3"});
    refused([](auto& s) { s.sum.resize(0); }, {"shapes"});
    refused([](auto& s) { s.sum_abs.resize(3); }, {"shapes"});
    refused([](auto& s) { s.max_abs.resize(5); }, {"shapes"});
    refused([](auto& s) { s.gram(2, 1) = not_a_number; }, {"not finite"});
    refused([](auto& s) { s.sum(1) = not_a_number; }, {"not finite"});
    refused([](auto& s) { s.weight = std::numeric_limits<double>::infinity(); }, {"not finite"});
    refused([](auto& s) { s.gram(2, 2) = -1.0; }, {"channel 2"});
    refused([](auto& s) { s.max_abs(3) = -1.0; }, {"channel 3"});
    refused([](auto& s) { s.sum_abs(1) = 0.0; }, {"channel 1"});
    refused([](auto& s) { s.gram(3, 1) = 1.1 * std::sqrt(s.gram(3, 3) * s.gram(1, 1)); }, {"gram(1, 3)"});
    refused([](auto& s) { s.tokens = -1; }, {"tokens = -1"});
    refused([](auto& s) { s.tokens = 0; }, {"tokens = 0"});
    refused([](auto& s) { s.weight = 0.0; }, {"weight 0"});
    refused([](auto& s) { s.weight = -2.0; }, {"weight -2"});
    refused([](auto& s) { s.weight = 1e300; }, {"tokens = 50 with weight 1e+300"});
    // (Σ w|x|)² > Σ w Σ w x²
    refused([](auto& s) { s.gram.row(2).setZero(), s.gram.col(2).setZero(); }, {"channel 2"});
    refused([](auto& s) { s.gram *= 0.1; }, {"channel"});
}

TEST_CASE("calibration: no more tokens than can be counted", "[calibration]") {
    calibration<double> calib(2);
    calib.update(activations(2, 1, 5));
    for (int i = 0; i < 53; ++i)
        calib.merge(calib);
    CHECK(calib.tokens() == std::int64_t{1} << 53);
    const auto before = calib.state();
    expect_error([&] { calib.merge(calib); }, {"merge", "tokens", "too many"});
    expect_error([&] { calib.update(activations(2, 1, 5)); }, {"update", "1 tokens beside", "too many"});
    CHECK(calib.tokens() == before.tokens);
    CHECK(calib.gram() == calibration<double>(before).gram());
}

TEST_CASE("calibration: central moments lose nothing to a large mean", "[calibration][moments]") {
    for (const double offset : {0.0, -3.0}) {
        check_central_scalar<float>(offset, 50 * eps);
        check_central_scalar<double>(offset, 50 * eps);
        check_central_scalar<Eigen::half>(offset, 50 * eps);
        check_central_scalar<Eigen::bfloat16>(offset, 50 * eps);
    }
    // C − T x̄ x̄ᵀ would be noise here: deviations of about 3, eps·T·mean² is 0.3 and 3e5.
    check_central_scalar<double>(1e6, 1e-10);
    check_central_scalar<double>(1e9, 1e-7);
    check_central_scalar<float>(1e4, 1e-10);
}

TEST_CASE("calibration: central moments do not depend on order and size of updates",
          "[calibration][moments]") {
    Eigen::MatrixXd x = activations(6, 3000, 121, 10.0);
    // The mean drifts, so that the distances of blocks count.
    for (Index t = 0; t < x.cols(); ++t)
        x.col(t).array() += 0.01 * static_cast<double>(t);
    calibration<double> once(6, moments::central), many(6, moments::central), single(6, moments::central);
    once.update(x);
    CHECK(gram_error(once.central_gram(), naive_central(x, x)) <= 500 * eps);
    for (Index first = 0, step = 1; first < x.cols(); first += step, step = 2 * step + 1)
        many.update(x.middleCols(first, std::min(step, x.cols() - first)));
    check_same_central(many, once, 1000);
    for (Index t = 0; t < x.cols(); ++t)
        single.update(x.col(t));
    check_same_central(single, once, 5000);

    calibration<double> left(6, moments::central), right(6, moments::central), merged(6, moments::central);
    left.update(x.leftCols(1100));
    right.update(x.rightCols(1900));
    merged.merge(left);
    merged.merge(calibration<double>(6, moments::central));
    merged.merge(calibration<float>(right.state()));
    check_same_central(merged, once, 1000);
    merged.merge(merged);
    CHECK(gram_error(merged.central_gram(), 2 * naive_central(x, x)) <= 1000 * eps);
    CHECK(merged.mean().isApprox(once.mean(), 50 * eps));
    CHECK(merged.tokens() == 6000);
    expect_error([&] { merged.merge(calibration<double>(6)); }, {"merge", "raw", "central"});
}

TEST_CASE("calibration: weights and masks of central moments", "[calibration][moments]") {
    Eigen::MatrixXd x = activations(5, 1200, 131);
    x.array() += 100.0;
    Eigen::VectorXd w = gaussian(1200, 1, 132).cwiseAbs();
    w(7) = 0x1p80;
    w(800) = 0x1p-80;
    for (Index t = 0; t < 1200; t += 3)
        w(t) = 0.0;
    const auto exact = naive_central(x, x, w);
    x.col(3).setConstant(not_a_number);
    calibration<double> calib(5, moments::central);
    calib.update(x, w);
    CHECK(gram_error(calib.central_gram(), exact) <= 1e-9);  // (mean / deviation)² · eps, at its worst
    CHECK(calib.tokens() == 800);

    const std::vector<int> weights{3, 0, 1, 2, 0, 5, 1, 4};
    const Eigen::MatrixXd few = gaussian(5, 8, 133);
    calibration<double> weighted(5, moments::central), repeated(5, moments::central);
    weighted.update(few, weights);
    for (Index t = 0; t < 8; ++t)
        for (int r = 0; r < weights[static_cast<std::size_t>(t)]; ++r)
            repeated.update(few.col(t));
    check_same_central(weighted, repeated, 100);

    calibration<double> nothing(5, moments::central);
    nothing.update(few, std::vector<bool>(8, false));
    CHECK(nothing.tokens() == 0);
    CHECK(nothing.gram() == Eigen::MatrixXd::Zero(5, 5));
    CHECK(nothing.central_gram() == Eigen::MatrixXd::Zero(5, 5));
    CHECK(nothing.mean() == Eigen::VectorXd::Zero(5));
}

TEST_CASE("calibration: a constant channel has no central moment at all", "[calibration][moments]") {
    // Quotients of their sums by the weight are some of these constants, and others next to them.
    Eigen::MatrixXd x = gaussian(40, 2000, 141);
    for (Index i = 1; i < 40; ++i)
        x.row(i).setConstant(0.1 * static_cast<double>(i));
    calibration<double> calib(40, moments::central);
    for (Index t = 0; t < 2000; t += 40)
        calib.update(x.middleCols(t, 40), Eigen::VectorXd::Constant(40, 0.3));
    const auto check = [&](const calibration<double>& c) {
        CHECK(c.central_gram().bottomRows(39) == Eigen::MatrixXd::Zero(39, 40));
        CHECK((c.mean().tail(39) - x.col(0).tail(39)).cwiseAbs().maxCoeff() <= 16 * eps);
    };
    check(calib);
    calibration<double> again(calib.state());
    again.update(x);
    check(again);
    again.merge(calib);
    again.merge(calibration<double>(again.state()));
    check(again);
}

TEST_CASE("calibration: an outlier of little weight takes no digits from the others",
          "[calibration][moments]") {
    const Eigen::MatrixXd x = gaussian(4, 100, 145);
    for (const Index where : {0, 50, 99}) {
        CAPTURE(where);
        Eigen::MatrixXd spiked = x;
        Eigen::VectorXd w = Eigen::VectorXd::Ones(100);
        spiked.col(where).setConstant(1e20);
        w(where) = 1e-60;
        calibration<double> calib(4, moments::central);
        calib.update(spiked, w);
        CHECK(gram_error(calib.central_gram(), naive_central(spiked, spiked, w)) <= 100 * eps);
    }
}

TEST_CASE("calibration: large tokens of little weight take no digits from the mean of a heavy one",
          "[calibration][moments]") {
    // The mean moves 17 decades; found by fuzzing, as a state that was refused when it was read again.
    Eigen::MatrixXd x(1, 3);
    x << 3e24, 1e24, -2.0;
    const Eigen::VectorXd weights = Eigen::Vector3d(2.0, 3.0, 3e16);
    const support::VectorXl exact =
        x.cast<long double>() * weights.cast<long double>() / weights.cast<long double>().sum();
    for (const bool heavy_first : {false, true}) {
        CAPTURE(heavy_first);
        calibration<double> light(1, moments::central);
        calibration<double> heavy(1, moments::central);
        light.update(x.leftCols(2), weights.head(2));
        heavy.update(x.rightCols(1), weights.tail(1));
        calibration<double> merged = heavy_first ? heavy : light;
        merged.merge(heavy_first ? light : heavy);
        calibration<double> updated = heavy_first ? heavy : light;
        if (heavy_first)
            updated.update(x.leftCols(2), weights.head(2));
        else
            updated.update(x.rightCols(1), weights.tail(1));
        for (const auto& calib : {merged, updated}) {
            CHECK(calib.mean()(0) == Approx(static_cast<double>(exact(0))).epsilon(8 * eps));
            CHECK(calibration<double>(calib.state()).mean()(0) == Approx(calib.mean()(0)).epsilon(8 * eps));
            CHECK(gram_error(calib.central_gram(), naive_central(x, x, weights)) <= 8 * eps);
        }
    }
}

TEST_CASE("calibration: states of denormal inputs are read again", "[calibration]") {
    // Their sums and squares are rounded to whole denormal numbers, or vanish; found by fuzzing.
    const Eigen::MatrixXd x =
        gaussian(6, 5, 147).cwiseAbs() * (1e4 * std::numeric_limits<double>::denorm_min());
    const Eigen::MatrixXd roots = gaussian(6, 5, 148).cwiseAbs() * 3e-162;  // whose squares are denormal
    const Eigen::VectorXd weights = Eigen::VectorXd::Constant(5, 0.3);
    for (const auto about : {moments::raw, moments::central})
        for (const bool pairs : {false, true}) {
            CAPTURE(pairs);
            calibration<double> calib(6, about);
            const auto update = [&](const auto& b, const auto&... w) {
                if (pairs)
                    calib.update(Eigen::MatrixXd(1e100 * gaussian(6, 5, 149)), b, w...);
                else
                    calib.update(b, w...);
            };
            for (const auto& b : {x, roots}) {
                for (const bool weighted : {false, true}) {
                    if (weighted)
                        update(b, weights);
                    else
                        update(b);
                    const calibration<double> again(calib.state());
                    CHECK(again.state().sum == calib.state().sum);
                    CHECK(again.gram() == calib.gram());
                }
            }
        }
}

TEST_CASE("calibration: central moments of any scale, of one channel, of one token",
          "[calibration][moments]") {
    const Eigen::MatrixXd x = activations(4, 700, 151).array() + 5.0;
    for (const double scale : {1e-100, 1e-30, 1e30, 1e100}) {
        CAPTURE(scale);
        const Eigen::MatrixXd scaled = scale * x;
        calibration<double> calib(4, moments::central);
        calib.update(scaled);
        CHECK(gram_error(calib.central_gram(), naive_central(scaled, scaled)) <= 200 * eps);
    }
    calibration<double> one(1, moments::central);
    one.update(Eigen::MatrixXd::Constant(1, 1, 3.0));
    CHECK(one.central_gram()(0, 0) == 0.0);
    CHECK(one.gram()(0, 0) == Approx(9.0));
    one.update(Eigen::MatrixXd::Constant(1, 1, 5.0));
    CHECK(one.central_gram()(0, 0) == Approx(2.0));
    CHECK(one.mean()(0) == Approx(4.0));
    calibration<float> raw(3);
    expect_error([&] { (void)raw.central_gram(); }, {"central_gram", "raw", "moments::central"});
    CHECK(raw.about() == moments::raw);
}

TEST_CASE("calibration: pairs of inputs", "[calibration][pairs]") {
    using row_major = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
    const row_major a = (activations(300, 1100, 161, 30.0).array() + 2.0).cast<float>();  // two panels
    const Eigen::MatrixXd b = a.cast<double>() + 0.1 * gaussian(300, 1100, 162);
    const Eigen::MatrixXd wide = a.cast<double>();
    const Eigen::VectorXd w = gaussian(1100, 1, 163).cwiseAbs();
    const support::MatrixXl aa = naive_central(wide, wide, w);
    const support::MatrixXl bb = naive_central(b, b, w);
    const support::MatrixXl root = w.cast<long double>().cwiseSqrt().asDiagonal();
    const support::MatrixXl raw_a = wide.cast<long double>() * root;
    const support::MatrixXl raw_b = b.cast<long double>() * root;
    for (const moments about : {moments::raw, moments::central}) {
        CAPTURE(static_cast<int>(about));
        calibration<float> calib(300, about), alone(300, about);
        CHECK_FALSE(calib.has_cross());
        calib.update(a, b, w);
        alone.update(b, w);
        CHECK(calib.has_cross());
        CHECK_FALSE(alone.has_cross());
        CHECK(gram_error(calib.gram(), alone.gram().cast<long double>()) <= 50 * eps);
        CHECK(calib.mean() == alone.mean());
        CHECK(calib.mean_abs() == alone.mean_abs());
        CHECK(calib.max_abs() == alone.max_abs());
        CHECK(calib.tokens() == 1100);
        const support::VectorXl mean = wide.cast<long double>() * w.cast<long double>() / w.sum();
        CHECK((calib.mean_original() - mean.cast<double>()).norm() <=
              1000 * eps * wide.cwiseAbs().maxCoeff());
        CHECK(cross_error(calib.cross(), raw_a * raw_b.transpose(), raw_a * raw_a.transpose(),
                          raw_b * raw_b.transpose()) <= 100 * eps);
        if (about == moments::raw) {
            expect_error([&] { (void)calib.central_cross(); }, {"central_cross", "raw"});
            continue;
        }
        CHECK(gram_error(calib.central_gram(), bb) <= 100 * eps);
        CHECK(cross_error(calib.central_cross(), naive_central(wide, b, w), aa, bb) <= 100 * eps);
    }
}

TEST_CASE("calibration: pairs of equal inputs have equal moments, to the bit", "[calibration][pairs]") {
    const Eigen::MatrixXf x = activations(270, 1600, 171, 1e3).cast<float>();
    for (const moments about : {moments::raw, moments::central}) {
        calibration<float> calib(270, about), other(270, about);
        calib.update(x, x.cast<double>());
        for (Index t = 0; t < 50; t += 5)
            other.update(x.middleCols(t, 5), x.middleCols(t, 5));
        calib.merge(other);
        CHECK(calib.cross() == calib.gram());
        CHECK(calib.mean() == calib.mean_original());
        if (about == moments::central) CHECK(calib.central_cross() == calib.central_gram());
    }
}

TEST_CASE("calibration: pairs in any layout, any order, merged, one token at a time",
          "[calibration][pairs]") {
    const Eigen::MatrixXd a = activations(6, 900, 181).array() + 1.0;
    const Eigen::MatrixXd b = a + gaussian(6, 900, 182);
    for (const moments about : {moments::raw, moments::central}) {
        const auto check = [&](const calibration<double>& x, const calibration<double>& y) {
            check_same(x, y, 2000);
            CHECK((x.cross() - y.cross()).norm() <= 1000 * eps * y.cross().norm());
            CHECK((x.mean_original() - y.mean_original()).norm() <= 1000 * eps * y.mean_original().norm());
            if (about == moments::central) check_same_central(x, y, 5000);
        };
        calibration<double> once(6, about), left(6, about), right(6, about), single(6, about);
        once.update(a, b);
        left.update(a.leftCols(10), b.leftCols(10));
        const Eigen::MatrixXd turned = a.rightCols(890).transpose();
        right.update(turned.transpose(), nsvd::strided_view<double>{b.data() + 60, 6, 890, 1, 6});
        calibration<float> merged(6, about);
        merged.merge(calibration<float>(left.state()));
        merged.merge(right);
        check(calibration<double>(merged.state()), once);
        for (Index t = 0; t < 900; ++t)
            single.update(a.col(t), b.col(t));  // vectors: a pair, not weights
        check(single, once);
        const Eigen::VectorXd first = a.col(0);
        const Eigen::VectorXd second = b.col(0);
        calibration<double> vectors(6, about), columns(6, about);
        vectors.update(first, second);
        columns.update(a.leftCols(1), b.leftCols(1));
        CHECK(vectors.cross() == columns.cross());
    }
}

TEST_CASE("calibration: pairs and single inputs do not mix", "[calibration][pairs]") {
    const Eigen::MatrixXd a = gaussian(4, 30, 191);
    const Eigen::MatrixXd b = gaussian(4, 30, 192);
    calibration<double> pairs(4), plain(4), empty(4);
    pairs.update(a, b);
    plain.update(b);
    expect_error([&] { pairs.update(b); }, {"update", "pairs"});
    expect_error([&] { pairs.update(b, std::vector<int>(30, 1)); }, {"update", "pairs"});
    expect_error([&] { plain.update(a, b); }, {"update", "pairs"});
    expect_error([&] { plain.merge(pairs); }, {"merge", "pairs"});
    expect_error([&] { pairs.merge(plain); }, {"merge", "pairs"});
    expect_error([&] { (void)plain.cross(); }, {"cross", "update(a, b)"});
    expect_error([&] { (void)plain.mean_original(); }, {"mean_original", "update(a, b)"});
    pairs.merge(empty);
    plain.merge(empty);
    CHECK(pairs.tokens() == 30);
    CHECK_FALSE(plain.has_cross());
    empty.merge(pairs);
    CHECK(empty.has_cross());
    CHECK(empty.cross() == pairs.cross());
    // Tokens of weight 0 are none.
    calibration<double> undecided(4);
    undecided.update(a, b, std::vector<bool>(30, false));
    CHECK_FALSE(undecided.has_cross());
    undecided.update(b);
    CHECK(undecided.gram() == plain.gram());
    CHECK_FALSE(undecided.has_cross());
}

TEST_CASE("calibration: an update with pairs that throws leaves everything as it was",
          "[calibration][pairs]") {
    const Eigen::MatrixXd a = gaussian(4, 30, 201);
    for (const moments about : {moments::raw, moments::central}) {
        calibration<double> calib(4, about);
        Eigen::MatrixXd bad = a;
        bad(3, 29) = not_a_number;
        expect_error([&] { calib.update(bad, a); }, {"update", "a(3, 29)", "nan"});
        CHECK(calib.state().cross.size() == 0);
        calib.update(a, 2.0 * a);
        const nsvd::calibration_state before = calib.state();
        expect_error([&] { calib.update(bad, a); }, {"update", "a(3, 29)", "nan"});
        expect_error([&] { calib.update(a, bad); }, {"update", "b(3, 29)", "nan"});
        bad(3, 29) = 1e200;
        expect_error([&] { calib.update(bad, a); }, {"max |a| = 1e+200", "2^450"});
        expect_error([&] { calib.update(a, bad); }, {"max |b| = 1e+200", "2^450"});
        expect_error([&] { calib.update(a.leftCols(3), a); }, {"a is 4×3", "b is 4×30"});
        expect_error([&] { calib.update(a.topRows(3), a.topRows(3)); }, {"3×30", "4 features"});
        expect_error([&] { calib.update(a, a, std::vector<bool>(29, true)); }, {"29 weights", "30 tokens"});
        expect_error([&] { calib.update(a, a, Eigen::VectorXd::Constant(30, -1.0)); }, {"weight 0", "-1"});
        expect_error([&] { calib.update(a); }, {"pairs"});
        CHECK(calib.state().gram == before.gram);
        CHECK(calib.state().cross == before.cross);
        CHECK(calib.state().sum == before.sum);
        CHECK(calib.state().sum_original == before.sum_original);
        CHECK(calib.state().sum_abs == before.sum_abs);
        CHECK(calib.tokens() == before.tokens);
        // A masked token may be anything in either of them.
        Eigen::VectorXd mask = Eigen::VectorXd::Ones(30);
        mask(29) = 0.0;
        bad(3, 29) = not_a_number;
        calib.update(bad, a, mask);
        calib.update(a, bad, mask);
        CHECK(calib.tokens() == 30 + 29 + 29);
        CHECK(calib.cross().allFinite());
    }
}

TEST_CASE("calibration: states of pairs and of central moments are checked", "[calibration][pairs]") {
    calibration<double> calib(4, moments::central);
    const Eigen::MatrixXd a = gaussian(4, 50, 211).array() + 3.0;
    calib.update(a, a + gaussian(4, 50, 212));
    const calibration<double> again(calib.state());
    CHECK(again.about() == moments::central);
    CHECK(again.gram() == calib.gram());
    CHECK(again.central_gram() == calib.central_gram());
    CHECK(again.cross() == calib.cross());
    CHECK(again.central_cross() == calib.central_cross());
    CHECK(again.mean_original() == calib.mean_original());

    const auto refused = [&](auto&& spoil, std::initializer_list<std::string_view> words) {
        nsvd::calibration_state state = calib.state();
        spoil(state);
        expect_error([&] { calibration<double>{state}; }, words);
    };
    refused([](auto& s) { s.cross.resize(4, 3); }, {"shapes", "4×3"});
    refused([](auto& s) { s.cross.resize(0, 0); }, {"shapes", "0×0"});
    refused([](auto& s) { s.sum_original.resize(0); }, {"shapes"});
    refused([](auto& s) { s.cross(2, 1) = not_a_number; }, {"not finite"});
    refused([](auto& s) { s.sum_original(2) = not_a_number; }, {"not finite"});
    refused([](auto& s) { s.cross(2, 1) = 1e300; }, {"pairs", "channel 1"});
    refused([](auto& s) { s.sum_original(2) = 1e300; }, {"pairs", "channel 2"});
    // As raw moments these numbers would be possible; about this mean the squares are too large.
    refused([](auto& s) { s.gram(1, 1) = s.weight * s.max_abs(1) * s.max_abs(1); }, {"channel 1"});
    refused([](auto& s) { s.gram(3, 1) = 1.1 * std::sqrt(s.gram(3, 3) * s.gram(1, 1)); }, {"gram(1, 3)"});
}

TEST_CASE("calibration: means of no tokens are zero", "[calibration]") {
    for (const nsvd::moments about : {nsvd::moments::raw, nsvd::moments::central}) {
        const nsvd::calibration<double> none(3, about);
        CHECK(none.mean().isZero(0.0));
        CHECK(none.mean_abs().isZero(0.0));
        CHECK(none.mean_square().isZero(0.0));
    }
}
