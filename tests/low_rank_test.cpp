// SPDX-License-Identifier: MIT
// The result of a decomposition: what it counts, how it multiplies, and how it is cut.
#include "support/catch.hpp"
#include "support/expect_error.hpp"
#include "support/naive.hpp"
#include "support/random.hpp"

#include <nsvd/nsvd.hpp>

#include <Eigen/QR>

#include <cstddef>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

using Eigen::Index;
using Eigen::MatrixXd;
using support::expect_error;
using support::gaussian;
using support::product;

namespace {

const MatrixXd w = gaussian(14, 20, 1);
const MatrixXd x = support::activations(20, 80, 2, 10.0);

nsvd::calibration<double> calibrated() {
    nsvd::calibration<double> calib(20);
    calib.update(x);
    return calib;
}

constexpr nsvd::nested_options nid{.share = 0.5, .residual = nsvd::residual::interpolative};

/// Equal up to the signs of the columns of `left`.
template <class D>
bool same_product(const D& a, const D& b) {
    return a.rank() == b.rank() && product(a).isApprox(product(b), 1e-12);
}

template <class Scalar>
concept has_low_rank = requires {
    typename nsvd::low_rank<Scalar>;
};
static_assert(has_low_rank<float> && has_low_rank<double>);
static_assert(!has_low_rank<Eigen::half> && !has_low_rank<int> && !has_low_rank<long double>);

}  // namespace

TEST_CASE("low_rank: shape, rank, parameters and the dense product", "[low_rank]") {
    for (const Index k : {1, 5, 14}) {
        const auto d = nsvd::svd(w, nsvd::rank{k});
        CHECK(d.rows() == 14);
        CHECK(d.cols() == 20);
        CHECK(d.rank() == k);
        CHECK(d.left.rows() == 14);
        CHECK(d.right.cols() == 20);
        CHECK(d.parameters() == k * 34);
        CHECK(d.dense().isApprox(product(d), 1e-14));
        CHECK((w - product(d)).norm() == Approx(support::best_error(w, k)).margin(1e-13));
    }
    CHECK(nsvd::nested(w, calibrated(), nsvd::rank{8}).parameters() == 8 * 34);
    CHECK(nsvd::nested(w, calibrated(), nsvd::rank{8}, nid).parameters() == 8 * 34 - 4 * 4);
    const nsvd::low_rank<float> empty;
    CHECK(empty.rank() == 0);
    CHECK(empty.parameters() == 0);
    CHECK(empty.dense().size() == 0);
}

TEST_CASE("low_rank: info says what ran", "[low_rank]") {
    const auto d = nsvd::nested(w, calibrated(), nsvd::rank{8}, nid);
    REQUIRE(d.info.stages.size() == 2);
    CHECK(d.info.stages[0].metric == "gram (cholesky)");
    CHECK(d.info.stages[0].rank == 4);
    CHECK(d.info.stages[0].share == 0.5);
    CHECK_FALSE(d.info.stages[0].columns);
    CHECK_FALSE(d.info.stages[0].solver.empty());
    CHECK(d.info.stages[1].metric == "columns");
    CHECK(d.info.stages[1].rank == 4);
    CHECK(d.info.stages[1].columns);
    CHECK(d.info.solver == d.info.stages[0].solver);
    CHECK(d.info.seconds >= d.info.stages[0].seconds);
    CHECK(d.info.status == nsvd::status::ok);
    CHECK(d.info.numerical_rank == 14);
    const Eigen::VectorXd exact = support::singular_values(w * x).cast<double>().cwiseAbs2();
    CHECK(d.info.spectrum.isApprox(exact, 1e-10));
}

