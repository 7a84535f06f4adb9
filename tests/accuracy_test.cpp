// SPDX-License-Identifier: MIT
// The public calls beyond the size up to which all is done in double: the accuracy that is promised, what
// `info` says of it, and that memory that is reused changes nothing.
#include "support/catch.hpp"
#include "support/exact.hpp"
#include "support/generate.hpp"

#include <nsvd/nsvd.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

namespace {

using Eigen::Index;
using Eigen::MatrixXd;
using Eigen::VectorXd;
using nsvd::accuracy;
using nsvd::detail::multiply;
using nsvd::detail::op;
using support::generator;

constexpr double single = std::numeric_limits<float>::epsilon();

// What Σθ of single precision may be off by, in units of ‖W S‖², and vectors be off orthonormal. Eigen's
// implicit QR gathers the rounding of all its rotations.
#if defined(NSVD_USE_LAPACK)
constexpr double of_loss = 5.0 * single;
constexpr double of_vectors = 1e2;
#else
constexpr double of_loss = 400.0 * single;
constexpr double of_vectors = 1e3;
#endif

template <class Scalar>
using matrix_of = Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic>;

MatrixXd product(const MatrixXd& a, const MatrixXd& b) {
    return multiply(a, op::none, b, op::none);
}

/// A layer `W = U diag(w) Vᵀ` with inputs `X = V diag(x) Zᵀ`: the singular values of W X are known.
struct layer {
    MatrixXd w;
    MatrixXd s;       ///< a factor of X Xᵀ; empty for plain problems
    VectorXd values;  ///< σ² of W S, descending
};

VectorXd sorted_squares(const VectorXd& values) {
    VectorXd squares = values.cwiseAbs2();
    std::sort(squares.begin(), squares.end(), std::greater<>());
    return squares;
}

VectorXd falling(Index size) {
    return support::geometric(size, 50.0).array() + 0.2;
}

layer plain_layer(generator& g, Index m, Index n, const VectorXd& values) {
    const Index r = values.size();
    const MatrixXd scaled = support::cosines(g, m).leftCols(r) * values.asDiagonal();
    return {multiply(scaled, op::none, support::cosines(g, n).leftCols(r), op::transpose),
            {},
            sorted_squares(values)};
}

/// The scales of the inputs fall in another order than those of W.
layer weighted_layer(generator& g, Index m, Index n, double condition) {
    const Index r = std::min(m, n);
    const VectorXd w = falling(r);
    const VectorXd x = support::geometric(n, condition);
    VectorXd mixed(n);
    for (Index i = 0; i < n; ++i)
        mixed(i) = x((7 * i + 3) % n);  // n is no multiple of 7
    const MatrixXd right = support::cosines(g, n);
    const MatrixXd scaled = support::cosines(g, m).leftCols(r) * w.asDiagonal();
    return {multiply(scaled, op::none, right.leftCols(r), op::transpose), right * mixed.asDiagonal(),
            sorted_squares(w.cwiseProduct(mixed.head(r)))};
}

nsvd::calibration<double> calibrated(const MatrixXd& x) {
    nsvd::calibration<double> calib(x.rows());
    calib.update(x);
    return calib;
}

/// ‖(W − W′) S‖².
template <class Result>
double squared_error(const layer& l, const MatrixXd& w, const Result& d) {
    MatrixXd rest = w - product(d.left.template cast<double>(), d.right.template cast<double>());
    if (l.s.size() > 0) rest = product(rest, l.s);
    return rest.squaredNorm();
}

/// τ of a level for a side.
double bound(accuracy level, Index side) {
    if (side <= 1024 || level == accuracy::exact) return 1e-6;
    return level == accuracy::balanced ? 5e-4 : 1e-2;
}

/// One stage: the bound, and what `info` says. `w` is what was decomposed; factors in `float` add their
/// rounding in quadrature.
template <class Scalar>
void check_stage(const layer& l, const matrix_of<Scalar>& w, const nsvd::low_rank<Scalar>& d, Index k,
                 accuracy level) {
    REQUIRE(d.rank() == k);
    const Index side = std::min(w.rows(), w.cols());
    const MatrixXd exact = w.template cast<double>();
    const double optimum = l.values.tail(l.values.size() - k).sum();
    const double total = l.values.sum();
    const double found = squared_error(l, exact, d);
    const double rounding =
        std::pow(4.0 * static_cast<double>(std::numeric_limits<Scalar>::epsilon()), 2) * total;
    const double tau = bound(level, side);
    CAPTURE(d.info.solver, k, static_cast<int>(level), found / optimum - 1.0, tau, d.info.gap,
            d.info.certified);
    // Rounding W to single precision moves the optimum by 1e-8 or so.
    const double moved = std::is_same_v<Scalar, float> ? 1e-7 : 1e-10;
    CHECK(found <= (1.0 + tau) * (1.0 + tau) * optimum * (1.0 + moved) + rounding);
    CHECK(found >= optimum * (1.0 - moved) - rounding);

    const double left = of_vectors * static_cast<double>(std::numeric_limits<Scalar>::epsilon());
    const MatrixXd q = d.left.template cast<double>();
    CHECK((multiply(q, op::transpose, q, op::none) - MatrixXd::Identity(k, k)).cwiseAbs().maxCoeff() <= left);

    REQUIRE(!d.info.stages.empty());
    const nsvd::stage_info& stage = d.info.stages.front();
    CHECK(d.info.loss == stage.loss);
    CHECK(std::abs(stage.total / total - 1.0) <= 1e-5);
    CHECK(std::abs(stage.loss - found) <= 1e-5 * found + of_loss * total);
    const double excess = found / optimum - 1.0 - moved - rounding / optimum;
    CHECK(d.info.gap >= 0.0);
    CHECK(d.info.gap <= tau * (2.0 + tau));
    CHECK(d.info.gap + 0.03 * tau >= excess / 3.0);
    if (d.info.certified) CHECK(excess <= tau * (2.0 + tau));
    CHECK(d.info.status == nsvd::status::ok);
}

#if defined(NSVD_USE_LAPACK)
const std::vector<std::pair<Index, Index>> shapes{{600, 600}, {540, 800}, {800, 540}};
constexpr bool fast_build = true;
#else
// Eigen's own solvers are slow.
const std::vector<std::pair<Index, Index>> shapes{{520, 600}, {600, 520}};
constexpr bool fast_build = false;
#endif

}  // namespace

