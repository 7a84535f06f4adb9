// SPDX-License-Identifier: MIT
// Block Lanczos against all eigenvalues in double of the same operator.
#include "support/catch.hpp"
#include "support/exact.hpp"
#include "support/generate.hpp"

#include <nsvd/solver/block_krylov.hpp>

#include <Eigen/Eigenvalues>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

namespace {

using Eigen::Index;
using Eigen::MatrixXd;
using Eigen::MatrixXf;
using Eigen::VectorXd;
using nsvd::detail::eigen_estimate;
using nsvd::detail::krylov_limits;
using support::generator;

constexpr double single = std::numeric_limits<float>::epsilon();
// Eigen's implicit QR gathers the rounding of all its rotations.
#if defined(NSVD_USE_LAPACK)
constexpr double of_backend = 1.0;
#else
constexpr double of_backend = 5.0;
#endif

/// A symmetric matrix with these eigenvalues, as the iteration sees it.
MatrixXf with_eigenvalues(generator& g, const VectorXd& values) {
    const MatrixXd q = support::cosines(g, values.size());
    return (q * values.asDiagonal() * q.transpose()).cast<float>();
}

VectorXd exact_eigenvalues(const MatrixXf& g) {
    const Eigen::SelfAdjointEigenSolver<MatrixXd> solver(g.cast<double>(), Eigen::EigenvaluesOnly);
    return solver.eigenvalues().reverse();
}

eigen_estimate iterate(const MatrixXf& g, Index k, const krylov_limits& limits, nsvd::workspace& pool,
                       int* products = nullptr) {
    const auto apply = [&](nsvd::detail::dense_out<float> y, nsvd::detail::dense_ref<float> x) {
        y.matrix().noalias() = g.selfadjointView<Eigen::Lower>() * x.matrix();
        if (products != nullptr) *products += static_cast<int>(x.cols());
    };
    return nsvd::detail::block_krylov(apply, g.rows(), k, limits, pool);
}

eigen_estimate iterate(const MatrixXf& g, Index k, const krylov_limits& limits) {
    nsvd::workspace pool;
    return iterate(g, k, limits, pool);
}

krylov_limits limits_for(const MatrixXf& g, Index k, Index block, double tolerance) {
    return {.block = block,
            .first_check = 2 * k,
            .largest = g.rows(),
            .tolerance = tolerance,
            .total = g.cast<double>().trace()};
}

/// What holds of any answer: orthonormal vectors, Ritz values that are their Rayleigh quotients and not above
/// the eigenvalues, residuals that are the vectors' own.
void check_pairs(const MatrixXf& g, const VectorXd& exact, const eigen_estimate& found, Index k) {
    REQUIRE(found.vectors.rows() == g.rows());
    REQUIRE(found.vectors.cols() == k);
    REQUIRE(found.values.size() >= k);
    REQUIRE(found.residuals.size() == k);
    REQUIRE(found.vectors.allFinite());
    CHECK(found.dimension <= g.rows());
    const MatrixXd v = found.vectors.cast<double>();
    CHECK((v.transpose() * v - MatrixXd::Identity(k, k)).cwiseAbs().maxCoeff() <= of_backend * 100 * single);
    const double noise = of_backend * 50 * single * exact(0);
    const MatrixXd product = g.cast<double>() * v;
    const VectorXd quotients = (v.transpose() * product).diagonal();
    CHECK((quotients - found.values.head(k)).cwiseAbs().maxCoeff() <= noise);
    CHECK((found.values.head(k) - exact.head(k)).maxCoeff() <= noise);
    const MatrixXd difference = product - v * found.values.head(k).asDiagonal();
    for (Index i = 0; i < k; ++i) {
        CAPTURE(i, found.values(i), exact(i));
        CHECK(std::abs(difference.col(i).norm() - std::sqrt(found.residuals(i))) <= noise);
        if (i > 0) CHECK(found.values(i) <= found.values(i - 1));
    }
}

/// By how much the eigenvalues' sum exceeds that of what was found, over the sum of those not wanted.
double shortfall(const VectorXd& exact, const eigen_estimate& found, Index k) {
    return (exact.head(k).sum() - found.values.head(k).sum()) / exact.tail(exact.size() - k).sum();
}

VectorXd falling(Index size) {
    return support::geometric(size, 100.0).array() + 0.05;
}

}  // namespace

