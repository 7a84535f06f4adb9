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
}