TEMPLATE_TEST_CASE("accuracy: one stage is within 1e-6 up to 1024", "[accuracy]", float, double) {
    std::uint64_t seed = 100;
    for (const auto& [m, n] : shapes) {
        generator g(++seed);
        CAPTURE(seed, m, n);
        const Index side = std::min(m, n);
        const layer plain = plain_layer(g, m, n, falling(side));
        const layer weighted = weighted_layer(g, m, n, 10.0);
        const matrix_of<TestType> w1 = plain.w.cast<TestType>();
        const matrix_of<TestType> w2 = weighted.w.cast<TestType>();
        const auto calib = calibrated(weighted.s);
        for (const Index k : {Index{30}, 7 * m * n / (10 * (m + n)), side * 4 / 5}) {
            if (!fast_build && k == side * 4 / 5) continue;
            INFO("svd");
            check_stage<TestType>(plain, w1, nsvd::svd(w1, nsvd::rank{k}), k, accuracy::balanced);
            INFO("asvd");
            check_stage<TestType>(weighted, w2, nsvd::asvd(w2, calib, nsvd::rank{k}), k, accuracy::balanced);
        }
    }
}

TEST_CASE("accuracy: up to 1024 the level changes nothing", "[accuracy]") {
    generator g(200);
    const layer l = weighted_layer(g, 530, 540, 10.0);
    const Eigen::MatrixXf w = l.w.cast<float>();
    const auto calib = calibrated(l.s);
    const auto exact = nsvd::asvd(w, calib, nsvd::rank{60}, {.accuracy = accuracy::exact});
    check_stage<float>(l, w, exact, 60, accuracy::exact);
    for (const auto level : {accuracy::balanced, accuracy::fast}) {
        const auto d = nsvd::asvd(w, calib, nsvd::rank{60}, {.accuracy = level});
        CHECK((d.left.array() == exact.left.array()).all());
        CHECK((d.right.array() == exact.right.array()).all());
    }
}

TEST_CASE("accuracy: what the levels promise", "[accuracy]") {
    for (const auto& [level, tau] :
         {std::pair(accuracy::exact, 1e-6), {accuracy::balanced, 5e-4}, {accuracy::fast, 1e-2}})
        CHECK(nsvd::detail::excess_allowed(level) == tau);
}