TEST_CASE("block Krylov: leading eigenpairs of dense matrices", "[solver][krylov]") {
    std::uint64_t seed = 100;
    for (const Index side : {90, 200})
        for (const auto kind : {support::shape_of_spectrum::ordinary, support::shape_of_spectrum::clustered,
                                support::shape_of_spectrum::pairs, support::shape_of_spectrum::step,
                                support::shape_of_spectrum::deficient, support::shape_of_spectrum::steep,
                                support::shape_of_spectrum::outliers, support::shape_of_spectrum::flat}) {
            generator g(++seed);
            const MatrixXf a = with_eigenvalues(g, support::make_spectrum(kind, side));
            const VectorXd exact = exact_eigenvalues(a);
            // Of equal eigenvalues a Krylov space has no more than a block.
            const Index k = side / 8;
            const Index block = 32;
            for (const double tolerance : {1e-2, 1e-3, 1e-5}) {
                CAPTURE(seed, side, support::name_of(kind), k, block, tolerance);
                const auto found = iterate(a, k, limits_for(a, k, block, tolerance));
                check_pairs(a, exact, found, k);
                if (!found.converged) continue;
                const double noise = of_backend * 20 * single * exact.norm() / exact.tail(side - k).sum();
                CHECK(shortfall(exact, found, k) <= 3.0 * tolerance + noise);
            }
        }
}

TEST_CASE("block Krylov: the estimate of what is missing", "[solver][krylov]") {
    // Neither blind nor useless: within a factor of 3 from below (4 while much is missing) and 10 from above,
    // as long as it is above rounding.
    std::uint64_t seed = 200;
    for (const Index side : {150, 300})
        for (const Index k : {10, 30})
            for (const bool flat : {false, true}) {
                generator g(++seed);
                const MatrixXd x = g.gaussian(side, 2 * side);
                const MatrixXf a =
                    flat ? MatrixXf((x * x.transpose() / static_cast<double>(side)).cast<float>())
                         : with_eigenvalues(g, falling(side));
                const VectorXd exact = exact_eigenvalues(a);
                for (const double tolerance : {1e-1, 1e-2, 1e-3, 1e-4}) {
                    CAPTURE(seed, side, k, flat, tolerance);
                    const auto found = iterate(a, k, limits_for(a, k, 8, tolerance));
                    CHECK(found.converged);
                    const double rest = a.cast<double>().trace() - found.values.head(k).sum();
                    CHECK(found.missing <= tolerance * rest);
                    const double truth = exact.head(k).sum() - found.values.head(k).sum();
                    const double noise = of_backend * 20 * single * exact.norm();
                    CAPTURE(found.dimension, truth, found.missing, noise);
                    CHECK(found.missing >= truth / (truth > 0.01 * rest ? 4.0 : 3.0) - noise);
                    CHECK(found.missing <= 10.0 * (std::max(truth, 0.0) + noise));
                }
            }
}

TEST_CASE("block Krylov: gives up where it was told to", "[solver][krylov]") {
    generator g(300);
    const Index side = 160;
    const MatrixXf a = with_eigenvalues(g, falling(side));
    const VectorXd exact = exact_eigenvalues(a);
    const Index k = 20;
    for (const Index block : {1, 8, 16, 32})
        for (const Index largest : {0, 1, 7, 20, 21, 28, 36, 48, 52, 64}) {
            CAPTURE(block, largest);
            krylov_limits limits = limits_for(a, k, block, 1e-12);
            limits.largest = largest;
            const auto found = iterate(a, k, limits);
            CHECK_FALSE(found.converged);
            CHECK(found.dimension <= std::max<Index>(largest, 0));
            if (found.vectors.size() > 0) check_pairs(a, exact, found, k);
        }
    // A space that can't be larger than the whole one, and ranks that leave no room.
    krylov_limits limits = limits_for(a, side, 32, 1e-3);
    limits.largest = 10 * side;
    CHECK_FALSE(iterate(a, side, limits).converged);
    CHECK_FALSE(iterate(a, side - 1, limits).converged);
    CHECK_FALSE(iterate(MatrixXf(a.topLeftCorner(20, 20)), 4, limits).converged);  // smaller than a block
}

