// SPDX-License-Identifier: MIT
// The interpolative decomposition alone, against a recomputed product and Eigen's pivoted QR.
#include "support/catch.hpp"
#include "support/naive.hpp"
#include "support/random.hpp"

#include <nsvd/nsvd.hpp>

#include <Eigen/QR>

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

using Eigen::Index;
using Eigen::MatrixXd;
using support::gaussian;

namespace {

MatrixXd columns_of(const MatrixXd& a, const nsvd::interpolative_decomposition& d) {
    MatrixXd result(a.rows(), d.rank());
    for (Index j = 0; j < d.rank(); ++j)
        result.col(j) = a.col(d.columns[static_cast<std::size_t>(j)]);
    return result;
}

/// What holds for every interpolative decomposition.
void check_decomposition(const MatrixXd& a, const nsvd::interpolative_decomposition& d) {
    REQUIRE(d.coefficients.rows() == d.rank());
    REQUIRE(d.coefficients.cols() == a.cols());
    const std::set<Index> distinct(d.columns.begin(), d.columns.end());
    CHECK(static_cast<Index>(distinct.size()) == d.rank());
    REQUIRE(*distinct.begin() >= 0);
    REQUIRE(*distinct.rbegin() < a.cols());
    for (Index j = 0; j < d.rank(); ++j)
        CHECK(d.coefficients.col(d.columns[static_cast<std::size_t>(j)]) ==
              MatrixXd::Identity(d.rank(), d.rank()).col(j));
    CHECK(d.coefficients.allFinite());
    const double error = (a - columns_of(a, d) * d.coefficients).norm() / std::max(a.norm(), 1e-300);
    CHECK(d.error == Approx(error).margin(1e-13).epsilon(1e-6));
    CHECK(error * a.norm() >= support::best_error(a, d.rank()) * (1 - 1e-12));
}

/// The error of Eigen's column-pivoted QR cut at k: ‖R₂₂‖ / ‖A‖.
double eigen_error(const MatrixXd& a, Index k) {
    const Eigen::ColPivHouseholderQR<MatrixXd> qr(a);
    const MatrixXd r = qr.matrixR().template triangularView<Eigen::Upper>();
    return r.bottomRightCorner(r.rows() - k, r.cols() - k).norm() / a.norm();
}

}  // namespace

TEST_CASE("interpolative: columns of A, an identity block, and the error that is reported",
          "[interpolative]") {
    for (const auto& [m, n] : {std::pair(8, 13), std::pair(13, 8), std::pair(9, 9), std::pair(1, 6),
                               std::pair(6, 1), std::pair(1, 1)}) {
        const MatrixXd a = gaussian(m, n, 1);
        for (Index k = 1; k <= std::min(m, n); ++k) {
            CAPTURE(m, n, k);
            const auto d = nsvd::interpolative(a, nsvd::rank{k});
            REQUIRE(d.rank() == k);
            check_decomposition(a, d);
            CHECK(d.numerical_rank == k);
            CHECK(d.status == nsvd::status::ok);
        }
    }
}

TEST_CASE("interpolative: the same error as Eigen's pivoted QR cut at k", "[interpolative]") {
    const MatrixXd a = support::with_spectrum(30, 40, support::geometric(30, 1.0, 0.7), 11);
    for (const Index k : {1, 3, 10, 20, 29}) {
        CAPTURE(k);
        const auto d = nsvd::interpolative(a, nsvd::rank{k});
        CHECK(d.error == Approx(eigen_error(a, k)).epsilon(1e-8));
        check_decomposition(a, d);
        // Least squares on the chosen columns can't be better.
        const MatrixXd chosen = columns_of(a, d);
        const MatrixXd best = Eigen::HouseholderQR<MatrixXd>(chosen).solve(a);
        CHECK((d.coefficients - best).norm() <= 1e-6 * best.norm());
    }
}

TEST_CASE("interpolative: the first pivot is the longest column", "[interpolative]") {
    MatrixXd a = gaussian(6, 10, 21);
    a.col(7) *= 20.0;
    CHECK(nsvd::interpolative(a, nsvd::rank{1}).columns.front() == 7);
    CHECK(nsvd::interpolative(a, nsvd::rank{5}).columns.front() == 7);
}

TEST_CASE("interpolative: beyond the rank of A the product stays exact", "[interpolative]") {
    const MatrixXd a = gaussian(10, 3, 31) * gaussian(3, 12, 32);
    for (const Index k : {3, 4, 7, 10}) {
        CAPTURE(k);
        const auto d = nsvd::interpolative(a, nsvd::rank{k});
        check_decomposition(a, d);
        CHECK(d.rank() == k);
        CHECK(d.numerical_rank == 3);
        CHECK(d.error <= 1e-14);
        CHECK(d.status == (k > 3 ? nsvd::status::rank_deficient : nsvd::status::ok));
    }
    const MatrixXd zero = MatrixXd::Zero(4, 5);
    const auto d = nsvd::interpolative(zero, nsvd::rank{3});
    check_decomposition(zero, d);
    CHECK(d.numerical_rank == 0);
    CHECK(d.error == 0.0);
    CHECK(d.status == nsvd::status::rank_deficient);
}