TEST_CASE("accuracy: small matrices are solved in double and certified", "[accuracy]") {
    generator g(300);
    const layer l = weighted_layer(g, 60, 71, 30.0);
    const auto calib = calibrated(l.s);
    for (const auto level : {accuracy::exact, accuracy::balanced, accuracy::fast}) {
        const auto d = nsvd::nested(l.w, calib, nsvd::rank{20}, {.share = 0.8, .accuracy = level});
        CHECK(d.info.gap == 0.0);
        CHECK(d.info.certified);
        const MatrixXd q = d.left.leftCols(16);
        const MatrixXd rest = product(support::residual_after(l.w, q), l.s);
        CHECK(d.info.loss == Approx(rest.squaredNorm()).epsilon(1e-9));
        CHECK(d.info.loss == Approx(l.values.tail(44).sum()).epsilon(1e-9));
        CHECK(d.info.stages[0].total == Approx(l.values.sum()).epsilon(1e-12));
        CHECK(d.info.stages[1].loss == Approx((l.w - d.dense()).squaredNorm()).epsilon(1e-9));
    }
}

#if defined(NSVD_USE_LAPACK)
TEMPLATE_TEST_CASE("accuracy: levels beyond 1024", "[accuracy]", float, double) {
    const Index side = 1100;
    generator g(400);
    const layer l = weighted_layer(g, side, side, 10.0);
    const matrix_of<TestType> w = l.w.cast<TestType>();
    const auto calib = calibrated(l.s);
    nsvd::workspace pool;
    for (const auto level : {accuracy::exact, accuracy::balanced, accuracy::fast})
        for (const Index k : {Index{110}, Index{385}}) {
            if (std::is_same_v<TestType, double> && (k != 110 || level != accuracy::balanced)) continue;
            check_stage<TestType>(
                l, w, nsvd::asvd(w, calib, nsvd::rank{k}, {.accuracy = level, .workspace = &pool}), k, level);
        }
}
#endif

TEMPLATE_TEST_CASE("accuracy: every stage of a nested decomposition", "[accuracy]", float, double) {
    const Index m = 560;
    const Index n = 600;
    generator g(500);
    const layer l = weighted_layer(g, m, n, 20.0);
    const matrix_of<TestType> w = l.w.cast<TestType>();
    const MatrixXd exact = w.template cast<double>();
    const auto calib = calibrated(l.s);
    for (const double share : {0.95, 0.5}) {
        const Index k = 100;
        const auto d = nsvd::nested(w, calib, nsvd::rank{k}, {.share = share});
        REQUIRE(d.info.stages.size() == 2);
        const Index first = d.info.stages[0].rank;
        CAPTURE(share, first, d.info.stages[0].solver, d.info.stages[1].solver, d.info.stages[1].gap);
        CHECK(first == std::lround(share * static_cast<double>(k)));
        const MatrixXd q = d.left.leftCols(first).template cast<double>();
        const MatrixXd rest = support::residual_after(exact, q);
        const double weighted = product(rest, l.s).squaredNorm();
        CHECK(weighted <= (1.0 + 2.1e-6) * l.values.tail(m - first).sum());
        CHECK(std::abs(d.info.stages[0].loss - weighted) <= 1e-5 * weighted + of_loss * l.values.sum());
        const VectorXd values = support::singular_values_of(rest).cwiseAbs2();
        const double plain =
            (exact - product(d.left.template cast<double>(), d.right.template cast<double>())).squaredNorm();
        const double optimum = values.tail(m - (k - first)).sum();
        CAPTURE(plain / optimum - 1.0);
        CHECK(plain <= (1.0 + 2.1e-6) * optimum);
        CHECK(std::abs(d.info.stages[1].loss - plain) <= 1e-5 * plain + of_loss * values.sum());
        CHECK(d.info.stages[1].total == Approx(values.sum()).epsilon(1e-5));
        CHECK(d.info.gap >= d.info.stages[0].gap);
        CHECK(d.info.gap >= d.info.stages[1].gap);
    }
}