TEST_CASE("low_rank: d * x for vectors and matrices of any scalar, shape and layout", "[low_rank]") {
    const auto d = nsvd::svd(w, nsvd::rank{6});
    const Eigen::MatrixXf wf = w.cast<float>();
    const auto f = nsvd::svd(wf, nsvd::rank{6});
    const MatrixXd dense = product(d);
    const Eigen::VectorXd vector = x.col(3);
    STATIC_REQUIRE(std::is_same_v<decltype(d * vector), Eigen::VectorXd>);
    STATIC_REQUIRE(std::is_same_v<decltype(f * vector), Eigen::VectorXf>);
    STATIC_REQUIRE(std::is_same_v<decltype(d * x), Eigen::MatrixXd>);
    STATIC_REQUIRE(std::is_same_v<decltype(f * x.transpose()), Eigen::MatrixXf>);
    CHECK((d * x).isApprox(dense * x, 1e-13));
    CHECK((d * vector).isApprox(dense * vector, 1e-13));
    CHECK((d * x.col(5)).isApprox(dense * x.col(5), 1e-13));
    CHECK((d * x.middleCols(7, 2)).isApprox(dense * x.middleCols(7, 2), 1e-13));
    const MatrixXd transposed = x.transpose();
    CHECK((d * transposed.transpose()).isApprox(dense * x, 1e-13));
    CHECK((d * (2.0 * x)).isApprox(2.0 * dense * x, 1e-13));
    CHECK((d * Eigen::Matrix<double, 20, 1>(vector)).isApprox(dense * vector, 1e-13));
    CHECK((d * nsvd::strided_view<double>{transposed.data(), 20, 80, 80, 1}).isApprox(dense * x, 1e-13));
    CHECK((f * x.cast<Eigen::half>()).isApprox((dense * x).cast<float>(), 1e-2F));
    CHECK((f * x.cast<Eigen::bfloat16>()).isApprox((dense * x).cast<float>(), 5e-2F));
    CHECK((d * x.cast<float>()).isApprox(dense * x.cast<float>().cast<double>(), 1e-13));
    const MatrixXd none = d * MatrixXd(20, 0);
    CHECK(none.rows() == 14);
    CHECK(none.cols() == 0);
    support::expect_error([&] { (void)(d * w); }, {"x is 14×20", "W is 14×20"});
    support::expect_error([&] { (void)(d * Eigen::VectorXd::Ones(19)); }, {"x is 19×1", "14×20"});
    support::expect_error([&] { (void)(d * nsvd::strided_view<double>{x.data(), 21, 1, 1, 21}); }, {"21×1"});
}

TEST_CASE("low_rank: structured bindings by value, by reference and to const", "[low_rank]") {
    auto d = nsvd::svd(w, nsvd::rank{3});
    const MatrixXd left_before = d.left;
    {
        auto [left, right] = d;
        STATIC_REQUIRE(std::is_same_v<decltype(left), MatrixXd>);
        CHECK(left == d.left);
        CHECK(right == d.right);
        left.setZero();
        CHECK(d.left == left_before);
    }
    {
        const auto& [left, right] = d;
        STATIC_REQUIRE(std::is_same_v<decltype(right), const nsvd::low_rank<double>::right_factor>);
        STATIC_REQUIRE(nsvd::low_rank<double>::right_factor::IsRowMajor);
        CHECK(left.data() == d.left.data());
        CHECK(right.data() == d.right.data());
    }
    {
        auto& [left, right] = d;
        left *= 2.0;
        CHECK(d.left == 2.0 * left_before);
        CHECK(right.data() == d.right.data());
    }
    {
        auto [left, right] = nsvd::svd(w, nsvd::rank{3});
        CHECK((left * right).isApprox(nsvd::svd(w, nsvd::rank{3}).dense(), 1e-14));
        auto&& [kept_left, kept_right] = nsvd::svd(w, nsvd::rank{3});
        CHECK(kept_left == left);
        CHECK(kept_right == right);
    }
    const auto constant = nsvd::svd(w, nsvd::rank{3});
    auto [left, right] = constant;
    CHECK(left == constant.left);
    CHECK(right == constant.right);
    STATIC_REQUIRE(std::tuple_size_v<decltype(d)> == 2);
}

