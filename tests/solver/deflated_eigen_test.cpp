// SPDX-License-Identifier: MIT
// The solver on spectra that a single Gram matrix can't resolve, against the singular values they were made
// with.
#include "support/catch.hpp"
#include "support/generate.hpp"
#include "support/reference_svd.hpp"

#include <nsvd/solver/deflated_eigen.hpp>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <utility>
#include <vector>

namespace {

using Eigen::Index;
using Eigen::MatrixXd;
using Eigen::VectorXd;
using solver = nsvd::detail::deflated_eigen<double>;

constexpr double eps = std::numeric_limits<double>::epsilon();
constexpr double tiny = std::numeric_limits<double>::min();  // 0/0 = 0

double floor_of(const MatrixXd& a) {
    return nsvd::detail::rounding_floor(a.rows(), a.cols(), a.norm());
}

/// ‖A − Q Qᵀ A‖_F, projected twice so that it is right far below eps·‖A‖.
double residual(const MatrixXd& a, const MatrixXd& q) {
    MatrixXd rest = a - q * (q.transpose() * a);
    rest -= q * (q.transpose() * rest);
    return rest.norm();
}

double deviation_from_orthonormal(const MatrixXd& q) {
    return (q.transpose() * q - MatrixXd::Identity(q.cols(), q.cols())).cwiseAbs().maxCoeff();
}

const std::vector<std::pair<Index, Index>> shapes{{48, 48}, {30, 75}, {75, 30}, {1, 40}, {40, 1}, {2, 3}};

}  // namespace

// Directions accepted near √eps·λ₁ are off by √eps: without a power step before the next pass they leak
// eps^¾·σ₁ = 2e-12·σ₁ into it, which steep and deficient spectra show, here and in the two cases below.
TEST_CASE("every leading subspace of a hard spectrum is optimal", "[solver]") {
    std::uint64_t seed = 100;
    for (const auto& [m, n] : shapes)
        for (const auto kind : support::all_spectra) {
            support::generator g(++seed);
            const Index side = std::min(m, n);
            const VectorXd exact = support::make_spectrum(kind, side);
            const MatrixXd a = g.with_spectrum(m, n, exact);
            const solver s(a, floor_of(a), side);
            CAPTURE(seed, m, n, support::name_of(kind), s.resolved());
            REQUIRE(s.converged());
            REQUIRE(s.spectrum().size() == side);
            for (Index k = 0; k <= s.resolved(); ++k) {
                CAPTURE(k);
                const MatrixXd q = s.leading(k);
                if (k > 0) CHECK(deviation_from_orthonormal(q) / eps <= 100.0);
                const double optimum = exact.tail(side - k).norm();
                const double excess = residual(a, q) - optimum;
                CAPTURE(optimum);
                // What lies at the rounding of A itself can't be told from it: 20·eps·‖A‖ are allowed.
                CHECK(std::abs(excess) / (1e-7 * optimum + 20 * eps * a.norm() + tiny) <= 1.0);
            }
        }
}

TEST_CASE("the spectrum is right to rounding of its largest value", "[solver]") {
    std::uint64_t seed = 200;
    for (const auto& [m, n] : shapes)
        for (const auto kind : support::all_spectra) {
            support::generator g(++seed);
            const Index side = std::min(m, n);
            const VectorXd exact = support::make_spectrum(kind, side);
            const MatrixXd a = g.with_spectrum(m, n, exact);
            const solver s(a, floor_of(a), side);
            CAPTURE(seed, m, n, support::name_of(kind));
            for (Index i = 0; i < side; ++i) {
                const double found = std::sqrt(s.spectrum()(i));
                CAPTURE(i, exact(i), found);
                // σ² has the error c·eps·λ₁ of the eigenproblem that found it, λ₁ the largest left by then;
                // an eigenvalue is accepted above √eps·λ₁ only. So: c·eps·σ₁² in σ², and in σ 1e-7 of itself
                // as long as it is above rounding.
                const double units = (found * found - exact(i) * exact(i)) / (eps * exact(0) * exact(0));
                if (exact(0) > 0.0) CHECK(std::abs(units) <= 50.0);
                CHECK(std::abs(found - exact(i)) / (1e-7 * exact(i) + 20 * eps * exact(0) + tiny) <= 1.0);
                if (i > 0) CHECK(s.spectrum()(i) <= s.spectrum()(i - 1));
            }
        }
}