TEST_CASE("accuracy: directions far below those before are orthogonal to them", "[accuracy]") {
    // Two stages in single precision; what is left to the second is a thousandth of W, and so is not far
    // above the rounding of W along Q1.
    generator g(550);
    const Index first = 20;
    VectorXd values = support::geometric(560, 30.0);
    values.head(first) *= 1e3;
    const Eigen::MatrixXf w = plain_layer(g, 560, 600, values).w.cast<float>();
    const auto d = nsvd::decompose(w, {{nsvd::metric(), 0.5}, {nsvd::metric(), 0.5}}, nsvd::rank{2 * first});
    REQUIRE(d.info.stages.size() == 2);
    CAPTURE(d.info.stages[0].solver, d.info.stages[1].solver);
    const MatrixXd q1 = d.left.leftCols(first).cast<double>();
    const MatrixXd q2 = d.left.rightCols(first).cast<double>();
    // 0.4 eps (1.5 with Eigen alone); what is not projected off Q1 again has 7 and more.
    CHECK((q1.transpose() * q2).norm() <= 4 * single);
}

TEST_CASE("accuracy: W and metrics of any scale", "[accuracy]") {
    // One that the solver in single precision can't have in its units is solved in double.
    generator g(590);
    const Index m = 520, n = 530, k = 60;
    const MatrixXd w = product(g.orthonormal(m, m) * falling(m).cwiseSqrt().asDiagonal(), g.gaussian(m, n));
    const VectorXd scales = VectorXd::LinSpaced(n, 1.0, 3.0);
    const auto at = [&](double of_w, double of_metric) {
        return nsvd::decompose(MatrixXd(of_w * w),
                               {{nsvd::metric(nsvd::diagonal_factor(VectorXd(of_metric * scales))), 1.0}},
                               nsvd::rank{k});
    };
    const auto expected = at(1.0, 1.0);
    for (const auto& [of_w, of_metric] :
         {std::pair(1e100, 1e-100), {1e300, 1e100}, {1e-300, 1e-100}, {1.0, 1e200}, {1.0, 1e-200}}) {
        const auto d = at(of_w, of_metric);
        CAPTURE(of_w, of_metric, d.info.solver);
        CHECK(d.info.status == expected.info.status);
        CHECK(std::isfinite(d.info.loss));
        CHECK(d.info.loss > 0.0);
        CHECK(d.info.loss / d.info.stages[0].total ==
              Approx(expected.info.loss / expected.info.stages[0].total).epsilon(1e-3));
        REQUIRE(d.info.spectrum.size() >= k);
        CHECK(std::isfinite(d.info.spectrum(0)));
        CHECK(d.info.spectrum(k - 1) / d.info.spectrum(0) ==
              Approx(expected.info.spectrum(k - 1) / expected.info.spectrum(0)).epsilon(1e-3));
    }
    // Inputs and weights within their limits.
    nsvd::calibration<double> calib(n);
    calib.update(MatrixXd(1e134 * g.gaussian(n, 600)), std::vector<double>(600, 1e30));
    CHECK(nsvd::asvd(MatrixXd(1e4 * w), calib, nsvd::energy{0.5}).rank() > 1);
}

TEST_CASE("accuracy: outliers of W", "[accuracy]") {
    const Index m = 520;
    const Index n = 540;
    std::uint64_t seed = 600;
    for (const bool rows : {false, true})
        for (const double factor : {20.0, 1e3, 1e6}) {
            generator g(++seed);
            layer l = plain_layer(g, m, n, falling(m));
            for (const Index i : {Index{7}, Index{200}, Index{201}}) {
                if (rows)
                    l.w.row(i) *= factor;
                else
                    l.w.col(i) *= factor;
            }
            const Eigen::MatrixXf w = l.w.cast<float>();
            l.values = support::singular_values_of(w.cast<double>()).cwiseAbs2();
            CAPTURE(seed, rows, factor);
            for (const Index k : {40, 190}) {
                const auto d = nsvd::svd(w, nsvd::rank{k});
                CAPTURE(k, d.info.solver, d.info.gap);
                // With Q in single precision a part of eps² of the largest directions is lost.
                const double optimum = l.values.tail(m - k).sum();
                const MatrixXd q = support::householder_basis(d.left.cast<double>());
                const double found = support::residual_after(w.cast<double>(), q).squaredNorm();
                CAPTURE(found / optimum - 1.0, single * single * l.values.sum() / optimum);
                CHECK(found <= (1.0 + 2.1e-6) * optimum + 2.0 * single * single * l.values.sum());
                CHECK(std::abs(d.info.stages[0].total / l.values.sum() - 1.0) <= 1e-5);
                const MatrixXd same = d.left.cast<double>();
                // Whatever the solver, right is Qᵀ W.
                const MatrixXd precise = w.cast<double>();
                CHECK((d.right.cast<double>() - multiply(same, op::transpose, precise, op::none)).norm() <=
                      10 * single * precise.norm());
            }
        }
}