TEST_CASE("interpolative: duplicated columns are chosen once", "[interpolative]") {
    MatrixXd a(6, 9);
    a.leftCols(3) = gaussian(6, 3, 41);
    a.middleCols(3, 3) = a.leftCols(3);
    a.rightCols(3) = -2.0 * a.leftCols(3);
    const auto d = nsvd::interpolative(a, nsvd::rank{3});
    check_decomposition(a, d);
    CHECK(d.error <= 1e-15);
    std::set<Index> classes;
    for (const Index j : d.columns) {
        CHECK(j >= 6);  // the longest of each class
        classes.insert(j % 3);
    }
    CHECK(classes.size() == 3);
    check_decomposition(a, nsvd::interpolative(a, nsvd::rank{6}));
}

TEST_CASE("interpolative: every policy picks its rank", "[interpolative]") {
    const MatrixXd a = support::with_spectrum(20, 25, support::geometric(20, 1.0, 0.6), 51);
    for (const double bound : {0.5, 0.1, 1e-3, 1e-6}) {
        CAPTURE(bound);
        const auto d = nsvd::interpolative(a, nsvd::tolerance{bound});
        check_decomposition(a, d);
        CHECK(d.error <= bound * (1 + 1e-9));
        CHECK(nsvd::interpolative(a, nsvd::rank{d.rank() - 1}).error > bound);
        const auto e = nsvd::interpolative(a, nsvd::energy{1.0 - bound * bound});
        CHECK(e.rank() == d.rank());
    }
    CHECK(nsvd::interpolative(a, nsvd::compression{0.5}).rank() == 5);  // floor(0.5·500/45)
    const auto third = [](const nsvd::shape& s) { return s.rows / 3; };
    CHECK(nsvd::interpolative(a, third).rank() == 6);
    double total = 0.0;
    const auto look = [&](const nsvd::spectrum& values, const nsvd::shape& s) {
        CHECK(values.size() == static_cast<std::size_t>(s.full_rank()));
        total = values.total();
        return Index{4};
    };
    CHECK(nsvd::interpolative(a, look).rank() == 4);
    CHECK(total == Approx(a.squaredNorm()).epsilon(1e-12));
}

TEST_CASE("interpolative: scale does not matter", "[interpolative]") {
    const MatrixXd a = gaussian(9, 14, 61);
    const auto plain = nsvd::interpolative(a, nsvd::rank{5});
    for (const double scale : {1e-300, 1e-100, 1e100, 1e300, 0x1p-40}) {
        CAPTURE(scale);
        const auto d = nsvd::interpolative(scale * a, nsvd::rank{5});
        CHECK(d.columns == plain.columns);
        CHECK(d.coefficients.isApprox(plain.coefficients, 1e-12));
        CHECK(d.error == Approx(plain.error).epsilon(1e-12));
    }
    const auto by_float = nsvd::interpolative(a.cast<float>(), nsvd::rank{5});
    CHECK(by_float.columns == plain.columns);
    CHECK(by_float.coefficients.isApprox(plain.coefficients, 1e-5));
}

TEST_CASE("interpolative: graded matrices keep every digit of their scale", "[interpolative]") {
    // Columns from 1 to 1e-12: the remainder must not drown in the rounding of the first ones.
    MatrixXd a = gaussian(8, 8, 71);
    for (Index j = 0; j < 8; ++j)
        a.col(j) *= std::pow(10.0, -1.5 * static_cast<double>(j));
    for (Index k = 1; k < 8; ++k) {
        const auto d = nsvd::interpolative(a, nsvd::rank{k});
        CAPTURE(k);
        const MatrixXd rest = a - columns_of(a, d) * d.coefficients;
        CHECK(d.error * a.norm() == Approx(rest.norm()).epsilon(1e-3));
        CHECK(d.error * a.norm() == Approx(eigen_error(a, k) * a.norm()).epsilon(1e-3));
    }
}

TEST_CASE("interpolative: columns that are almost one keep what they differ by", "[interpolative]") {
    // After the first pivot all norms have fallen by nine decades, below the rounding of what they were.
    for (const std::uint64_t seed : {71U, 72U, 73U}) {
        const Eigen::MatrixXd a = support::gaussian(30, 1, seed) * support::gaussian(1, 20, seed + 10) +
                                  1e-9 * support::gaussian(30, 20, seed + 20);
        const auto d = nsvd::interpolative(a, nsvd::rank{20});
        CAPTURE(seed, d.numerical_rank);
        CHECK(d.numerical_rank == 20);
        CHECK(d.status == nsvd::status::ok);
    }
}
