// SPDX-License-Identifier: MIT
// Misuse throws nsvd::error, and the message names the argument and the values.
#include "support/catch.hpp"
#include "support/expect_error.hpp"
#include "support/random.hpp"

#include <nsvd/nsvd.hpp>

#include <limits>
#include <optional>
#include <type_traits>
#include <vector>

using support::expect_error;
using support::gaussian;

namespace {

constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();
constexpr double inf = std::numeric_limits<double>::infinity();

nsvd::calibration<float> calibrated(nsvd::index n) {
    nsvd::calibration<float> calib(n);
    calib.update(gaussian(n, 3 * n, 1));
    return calib;
}

const Eigen::MatrixXd w = gaussian(4, 6, 2);

}  // namespace

TEST_CASE("error: is an invalid_argument; statuses are ordered by severity and have names", "[error]") {
    STATIC_REQUIRE(std::is_base_of_v<std::invalid_argument, nsvd::error>);
    using nsvd::status;
    STATIC_REQUIRE(status::ok < status::singular_metric);
    STATIC_REQUIRE(status::singular_metric < status::rank_deficient);
    STATIC_REQUIRE(status::rank_deficient < status::not_converged);
    STATIC_REQUIRE(nsvd::to_string(status::ok) == "ok");
    STATIC_REQUIRE(nsvd::to_string(status::singular_metric) == "singular metric");
    STATIC_REQUIRE(nsvd::to_string(status::rank_deficient) == "rank-deficient");
    STATIC_REQUIRE(nsvd::to_string(status::not_converged) == "not converged");
    CHECK(nsvd::svd(w, nsvd::rank{2}).info.status == status::ok);
}

TEST_CASE("error: shapes of W and of the calibration must match", "[error]") {
    const auto calib = calibrated(5);
    expect_error([&] { (void)nsvd::asvd(w, calib, nsvd::rank{2}); }, {"asvd", "W", "4×6", "5 features"});
    expect_error([&] { (void)nsvd::nested(w, calib, nsvd::rank{2}); }, {"nested", "W", "4×6", "5 features"});
    expect_error(
        [&] {
            (void)nsvd::decompose(w, {{nsvd::metric(), 0.5}, {nsvd::gram_metric(calib), 0.5}}, nsvd::rank{2});
        },
        {"decompose", "stage 2", "5 features", "6 columns"});
    const auto d = nsvd::svd(w, nsvd::rank{2});
    expect_error([&] { (void)nsvd::weighted_error(w, d, calib); },
                 {"weighted_error", "W", "6 columns", "calib", "5 features"});
    const Eigen::MatrixXd other = gaussian(6, 4, 3);
    expect_error([&] { (void)nsvd::plain_error(other, d); }, {"plain_error", "W is 6×4", "4×2", "2×6"});
}

TEST_CASE("error: empty matrices", "[error]") {
    for (const auto& [m, n] : {std::pair(0, 6), std::pair(4, 0), std::pair(0, 0)}) {
        const Eigen::MatrixXf empty(m, n);
        const std::string shape = std::to_string(m) + "×" + std::to_string(n);
        expect_error([&] { (void)nsvd::svd(empty, nsvd::rank{1}); }, {"svd", "W", "empty", shape});
        expect_error([&] { (void)nsvd::interpolative(empty, nsvd::rank{1}); },
                     {"interpolative", "empty", shape});
        expect_error([&] { (void)nsvd::plain_error(empty, nsvd::svd(w, nsvd::rank{1})); },
                     {"plain_error", "W", "empty", shape});
    }
    const Eigen::MatrixXf no_rows(0, 6);
    expect_error([&] { (void)nsvd::asvd(no_rows, calibrated(6), nsvd::rank{1}); }, {"asvd", "W", "0×6"});
    expect_error([&] { (void)nsvd::nested(no_rows, calibrated(6), nsvd::rank{1}); }, {"nested", "W", "0×6"});
    expect_error([] { (void)nsvd::cholesky_factor(Eigen::MatrixXd()); }, {"M", "0×0"});
    expect_error([] { (void)nsvd::eigen_factor(Eigen::MatrixXd()); }, {"M", "0×0"});
    expect_error([] { (void)nsvd::diagonal_factor(Eigen::VectorXd()); }, {"s is empty", "0×1"});
}