TEST_CASE("singular values that are rounding count as zero", "[solver]") {
    std::uint64_t seed = 300;
    for (const auto& [m, n] : shapes) {
        if (std::min(m, n) < 3) continue;
        // Down to the threshold at which an eigenpair is accepted (1.2e-4), and across several of them.
        for (const double condition : {1.0, 10.0, 1e3, 1e4, 3e4, 1e6, 1e9}) {
            support::generator g(++seed);
            const Index side = std::min(m, n);
            const Index rank = 2 * side / 3;
            const MatrixXd a = g.with_spectrum(m, n, support::geometric(rank, condition));
            const solver s(a, floor_of(a), side);
            CAPTURE(seed, m, n, rank, condition, s.spectrum().transpose().cwiseSqrt());
            CHECK(s.resolved() == rank);
            CHECK(s.spectrum().tail(side - rank).isZero(0.0));
        }
    }
}

TEST_CASE("a floor of the caller's own cuts the spectrum", "[solver]") {
    support::generator g(400);
    VectorXd values(6);
    values << 1.0, 0.5, 1e-3, 2e-6, 1e-9, 1e-10;
    const MatrixXd a = g.with_spectrum(20, 9, values);
    CHECK(solver(a, 1e-2, 9).resolved() == 2);
    CHECK(solver(a, 1e-6, 9).resolved() == 4);
    CHECK(solver(a, 5e-10, 9).resolved() == 5);
    CHECK(solver(MatrixXd::Zero(5, 8), 0.0, 5).resolved() == 0);
    CHECK(solver(MatrixXd::Zero(5, 8), 0.0, 5).spectrum().isZero(0.0));
    CHECK(solver(MatrixXd(5, 0), 0.0, 0).resolved() == 0);
    CHECK(solver(MatrixXd(5, 0), 0.0, 0).leading(0).rows() == 5);
}

TEST_CASE("beyond 1024 as much is resolved as is wanted", "[solver]") {
    // A block-diagonal matrix whose spectrum needs no other solver: random blocks of 4, scaled over 9
    // decades.
    support::generator g(500);
    const Index side = solver::resolve_all_up_to + 4;
    const Index blocks = side / 4;
    MatrixXd a = MatrixXd::Zero(side, side + 4);
    VectorXd exact(side);
    for (Index b = 0; b < blocks; ++b) {
        const double scale = std::pow(10.0, -9.0 * static_cast<double>(b) / static_cast<double>(blocks - 1));
        const MatrixXd block = scale * g.gaussian(4, 4);
        a.block(4 * b, 4 * b, 4, 4) = block;
        exact.segment(4 * b, 4) = support::jacobi_singular_values(block);
    }
    std::sort(exact.begin(), exact.end(), std::greater<>());
    for (const Index wanted : {Index{100}, Index{700}}) {
        const solver s(a, floor_of(a), wanted);
        CAPTURE(wanted, s.resolved());
        REQUIRE(s.resolved() >= wanted);
        CHECK(s.resolved() < side);
        const MatrixXd q = s.leading(wanted);
        CHECK(deviation_from_orthonormal(q) <= 200 * eps);
        CHECK(residual(a, q) == Approx(exact.tail(side - wanted).norm()).epsilon(1e-6));
        CHECK(std::sqrt(s.spectrum().tail(side - wanted).sum()) ==
              Approx(exact.tail(side - wanted).norm()).epsilon(1e-6));
    }
}