TEST_CASE("truncate: with one stage the same as a fresh decomposition", "[low_rank]") {
    const auto calib = calibrated();
    const auto plain = nsvd::svd(w, nsvd::rank{14});
    const auto weighted = nsvd::asvd(w, calib, nsvd::rank{12});
    for (const Index k : {1, 4, 11, 12}) {
        CAPTURE(k);
        CHECK(same_product(plain.truncate(k), nsvd::svd(w, nsvd::rank{k})));
        CHECK(same_product(weighted.truncate(k), nsvd::asvd(w, calib, nsvd::rank{k})));
        CHECK(plain.truncate(k).parameters() == k * 34);
        CHECK(plain.truncate(k).info.stages[0].rank == k);
        CHECK(same_product(weighted.truncate(12).truncate(k), weighted.truncate(k)));
    }
    CHECK(plain.truncate(14).left == plain.left);
    for (const Index k : {0, -1, 15})
        support::expect_error([&] { (void)plain.truncate(k); }, {"truncate", std::to_string(k), "[1, 14]"});
    nsvd::low_rank<double> own;  // factors that no decomposition made
    own.left = gaussian(5, 3, 11);
    own.right = gaussian(3, 6, 12);
    CHECK(own.truncate(2).left == own.left.leftCols(2));
    CHECK(own.truncate(2).right == own.right.topRows(2));
}

TEST_CASE("truncate: a singular metric gives up its filler first", "[low_rank]") {
    nsvd::calibration<double> few(20);
    few.update(x.leftCols(5));
    const auto d = nsvd::asvd(w, few, nsvd::rank{12});
    for (const Index k : {2, 5, 6, 9, 12}) {
        CAPTURE(k);
        CHECK(same_product(d.truncate(k), nsvd::asvd(w, few, nsvd::rank{k})));
    }
}

TEST_CASE("truncate: the last stage gives what is left, also where a filler came after it", "[low_rank]") {
    const nsvd::metric first = nsvd::gram_metric(calibrated());
    nsvd::calibration<double> few(20);
    few.update(gaussian(20, 2, 21));
    const nsvd::metric second = nsvd::gram_metric(few);  // of rank 2: the filler has to help out at k = 10
    const auto d = nsvd::decompose(w, {{first, 0.5}, {second, 0.5}}, nsvd::rank{10});
    REQUIRE(d.info.stages.size() == 3);
    for (const Index k : {2, 3, 4}) {
        CAPTURE(k);
        const auto fresh = nsvd::decompose(w, {{first, 0.5}, {second, 0.5}}, nsvd::rank{k});
        CHECK(d.truncate(k).info.stages[0].rank == fresh.info.stages[0].rank);
        CHECK(d.truncate(k).info.stages[1].rank == fresh.info.stages[1].rank);
    }
}

TEST_CASE("truncate: nested decompositions keep the shares of their stages", "[low_rank]") {
    const auto calib = calibrated();
    for (const double share : {0.0, 0.5, 0.8, 0.95, 1.0}) {
        const auto d = nsvd::nested(w, calib, nsvd::rank{14}, {.share = share});
        for (Index k = 1; k <= 14; ++k) {
            CAPTURE(share, k);
            const auto cut = d.truncate(k);
            const auto fresh = nsvd::nested(w, calib, nsvd::rank{k}, {.share = share});
            REQUIRE(cut.rank() == k);
            CHECK(cut.info.stages[0].rank == fresh.info.stages[0].rank);
            CHECK(support::orthogonality(cut.left) <= 1e-13);
            CHECK(product(cut).isApprox(cut.left * (cut.left.transpose() * w), 1e-12));
        }
    }
}