TEST_CASE("error: a rank outside [1, min(m, n)]", "[error]") {
    const auto calib = calibrated(6);
    for (const nsvd::index k :
         {nsvd::index{0}, nsvd::index{-1}, nsvd::index{5}, std::numeric_limits<nsvd::index>::max(),
          std::numeric_limits<nsvd::index>::min()}) {
        const std::string value = std::to_string(k);
        expect_error([&] { (void)nsvd::svd(w, nsvd::rank{k}); }, {"rank", value, "[1, 4]", "4×6"});
        expect_error([&] { (void)nsvd::asvd(w, calib, nsvd::rank{k}); }, {"rank", value, "[1, 4]"});
        expect_error([&] { (void)nsvd::nested(w, calib, nsvd::rank{k}); }, {"rank", value, "[1, 4]"});
        expect_error([&] { (void)nsvd::interpolative(w, nsvd::rank{k}); }, {"rank", value, "[1, 4]"});
        expect_error([&] { (void)nsvd::svd(w, nsvd::rank{4}).truncate(k); }, {"k", value, "[1, 4]"});
    }
}

TEST_CASE("error: policies that return nonsense", "[error]") {
    const auto calib = calibrated(6);
    const auto too_much = [](const nsvd::shape& s) { return s.rows * s.cols; };
    expect_error([&] { (void)nsvd::svd(w, too_much); }, {"svd", "rank", "24", "[1, 4]"});
    const auto negative = [](const nsvd::spectrum&, const nsvd::shape&) { return nsvd::index{-3}; };
    expect_error([&] { (void)nsvd::asvd(w, calib, negative); }, {"asvd", "rank", "-3", "[1, 4]"});
    expect_error([&] { (void)nsvd::interpolative(w, negative); }, {"interpolative", "rank", "-3"});
    const auto greedy = [](const nsvd::spectrum&, const nsvd::shape&) {
        return std::optional<nsvd::index>();
    };
    expect_error([&] { (void)nsvd::nested(w, calib, greedy); }, {"nested", "policy", "complete spectrum"});
    const auto huge = [](const nsvd::shape&) { return std::numeric_limits<std::size_t>::max(); };
    expect_error([&] { (void)nsvd::svd(w, huge); }, {"svd", "rank", "[1, 4]"});
}

TEST_CASE("error: fractions outside their range", "[error]") {
    for (const double ratio : {-0.1, 1.0, 1.5, not_a_number, inf, -inf, -1e-300}) {
        expect_error([&] { (void)nsvd::svd(w, nsvd::compression{ratio}); },
                     {"compression", "ratio", nsvd::detail::text(ratio), "[0, 1)"});
        expect_error([&] { (void)nsvd::svd(w, nsvd::tolerance{ratio}); },
                     {"tolerance", "relative_error", nsvd::detail::text(ratio), "[0, 1)"});
    }
    for (const double fraction : {0.0, -0.5, 1.0000001, not_a_number, inf})
        expect_error([&] { (void)nsvd::svd(w, nsvd::energy{fraction}); },
                     {"energy", "fraction", nsvd::detail::text(fraction), "(0, 1]"});
    expect_error([] { (void)nsvd::svd(Eigen::MatrixXf::Ones(1, 1), nsvd::compression{0.3}); },
                 {"compression", "0.3", "rank 0", "1×1"});
    expect_error([] { (void)nsvd::svd(Eigen::MatrixXf::Ones(1, 900), nsvd::compression{0.0}); },
                 {"compression", "rank 0", "1×900"});
    expect_error([] { (void)nsvd::svd(w, nsvd::compression{0.9999999999}); }, {"ratio", "rank 0", "4×6"});
}