TEMPLATE_TEST_CASE("accuracy: outlier channels", "[accuracy]", float, double) {
    std::uint64_t seed = 650;
    for (const auto& [m, n] : {std::pair<Index, Index>{520, 540}, std::pair<Index, Index>{540, 520}})
        for (const double factor : {20.0, 1e3, 1e6}) {
            // In double there is little to learn from what is no hard case.
            if (std::is_same_v<TestType, double> && (factor < 1e3 || m > n)) continue;
            generator g(++seed);
            CAPTURE(seed, m, n, factor);
            const layer l = weighted_layer(g, m, n, 10.0);
            MatrixXd x = l.s;
            for (const Index i : {Index{3}, Index{77}, Index{400}})
                x.row(i) *= factor;
            const matrix_of<TestType> w = l.w.cast<TestType>();
            const MatrixXd exact = w.template cast<double>();
            const MatrixXd a = product(exact, x);
            const VectorXd values = support::singular_values_of(a).cwiseAbs2();
            const auto calib = calibrated(x);
            for (const Index k : {40, 185}) {
                const auto d = nsvd::asvd(w, calib, nsvd::rank{k});
                const double optimum = values.tail(values.size() - k).sum();
                const MatrixXd q = support::householder_basis(d.left.template cast<double>());
                const double found = support::residual_after(a, q).squaredNorm();
                const double rounding =
                    std::pow(static_cast<double>(std::numeric_limits<TestType>::epsilon()), 2) * values.sum();
                CAPTURE(k, d.info.solver, d.info.gap, found / optimum - 1.0, rounding / optimum);
                const MatrixXd left = d.left.template cast<double>();
                CHECK((multiply(left, op::transpose, left, op::none) - MatrixXd::Identity(k, k))
                          .cwiseAbs()
                          .maxCoeff() <= 32 * std::numeric_limits<TestType>::epsilon());
                // 1e-9 for the Gram matrix, which is in double.
                CHECK(found <= (1.0 + 2.1e-6) * optimum + 2.0 * rounding + 1e-9 * optimum);
                CHECK(std::abs(d.info.stages[0].total / values.sum() - 1.0) <= 1e-5);
            }
        }
}

TEST_CASE("accuracy: hard spectra of W", "[accuracy]") {
    const Index m = 560;
    const Index n = 568;
    const auto check = [&](const VectorXd& values, std::initializer_list<Index> ranks) {
        generator g(700);
        layer l = plain_layer(g, m, n, values);
        const Eigen::MatrixXf w = l.w.cast<float>();
        l.values = support::singular_values_of(w.cast<double>()).cwiseAbs2();
        for (const Index k : ranks) {
            const auto d = nsvd::svd(w, nsvd::rank{k});
            const double optimum = l.values.tail(m - k).sum();
            const MatrixXd q = support::householder_basis(d.left.cast<double>());
            const double found = support::residual_after(w.cast<double>(), q).squaredNorm();
            CAPTURE(k, d.info.solver, d.info.gap, found / optimum - 1.0);
            CHECK(found <= (1.0 + 2.1e-6) * optimum + 2.0 * single * single * l.values.sum());
        }
    };
    SECTION("flat") {
        check(VectorXd::Ones(m), {20, 120});
    }
    SECTION("a hundred equal ones") {
        VectorXd values(m);
        values << VectorXd::Ones(100), 0.5 * support::geometric(m - 100, 20.0);
        check(values, {50, 120});
    }
    SECTION("clustered") {
        check(support::make_spectrum(support::shape_of_spectrum::clustered, m), {60, 250});
    }
    SECTION("step") {
        check(support::make_spectrum(support::shape_of_spectrum::step, m), {60, 150, 200});
    }
    SECTION("steep") {
        check(support::geometric(m, 1e7), {60, 150});
    }
    SECTION("deficient") {
        check(falling(90), {60, 89, 120});
    }
}