TEST_CASE("truncate: a late stage without the direction it is asked for", "[low_rank]") {
    // Shares of 0.34, 0.33 and the rest of 5 are 2, 2, 1; of 4 they would be 1, 1, 2.
    const Eigen::MatrixXd small = support::gaussian(8, 9, 77);
    const auto d = nsvd::decompose(
        small, {{nsvd::metric(), 0.34}, {nsvd::metric(), 0.33}, {nsvd::metric(), 0.33}}, nsvd::rank{5});
    REQUIRE(d.info.stages.size() == 3);
    REQUIRE(d.info.stages[2].rank == 1);
    const auto cut = d.truncate(4);
    CHECK(cut.rank() == 4);
    // The stage before it keeps one instead.
    CHECK(cut.info.stages[0].rank == 1);
    CHECK(cut.info.stages[1].rank == 2);
    CHECK(cut.info.stages[2].rank == 1);
    const Eigen::Index kept[] = {0, 2, 3, 4};
    CHECK(cut.left == d.left(Eigen::all, kept));
    CHECK(cut.right == d.right(kept, Eigen::all));
}

TEST_CASE("truncate: NID keeps its identity block and the least squares optimum", "[low_rank]") {
    const auto d = nsvd::nested(w, calibrated(), nsvd::rank{12}, nid);
    for (Index k = 2; k <= 12; ++k) {
        CAPTURE(k);
        const auto cut = d.truncate(k);
        const Index k1 = cut.info.stages[0].rank;
        const Index k2 = k - k1;
        REQUIRE(cut.info.stages[1].rank == k2);
        CHECK(cut.parameters() == k * 34 - k2 * k2);
        // The block of coefficients has a unit vector for every column that is kept.
        Index units = 0;
        for (Index r = 0; r < k2; ++r)
            for (Index j = 0; j < 20; ++j)
                if (cut.right.col(j).tail(k2) == MatrixXd::Identity(k2, k2).col(r)) {
                    ++units;
                    break;
                }
        CHECK(units == k2);
        CHECK(cut.left.rightCols(k2) == d.left.middleCols(6, k2));
        // For these columns no coefficients are better.
        const MatrixXd best = cut.left * Eigen::HouseholderQR<MatrixXd>(cut.left).solve(w);
        CHECK((w - product(cut)).norm() <= (w - best).norm() * (1 + 1e-10));
    }
    const Eigen::MatrixXf wf = w.cast<float>();
    const auto f = nsvd::nested(wf, calibrated(), nsvd::rank{12}, nid).truncate(7);
    const MatrixXd left = f.left.cast<double>();
    const MatrixXd best = left * Eigen::HouseholderQR<MatrixXd>(left).solve(w);
    CHECK((w - product(f)).norm() <= (w - best).norm() * (1 + 1e-5));
}

TEST_CASE("truncate: NID of any scale", "[low_rank]") {
    const MatrixXd base = gaussian(12, 12, 81);
    nsvd::calibration<double> calib(12);
    calib.update(gaussian(12, 40, 82));
    const auto error_at = [&](double scale) {
        const MatrixXd scaled = scale * base;
        const auto d = nsvd::nested(scaled, calib, nsvd::rank{8}, nid);
        return nsvd::plain_error(scaled, d.truncate(5));
    };
    const double expected = error_at(1.0);
    for (const double scale : {1e-300, 1e-170, 1e-100, 1e150, 1e160, 1e300}) {
        CAPTURE(scale);
        CHECK(error_at(scale) == Approx(expected).epsilon(1e-9));
    }
}

TEST_CASE("low_rank: factors that don't belong together throw", "[low_rank]") {
    const nsvd::low_rank<float> odd{Eigen::MatrixXf::Ones(3, 5), Eigen::MatrixXf::Ones(2, 4)};
    expect_error([&] { (void)odd.dense(); }, {"low_rank", "3×5", "2×4"});
    expect_error([&] { (void)(odd * Eigen::VectorXf::Ones(4)); }, {"low_rank", "3×5", "2×4"});
    expect_error([&] { (void)odd.truncate(1); }, {"low_rank", "3×5", "2×4"});
}