TEST_CASE("block Krylov: fewer products for less", "[solver][krylov]") {
    generator g(400);
    const Index side = 200;
    const MatrixXf a = with_eigenvalues(g, falling(side));
    int before = 0;
    for (const double tolerance : {0.3, 1e-2, 1e-4}) {
        int products = 0;
        nsvd::workspace pool;
        const auto found = iterate(a, 20, limits_for(a, 20, 8, tolerance), pool, &products);
        CAPTURE(tolerance, found.dimension);
        CHECK(found.converged);
        CHECK(products >= before);
        // A product a direction, and one block to begin with.
        CHECK(products == found.dimension + 8);
        before = products;
    }
}

TEST_CASE("block Krylov: operators of small rank, the identity, zero", "[solver][krylov]") {
    const Index side = 120;
    for (const Index rank : {1, 5, 30, 60}) {
        const std::uint64_t seed = 500 + static_cast<std::uint64_t>(rank);
        generator g(seed);
        VectorXd values = VectorXd::Zero(side);
        values.head(rank) = support::geometric(rank, 10.0);
        const MatrixXf a = with_eigenvalues(g, values);
        const VectorXd exact = exact_eigenvalues(a);
        for (const Index k : {1, 4, 12}) {
            CAPTURE(seed, rank, k);
            // Whether it has converged is for rounding to say where nothing is left: only what it found
            // counts.
            const auto found = iterate(a, k, limits_for(a, k, 12, 1e-3));
            check_pairs(a, exact, found, k);
            CHECK((found.values.head(k) - exact.head(k)).cwiseAbs().maxCoeff() <=
                  100 * single + 1e-3 * exact.tail(side - k).sum());
        }
    }
    for (const float scale : {1.0F, 0.0F}) {
        CAPTURE(scale);
        const MatrixXf a = scale * MatrixXf::Identity(side, side);
        const VectorXd exact = VectorXd::Constant(side, scale);
        const auto found = iterate(a, 10, limits_for(a, 10, 16, 1e-3));
        check_pairs(a, exact, found, 10);
        CHECK((found.values.head(10) - exact.head(10)).cwiseAbs().maxCoeff() <= 100 * single);
    }
}

TEST_CASE("block Krylov: more equal eigenvalues than a block has vectors", "[solver][krylov]") {
    // Some in a block, k in the middle of them or not; the others below them by little or much; equal, or in
    // a narrow cluster. What is found is right, or said not to be.
    const Index side = 300;
    const Index k = 80;
    std::uint64_t seed = 550;
    for (const Index equal : {20, 70, 200})
        for (const double below : {0.5, 0.7, 0.98})
            for (const double width : {0.0, 3e-3})
                for (const Index block : {8, 32})
                    for (const double tolerance : {1e-3, 1e-6}) {
                        generator g(++seed);
                        VectorXd values(side);
                        values << VectorXd::LinSpaced(equal, 1.0, 1.0 - width),
                            below * support::geometric(side - equal, 100.0);
                        const MatrixXf a = with_eigenvalues(g, values);
                        CAPTURE(seed, equal, below, width, block, tolerance);
                        const auto found = iterate(a, k, limits_for(a, k, block, tolerance));
                        if (equal < block && below < 0.9) CHECK(found.converged);
                        if (!found.converged) continue;
                        CAPTURE(found.dimension, found.missing);
                        const double noise =
                            of_backend * 20 * single * values.norm() / values.tail(side - k).sum();
                        CHECK(shortfall(values, found, k) <= 3.0 * tolerance + noise);
                    }
}

TEST_CASE("block Krylov: a rank within a narrow cluster", "[solver][krylov]") {
    // The cluster is not resolved, and its residuals are as small as it is narrow.
    const Index side = 300;
    std::uint64_t seed = 780;
    for (const Index k : {12, 24, 40})
        for (const double width : {1e-3, 5e-3})
            for (const double tolerance : {1e-3, 1e-6}) {
                generator g(++seed);
                VectorXd values(side);
                values << VectorXd::LinSpaced(side / 3, 1.0, 1.0 - width),
                    0.5 * support::geometric(side - side / 3, 100.0);
                const MatrixXf a = with_eigenvalues(g, values);
                CAPTURE(seed, k, width, tolerance);
                const auto found = iterate(a, k, limits_for(a, k, 32, tolerance));
                if (tolerance == 1e-6) CHECK_FALSE(found.converged);
                if (!found.converged) continue;
                CHECK(found.missing >= 0.3 * shortfall(values, found, k) * values.tail(side - k).sum());
            }
}