TEST_CASE("accuracy: zero, and scales at the ends of the range", "[accuracy]") {
    const Index m = 520;
    const Index n = 530;
    generator g(800);
    const auto zero = nsvd::svd(Eigen::MatrixXf::Zero(m, n), nsvd::rank{30});
    CHECK(zero.right.norm() == 0.0F);
    CHECK(zero.left.allFinite());
    CHECK(zero.info.loss == 0.0);

    const layer l = weighted_layer(g, m, n, 10.0);
    const Eigen::MatrixXf w = l.w.cast<float>();
    const auto reference = nsvd::asvd(w, calibrated(l.s), nsvd::rank{50});
    const double error = nsvd::weighted_error(w, reference, calibrated(l.s));
    for (const int exponent : {-100, 100})
        for (const bool of_w : {false, true}) {
            CAPTURE(exponent, of_w);
            const double scale = std::ldexp(1.0, exponent);
            const Eigen::MatrixXf scaled = of_w ? Eigen::MatrixXf(static_cast<float>(scale) * w) : w;
            const auto calib = calibrated(of_w ? l.s : MatrixXd(scale * l.s));
            const auto d = nsvd::asvd(scaled, calib, nsvd::rank{50});
            CHECK((d.left - reference.left).cwiseAbs().maxCoeff() == 0.0F);  // powers of two round nothing
            CHECK(nsvd::weighted_error(scaled, d, calib) == Approx(error).epsilon(1e-6));
            CHECK(d.info.loss == Approx(reference.info.loss * scale * scale).epsilon(1e-6));
        }
}

TEST_CASE("accuracy: ranks from the spectrum", "[accuracy]") {
    for (const auto& [m, n] : shapes) {
        generator g(900);
        const layer l = weighted_layer(g, m, n, 20.0);
        const Eigen::MatrixXf w = l.w.cast<float>();
        const auto calib = calibrated(l.s);
        const double total = l.values.sum();
        const Index side = std::min(m, n);
        for (const Index k : {side / 20, side / 2}) {
            // Half way between what k − 1 and k directions leave.
            const double rest = l.values.tail(side - k).sum() + 0.5 * l.values(k - 1);
            CAPTURE(m, n, k);
            const auto by_energy = nsvd::asvd(w, calib, nsvd::energy{1.0 - rest / total});
            CHECK(by_energy.rank() == k);
            CHECK(by_energy.info.spectrum.size() == side);
            CHECK((by_energy.info.spectrum - l.values).cwiseAbs().maxCoeff() <= 100 * single * l.values(0));
            check_stage<float>(l, w, by_energy, by_energy.rank(), accuracy::balanced);
            if (!fast_build) continue;
            CHECK(nsvd::asvd(w, calib, nsvd::tolerance{std::sqrt(rest / total)}).rank() == k);
            CHECK(nsvd::nested(w, calib, nsvd::energy{1.0 - rest / total}, {.share = 0.9}).rank() == k);
        }
    }
}

TEST_CASE("accuracy: results do not depend on a workspace", "[accuracy][workspace]") {
    const Index m = 520;
    const Index n = 600;
    generator g(1000);
    const layer l = weighted_layer(g, m, n, 20.0);
    const Eigen::MatrixXf w = l.w.cast<float>();
    const Eigen::MatrixXf tall = w.transpose();
    const auto calib = calibrated(l.s);
    nsvd::workspace pool;
    CHECK(pool.bytes() == 0);
    const auto same = [&](const auto& a, const auto& b) {
        CHECK((a.left.array() == b.left.array()).all());
        CHECK((a.right.array() == b.right.array()).all());
        CHECK(a.info.solver == b.info.solver);
        CHECK(a.info.loss == b.info.loss);
        CHECK(a.info.gap == b.info.gap);
    };
    const nsvd::rank k{50};
    const auto reference = nsvd::asvd(w, calib, k);
    const auto nested = nsvd::nested(w, calib, k);
    const auto plain = nsvd::svd(tall, nsvd::rank{250});
    for (int round = 0; round < 2; ++round) {
        same(nsvd::asvd(w, calib, k, {.workspace = &pool}), reference);
        CHECK(pool.bytes() > 0);
        same(nsvd::svd(tall, nsvd::rank{250}, {.workspace = &pool}), plain);
        same(nsvd::nested(w, calib, k, {.workspace = &pool}), nested);
        const nsvd::stage stages[] = {{nsvd::gram_metric(calib), 1.0}};
        same(nsvd::decompose(w, stages, k, {.workspace = &pool}), reference);
    }
    // What is held does not grow with the number of calls.
    const std::size_t held = pool.bytes();
    same(nsvd::nested(w, calib, k, {.workspace = &pool}), nested);
    CHECK(pool.bytes() == held);
    CHECK(pool.bytes() <= 8 * static_cast<std::size_t>(n * n) * sizeof(float));
    pool.release();
    CHECK(pool.bytes() == 0);
    same(nsvd::asvd(w, calib, k, {.workspace = &pool}), reference);
}