TEST_CASE("nested: the first rank is floor(share·k + ½) in exact arithmetic", "[low_rank]") {
    const MatrixXd large = gaussian(200, 180, 31);
    nsvd::calibration<double> calib(180);
    calib.update(gaussian(180, 300, 32));
    for (const Index k : {45, 85, 165, 175}) {  // 0.7·k + ½ is just below an integer in double
        CAPTURE(k);
        const auto d = nsvd::nested(large, calib, nsvd::rank{k}, {.share = 0.7});
        CHECK(d.info.stages[0].rank == (7 * k + 5) / 10);
    }
}

TEST_CASE("structured bindings copy nothing that they need not", "[low_rank]") {
    using low_rank = nsvd::low_rank<double>;
    {
        auto d = nsvd::svd(w, nsvd::rank{3});
        const double* const left_at = d.left.data();
        const double* const right_at = d.right.data();
        auto [left, right] = std::move(d);  // the whole is moved, and its parts are what is named
        CHECK(left.data() == left_at);
        CHECK(right.data() == right_at);
        left *= 2.0;
        CHECK(left.data() == left_at);
    }
    {
        auto d = nsvd::svd(w, nsvd::rank{3});
        const double* const left_at = d.left.data();
        auto&& [left, right] = std::move(d);  // a reference: nothing is taken from d
        CHECK(left.data() == left_at);
        CHECK(d.left.data() == left_at);
        CHECK(right.rows() == 3);
        const MatrixXd taken = std::move(left);
        CHECK(taken.data() == left_at);
    }
    {
        const auto [left, right] = nsvd::svd(w, nsvd::rank{3});
        STATIC_REQUIRE(std::is_same_v<decltype(left), const MatrixXd>);
        CHECK((left * right).isApprox(nsvd::svd(w, nsvd::rank{3}).dense(), 1e-14));
    }
    {
        auto d = nsvd::svd(w, nsvd::rank{3});
        const double* const right_at = d.right.data();
        const low_rank::right_factor right = get<1>(std::move(d));
        CHECK(right.data() == right_at);
        CHECK(d.left.size() > 0);
        STATIC_REQUIRE(std::is_same_v<decltype(get<0>(std::declval<const low_rank>())), const MatrixXd&&>);
    }
    const std::vector<low_rank> layers{nsvd::svd(w, nsvd::rank{3}), nsvd::svd(w, nsvd::rank{4})};
    for (std::size_t i = 0; const auto& [left, right] : layers) {
        CHECK(left.data() == layers[i].left.data());
        CHECK(right.data() == layers[i++].right.data());
    }
}

TEST_CASE("structured bindings of the other results", "[low_rank]") {
    const auto d = nsvd::svd(w, nsvd::rank{3});
    // Of the pivoted form all parts count.
    const auto pivoted = nsvd::pivot(d);
    const auto [kept, indices, left, right, info] = nsvd::pivot(d);
    CHECK(kept == pivoted.kept);
    CHECK(indices == pivoted.indices);
    CHECK(left == pivoted.left);
    CHECK(right == pivoted.right);
    CHECK(info.solver == pivoted.info.solver);
    const auto [columns, coefficients, error, numerical_rank, status] = nsvd::interpolative(w, nsvd::rank{3});
    CHECK(columns.size() == 3);
    CHECK(coefficients.rows() == 3);
    CHECK(error > 0.0);
    CHECK(numerical_rank == 3);
    CHECK(status == nsvd::status::ok);
    const std::vector<nsvd::layer_profile> layers{{.shape = {14, 20}, .keep_dense = true}};
    const auto [ranks, cost, loss] = nsvd::allocate(layers, {.amount = 280});
    CHECK(ranks == std::vector<std::optional<Index>>{std::nullopt});
    CHECK(cost == 280);
    CHECK(loss == 0.0);
    const auto [means, mean_abs, grams, cosines] = nsvd::similarity(calibrated(), calibrated());
    CHECK(means == Approx(1.0));
    CHECK(mean_abs == Approx(1.0));
    CHECK(grams == Approx(1.0));
    CHECK(cosines.size() == 0);
}