TEST_CASE("error: options of asvd, nested and decompose", "[error]") {
    const auto calib = calibrated(6);
    const nsvd::rank k{2};
    for (const double bad : {-0.01, 1.01, not_a_number, inf}) {
        const std::string value = nsvd::detail::text(bad);
        expect_error([&] { (void)nsvd::nested(w, calib, k, {.share = bad}); }, {"nested", "share", value});
        expect_error(
            [&] {
                (void)nsvd::decompose(w, {{nsvd::metric(), bad}}, k);
            },
            {"stage 1", "share", value});
    }
    for (const double bad : {-0.5, not_a_number, inf}) {
        const std::string value = nsvd::detail::text(bad);
        const auto diagonal = nsvd::whitening::diagonal;
        expect_error([&] { (void)nsvd::asvd(w, calib, k, {.whitening = diagonal, .alpha = bad}); },
                     {"alpha", value});
        expect_error([&] { (void)nsvd::nested(w, calib, k, {.whitening = diagonal, .alpha = bad}); },
                     {"alpha", value});
        expect_error([&] { (void)nsvd::asvd(w, calib, k, {.blend = bad}); }, {"blend", value});
        expect_error([&] { (void)nsvd::nested(w, calib, k, {.blend = bad}); }, {"blend", value});
    }
    const nsvd::stage plain{nsvd::metric(), 0.7};
    expect_error([&] { (void)nsvd::decompose(w, {plain, plain, plain}, k); }, {"decompose", "shares", "2.1"});
    expect_error([&] { (void)nsvd::decompose(w, std::span<const nsvd::stage>(), k); }, {"no stages"});
    expect_error(
        [&] {
            (void)nsvd::decompose(w, {{nsvd::column_selection{}, 1.0}}, nsvd::energy{0.9});
        },
        {"policy", "spectrum", "metric"});
    expect_error([] { (void)nsvd::whiten(Eigen::MatrixXd::Identity(2, 2), nsvd::whitening::diagonal); },
                 {"whiten", "diagonal"});
}

TEST_CASE("error: NaN or Inf anywhere in W, X or the factors", "[error]") {
    const auto calib = calibrated(6);
    for (const double bad : {not_a_number, inf, -inf}) {
        const std::string value = nsvd::detail::text(bad);
        Eigen::MatrixXd poisoned = w;
        poisoned(2, 5) = bad;
        const std::string place = "(2, 5) = " + value;
        expect_error([&] { (void)nsvd::svd(poisoned, nsvd::rank{2}); }, {"svd: W", place});
        expect_error([&] { (void)nsvd::svd(poisoned.cast<Eigen::half>(), nsvd::rank{2}); },
                     {"svd: W", place});
        expect_error([&] { (void)nsvd::asvd(poisoned, calib, nsvd::rank{2}); }, {"asvd: W", place});
        expect_error([&] { (void)nsvd::nested(poisoned, calib, nsvd::rank{2}); }, {"nested: W", place});
        expect_error([&] { (void)nsvd::interpolative(poisoned, nsvd::rank{2}); },
                     {"interpolative: a", place});
        auto d = nsvd::svd(w, nsvd::rank{2});
        expect_error([&] { (void)nsvd::plain_error(poisoned, d); }, {"plain_error: W", place});
        expect_error([&] { (void)nsvd::weighted_error(poisoned, d, calib); }, {"weighted_error: W", place});
        d.right(1, 3) = bad;
        expect_error([&] { (void)nsvd::plain_error(w, d); }, {"right(1, 3) = " + value});
        d.left(3, 0) = bad;
        expect_error([&] { (void)nsvd::weighted_error(w, d, calib); }, {"left(3, 0) = " + value});
        Eigen::MatrixXd x = gaussian(6, 5000, 4);
        x(1, 4321) = bad;
        nsvd::calibration<double> fresh(6);
        expect_error([&] { fresh.update(x); }, {"x(1, 4321) = " + value});
        Eigen::MatrixXd m = Eigen::MatrixXd::Identity(3, 3);
        m(0, 2) = bad;
        expect_error([&] { (void)nsvd::cholesky_factor(m); }, {"M(0, 2) = " + value});
        expect_error([&] { (void)nsvd::diagonal_factor(Eigen::Vector3d(1.0, bad, 1.0)); },
                     {"s(1, 0) = " + value});
    }
}

TEST_CASE("error: a calibration without tokens", "[error]") {
    nsvd::calibration<float> calib(6);
    const auto d = nsvd::svd(w, nsvd::rank{2});
    const auto check = [&] {
        expect_error([&] { (void)nsvd::asvd(w, calib, nsvd::rank{2}); }, {"asvd", "calib", "no tokens"});
        expect_error([&] { (void)nsvd::nested(w, calib, nsvd::rank{2}); }, {"nested", "calib", "no tokens"});
        expect_error([&] { (void)nsvd::weighted_error(w, d, calib); }, {"weighted_error", "no tokens"});
        expect_error([&] { (void)nsvd::gram_metric(calib); }, {"gram_metric", "no tokens"});
        expect_error([&] { (void)nsvd::diagonal_metric(calib); }, {"diagonal_metric", "no tokens"});
    };
    check();
    calib.update(gaussian(6, 8, 5), std::vector<bool>(8, false));
    check();
}