TEST_CASE("workspace: blocks on loan", "[workspace]") {
    nsvd::workspace pool;
    {
        nsvd::detail::scratch a(pool, 10, 20);
        nsvd::detail::scratch b(pool, 5, 5);
        CHECK(pool.bytes() == 0);
        CHECK(a.span().rows() == 10);
        CHECK(a.span().cols() == 20);
        CHECK(a.span().data() != b.span().data());
        const auto sum = [](const nsvd::detail::scratch& s) { return s.span().matrix().sum(); };
        a.span().matrix().setConstant(1.0F);
        b.span().matrix().setConstant(2.0F);
        CHECK(sum(a) == 200.0F);
        nsvd::detail::scratch c(std::move(b));
        CHECK(sum(c) == 50.0F);
        a = std::move(c);
        CHECK(sum(a) == 50.0F);
        nsvd::detail::scratch empty(pool, 0, 7);
        CHECK(empty.span().size() == 0);
    }
    const std::size_t held = pool.bytes();
    CHECK(held == 225 * sizeof(float));
    {
        // The smallest that is large enough, so that the other stays for the next.
        nsvd::detail::scratch small(pool, 4, 6);
        CHECK(pool.bytes() == 200 * sizeof(float));
        nsvd::detail::scratch large(pool, 15, 10);
        CHECK(pool.bytes() == 0);
    }
    CHECK(pool.bytes() == held);
    { const nsvd::detail::scratch larger(pool, 30, 30); }
    CHECK(pool.bytes() == 925 * sizeof(float));
    pool.release();
    CHECK(pool.bytes() == 0);
}

TEST_CASE("accuracy: fewer tokens than features", "[accuracy]") {
    for (const auto& [m, n] : {std::pair<Index, Index>{520, 600}, std::pair<Index, Index>{600, 520}})
        for (const Index tokens : {Index{80}, n - 60}) {
            const std::uint64_t seed = 1100 + static_cast<std::uint64_t>(tokens);
            generator g(seed);
            const layer plain = plain_layer(g, m, n, falling(std::min(m, n)));
            const MatrixXd x =
                support::cosines(g, n).leftCols(tokens) * support::geometric(tokens, 10.0).asDiagonal();
            const Eigen::MatrixXf w = plain.w.cast<float>();
            const MatrixXd exact = w.cast<double>();
            const VectorXd values = support::singular_values_of(product(exact, x)).cwiseAbs2();
            const auto calib = calibrated(x);
            for (const Index k : {Index{40}, Index{180}}) {
                CAPTURE(m, n, tokens, k, seed);
                const auto d = nsvd::asvd(w, calib, nsvd::rank{k});
                CHECK(d.info.status == nsvd::status::singular_metric);
                REQUIRE(d.rank() == k);
                CHECK(d.info.numerical_rank == std::min(m, tokens));
                const MatrixXd q = support::householder_basis(d.left.cast<double>());
                const MatrixXd rest = support::residual_after(exact, q);
                const double weighted = product(rest, x).squaredNorm();
                const double optimum = k < values.size() ? values.tail(values.size() - k).sum() : 0.0;
                CAPTURE(d.info.solver, weighted, optimum);
                CHECK(weighted <= (1.0 + 2.1e-6) * optimum + 4.0 * single * single * values.sum());
                if (k <= tokens) continue;
                // The rest of the rank does what it can for W itself.
                REQUIRE(d.info.stages.size() >= 2);
                const Index first = d.info.stages[0].rank;
                CHECK(first == tokens);
                const MatrixXd after = support::residual_after(
                    exact, support::householder_basis(d.left.leftCols(first).cast<double>()));
                const VectorXd left = support::singular_values_of(after).cwiseAbs2();
                CHECK(rest.squaredNorm() <= (1.0 + 2.1e-6) * left.tail(left.size() - (k - first)).sum());
            }
        }
}