TEST_CASE("block Krylov: several multiple eigenvalues", "[solver][krylov]") {
    // The spectrum of a Kronecker product with the identity.
    const Index side = 320;
    std::uint64_t seed = 800;
    for (const Index k : {24, 56, 70})
        for (const Index block : {8, 16}) {
            generator g(++seed);
            const VectorXd few = support::geometric(8, 5.0);
            VectorXd values(side);
            for (Index i = 0; i < side; ++i)
                values(i) = few(i / 40);
            const MatrixXf a = with_eigenvalues(g, values);
            CAPTURE(seed, k, block);
            const auto found = iterate(a, k, limits_for(a, k, block, 1e-5));
            if (found.converged) CHECK(shortfall(values, found, k) <= 1e-4);
        }
}

TEST_CASE("block Krylov: scale", "[solver][krylov]") {
    generator g(600);
    const Index side = 150;
    const Index k = 15;
    const MatrixXf a = with_eigenvalues(g, falling(side));
    const auto reference = iterate(a, k, limits_for(a, k, 8, 1e-4));
    REQUIRE(reference.converged);
    // Powers of two change no bit, as long as nothing leaves the range of float. Beyond it, where residuals
    // and their squares do, it may give up but not claim what is not true.
    for (const int exponent : {-20, 10, 20, -66, 66}) {
        CAPTURE(exponent);
        const MatrixXf scaled = std::ldexp(1.0F, exponent) * a;
        const auto found = iterate(scaled, k, limits_for(scaled, k, 8, 1e-4));
        if (std::abs(exponent) <= 20) {
            CHECK(found.converged);
            CHECK(found.dimension == reference.dimension);
        }
        if (!found.converged) continue;
        const VectorXd back = found.values.head(k) * std::ldexp(1.0, -exponent);
        CHECK((back - reference.values.head(k)).cwiseAbs().maxCoeff() <= 1e-3 * reference.values(0));
        const VectorXd exact = exact_eigenvalues(a);
        const double rest = exact.tail(side - k).sum();
        CHECK((exact.head(k).sum() - back.sum()) / rest <= 3e-4);
    }
}

TEST_CASE("block Krylov: the same bits again, whatever the workspace held", "[solver][krylov]") {
    generator g(700);
    const Index side = 140;
    const Index k = 18;
    const MatrixXf a = with_eigenvalues(g, falling(side));
    nsvd::workspace pool;
    const auto first = iterate(a, k, limits_for(a, k, 16, 1e-4), pool);
    CHECK(first.converged);
    CHECK(pool.bytes() >= static_cast<std::size_t>(side * first.dimension) * sizeof(float));
    {
        nsvd::detail::scratch large(pool, 4 * side, side);
        nsvd::detail::scratch small(pool, 2, 2);
        large.span().matrix().setConstant(std::numeric_limits<float>::infinity());
        small.span().matrix().setConstant(std::numeric_limits<float>::quiet_NaN());
    }
    for (int again = 0; again < 2; ++again) {
        const auto found = iterate(a, k, limits_for(a, k, 16, 1e-4), pool);
        CHECK(found.dimension == first.dimension);
        CHECK((found.vectors.array() == first.vectors.array()).all());
        CHECK((found.values.array() == first.values.array()).all());
        CHECK((found.residuals.array() == first.residuals.array()).all());
        CHECK(found.missing == first.missing);
    }
}

TEST_CASE("block Krylov: an estimated trace", "[solver][krylov]") {
    generator g(41);
    const Index side = 600;
    const Index k = 30;
    double worst = 0.0;
    for (const double decay : {0.0, 0.5, 2.0}) {
        VectorXd values(side);
        for (Index i = 0; i < side; ++i)
            values(i) = 1.0 + 50.0 * std::pow(static_cast<double>(i + 1), -decay);
        const MatrixXf a = with_eigenvalues(g, values);
        krylov_limits limits = limits_for(a, k, 32, 1e-3);
        limits.total.reset();
        const eigen_estimate found = iterate(a, k, limits);
        CAPTURE(decay, found.total, found.total_error);
        REQUIRE(found.converged);
        CHECK(found.total_error <= 0.01 * values.sum());
        // Five standard errors, and rounding.
        CHECK(std::abs(found.total - values.sum()) <= 5.0 * found.total_error + 1e-5 * values.sum());
        worst = std::max(worst, found.total_error);

        limits.total = values.sum();
        CHECK(iterate(a, k, limits).total == values.sum());
        CHECK(iterate(a, k, limits).total_error == 0.0);
    }
    CHECK(worst > 0.0);
}
