// SPDX-License-Identifier: MIT
// Factors S with S Sᵀ = M, alone.
#include "support/catch.hpp"
#include "support/expect_error.hpp"
#include "support/naive.hpp"
#include "support/random.hpp"

#include <nsvd/whitening.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <string_view>

using Eigen::Index;
using Eigen::MatrixXd;
using nsvd::whitening;
using support::expect_error;
using support::gaussian;

namespace {

constexpr double eps = std::numeric_limits<double>::epsilon();

/// max |(S Sᵀ)_ij − m_ij| / √(m_ii m_jj), in long double; entries of zero channels must be 0.
double factor_error(const MatrixXd& s, const MatrixXd& m) {
    const support::MatrixXl wide = s.cast<long double>();
    const support::MatrixXl difference = wide * wide.transpose() - m.cast<long double>();
    long double worst = 0;
    for (Index j = 0; j < m.cols(); ++j)
        for (Index i = 0; i < m.rows(); ++i) {
            const long double unit =
                std::sqrt(static_cast<long double>(m(i, i))) * std::sqrt(static_cast<long double>(m(j, j)));
            worst =
                std::max(worst, unit > 0 ? std::abs(difference(i, j)) / unit : std::abs(difference(i, j)));
        }
    return static_cast<double>(worst);
}

/// A Gram matrix of full rank and moderate condition.
MatrixXd gram(Index n, std::uint64_t seed) {
    const MatrixXd x = gaussian(n, 4 * n, seed);
    return x * x.transpose();
}

/// apply, apply_right, solve and solve_right do what the dense factor says.
void check_operations(const nsvd::whitening_factor& f, bool invertible) {
    const MatrixXd s = f.dense();
    REQUIRE(s.rows() == f.size());
    REQUIRE(s.cols() == f.cols());
    const MatrixXd x = gaussian(s.cols(), 3, 901);
    const MatrixXd w = gaussian(4, s.rows(), 902);
    CHECK(f.apply(x).isApprox(s * x, 1e-13));
    CHECK(f.apply_right(w).isApprox(w * s, 1e-13));
    if (!invertible) return;
    CHECK(f.solve(s * x).isApprox(x, 1e-9));
    const MatrixXd a = gaussian(4, s.cols(), 903);
    CHECK((f.solve_right(a) * s).isApprox(a, 1e-9));
}

}  // namespace

TEST_CASE("whitening: S Sᵀ = M for Cholesky, eigen and diagonal factors", "[whitening]") {
    for (const Index n : {1, 2, 7, 40}) {
        CAPTURE(n);
        const MatrixXd m = gram(n, 1);
        const auto cholesky = nsvd::cholesky_factor(m);
        CHECK(factor_error(cholesky.dense(), m) <= 10 * static_cast<double>(n) * eps);
        CHECK(cholesky.dense().isLowerTriangular(0.0));
        CHECK(cholesky.kind == whitening::cholesky);
        CHECK(cholesky.rank == n);
        CHECK(cholesky.ridge == 0.0);
        CHECK(cholesky.converged);
        check_operations(cholesky, true);
        const auto eigen = nsvd::eigen_factor(m);
        CHECK(factor_error(eigen.dense(), m) <= 50 * static_cast<double>(n) * eps);
        CHECK(eigen.kind == whitening::eigen);
        CHECK(eigen.rank == n);
        CHECK(eigen.cols() == n);
        CHECK(eigen.ridge == 0.0);
        check_operations(eigen, true);
        const Eigen::VectorXd s = gaussian(n, 1, 2).cwiseAbs();
        const auto diagonal = nsvd::diagonal_factor(s);
        CHECK(diagonal.dense() == MatrixXd(s.asDiagonal()));
        CHECK(diagonal.rank == n);
        check_operations(diagonal, true);
    }
}

TEST_CASE("whitening: activations become white", "[whitening]") {
    const MatrixXd x = support::activations(9, 200, 11, 1e6);
    const MatrixXd m = x * x.transpose();
    for (const auto& f : {nsvd::cholesky_factor(m), nsvd::eigen_factor(m)}) {
        const MatrixXd white = f.solve(x);
        CHECK((white * white.transpose()).isApprox(MatrixXd::Identity(9, 9), 1e-9));
    }
}

TEST_CASE("whitening: scale of the whole and of single channels costs nothing", "[whitening]") {
    const MatrixXd m = gram(10, 21);
    const auto plain = nsvd::cholesky_factor(m);
    for (const double scale : {1e-200, 1e200, 1e-300, 1e300}) {
        CAPTURE(scale);
        for (const auto& f : {nsvd::cholesky_factor(scale * m), nsvd::eigen_factor(scale * m)}) {
            CHECK(factor_error(f.dense(), scale * m) <= 1e-13);
            CHECK(f.rank == 10);
            CHECK(f.ridge == 0.0);
        }
        CHECK(nsvd::cholesky_factor(scale * m).dense().isApprox(std::sqrt(scale) * plain.dense(), 1e-13));
    }
    for (const double outlier : {1e6, 1e-6, 1e60}) {
        CAPTURE(outlier);
        Eigen::VectorXd channels = Eigen::VectorXd::Ones(10);
        channels(3) = outlier;
        channels(7) = 1 / outlier;
        const MatrixXd scaled = channels.asDiagonal() * m * channels.asDiagonal();
        for (const auto& f : {nsvd::cholesky_factor(scaled), nsvd::eigen_factor(scaled)}) {
            CHECK(factor_error(f.dense(), scaled) <= 1e-13);
            CHECK(f.rank == 10);
            CHECK(f.ridge == 0.0);
        }
    }
}

TEST_CASE("whitening: a singular M gets the ridge it needs and no more", "[whitening]") {
    for (const Index rank : {1, 5, 11}) {
        CAPTURE(rank);
        const MatrixXd x = gaussian(12, rank, 31);
        const MatrixXd m = x * x.transpose();
        const auto eigen = nsvd::eigen_factor(m);
        CHECK(eigen.rank == rank);
        CHECK(eigen.cols() == rank);
        CHECK(eigen.ridge == 0.0);
        CHECK(factor_error(eigen.dense(), m) <= 1e-13);
        check_operations(eigen, true);  // S⁺ S = I on the r columns
        const auto cholesky = nsvd::cholesky_factor(m);
        CHECK(cholesky.rank == rank);
        CHECK(cholesky.ridge > 0.0);
        CHECK(cholesky.ridge < 1e-10);
        MatrixXd ridged = m;
        ridged.diagonal() *= 1.0 + cholesky.ridge;
        CHECK(factor_error(cholesky.dense(), ridged) <= 1e-14);
        check_operations(cholesky, false);
        // Relative: another scale needs the same ridge.
        CHECK(nsvd::cholesky_factor(0x1p40 * m).ridge == cholesky.ridge);
        CHECK(nsvd::cholesky_factor(0x1p-400 * m).ridge == cholesky.ridge);
        // A metric for a decomposition leaves the null space out.
        CHECK(nsvd::whiten(m).kind == whitening::eigen);
        CHECK(nsvd::whiten(m).cols() == rank);
    }
    CHECK(nsvd::whiten(gram(5, 32)).kind == whitening::cholesky);
    CHECK(nsvd::whiten(gram(5, 32), whitening::eigen).kind == whitening::eigen);
}

TEST_CASE("whitening: a slightly indefinite M gets a ridge to match", "[whitening]") {
    for (const double least : {1e-12, 1e-9, 1e-7}) {
        CAPTURE(least);
        // Eigenvalues −least and 2 + least, on a diagonal of ones.
        const MatrixXd m = (MatrixXd(2, 2) << 1.0, 1.0 + least, 1.0 + least, 1.0).finished();
        const auto f = nsvd::cholesky_factor(m);
        CHECK(f.ridge > least);
        CHECK(f.ridge < 11.0 * least);
        CHECK(f.rank == 1);
        MatrixXd ridged = m;
        ridged.diagonal() *= 1.0 + f.ridge;
        CHECK(factor_error(f.dense(), ridged) <= 1e-14);
    }
}

TEST_CASE("whitening: the condition number is that of the factor", "[whitening]") {
    // Of equilibrated M, 1 in the 1-norm is within n of that in the 2-norm; its root that of S.
    for (const double least : {1e-2, 1e-4, 1e-8}) {
        CAPTURE(least);
        const MatrixXd m = (MatrixXd(2, 2) << 1.0, 1.0 - least, 1.0 - least, 1.0).finished();
        const double expected = std::sqrt(least / (2.0 - least));
        for (const auto& f : {nsvd::cholesky_factor(m), nsvd::eigen_factor(m)}) {
            CHECK(f.rcond >= 0.5 * expected);
            CHECK(f.rcond <= 2.0 * expected);
        }
    }
}

TEST_CASE("whitening: zero matrices and zero channels", "[whitening]") {
    const MatrixXd zero = MatrixXd::Zero(4, 4);
    for (const auto& f : {nsvd::cholesky_factor(zero), nsvd::eigen_factor(zero), nsvd::whiten(zero),
                          nsvd::diagonal_factor(Eigen::VectorXd::Zero(4))}) {
        CHECK(f.rank == 0);
        CHECK(f.size() == 4);
        CHECK((f.dense() * f.dense().transpose()).norm() == 0.0);
        CHECK(f.apply_right(gaussian(3, 4, 41)).norm() == 0.0);
        CHECK(f.solve(gaussian(4, 2, 42)).allFinite());
    }
    MatrixXd m = MatrixXd::Zero(6, 6);
    const MatrixXd small = gram(4, 43);
    for (Index j = 0; j < 4; ++j)
        for (Index i = 0; i < 4; ++i)
            m(i + 1 + i / 2, j + 1 + j / 2) = small(i, j);  // channels 0 and 3 stay zero
    for (const auto& f : {nsvd::cholesky_factor(m), nsvd::eigen_factor(m)}) {
        CHECK(f.rank == 4);
        CHECK(f.ridge == 0.0);
        CHECK(factor_error(f.dense(), m) <= 1e-13);
        CHECK(f.dense().row(0).norm() == 0.0);
        CHECK(f.dense().row(3).norm() == 0.0);
        const MatrixXd x = gaussian(6, 3, 44);
        MatrixXd projected = x;
        projected.row(0).setZero();
        projected.row(3).setZero();
        CHECK(f.apply(f.solve(x)).isApprox(projected, 1e-10));
    }
}

TEST_CASE("whitening: 1×1, float and expressions", "[whitening]") {
    for (const double value : {4.0, 1e-300, 1e300, 3.0}) {
        const Eigen::Matrix<double, 1, 1> m(value);
        CHECK(nsvd::cholesky_factor(m).dense()(0, 0) == Approx(std::sqrt(value)).epsilon(1e-15));
        CHECK(std::abs(nsvd::eigen_factor(m).dense()(0, 0)) == Approx(std::sqrt(value)).epsilon(1e-15));
    }
    const Eigen::MatrixXf m = gram(6, 51).cast<float>();
    const MatrixXd wide = m.cast<double>();
    CHECK(nsvd::cholesky_factor(m).dense() == nsvd::cholesky_factor(wide).dense());
    CHECK(nsvd::cholesky_factor(wide.transpose() + wide).dense() ==
          nsvd::cholesky_factor(MatrixXd(2.0 * wide)).dense());
    CHECK(nsvd::eigen_factor(m.block(1, 1, 4, 4)).dense() ==
          nsvd::eigen_factor(MatrixXd(wide.block(1, 1, 4, 4))).dense());
}

TEST_CASE("whitening: what is no metric throws", "[whitening]") {
    const auto refused = [](const MatrixXd& m, std::initializer_list<std::string_view> words) {
        expect_error([&] { (void)nsvd::cholesky_factor(m); }, words);
        expect_error([&] { (void)nsvd::eigen_factor(m); }, words);
        expect_error([&] { (void)nsvd::whiten(m); }, words);
    };
    refused(gaussian(3, 4, 61), {"M", "3×4", "square"});
    MatrixXd m = gram(3, 62);
    m(0, 2) *= 1.001;
    refused(m, {"M(", "symmetric"});
    m = gram(3, 62);
    m(1, 1) = -m(1, 1);
    refused(m, {"M(1, 1) = -", "semi-definite"});
    refused((MatrixXd(2, 2) << 1, 2, 2, 1).finished(), {"M(", "2", "semi-definite"});
    refused((MatrixXd(2, 2) << 0, 1, 1, 4).finished(), {"M(", "semi-definite"});
    expect_error([] { (void)nsvd::diagonal_factor(Eigen::Vector2d(1.0, -3.0)); }, {"s", "-3"});
    expect_error([] { (void)nsvd::diagonal_factor(MatrixXd::Ones(3, 2)); }, {"diagonal_factor", "2 columns"});
    const auto f = nsvd::cholesky_factor(gram(3, 63));
    expect_error([&] { (void)f.apply(MatrixXd::Ones(2, 5)); }, {"apply", "x", "2", "3"});
    expect_error([&] { (void)f.apply_right(MatrixXd::Ones(5, 2)); }, {"apply_right", "w", "2", "3"});
    expect_error([&] { (void)f.solve(MatrixXd::Ones(2, 5)); }, {"solve", "x", "2", "3"});
    expect_error([&] { (void)f.solve_right(MatrixXd::Ones(5, 2)); }, {"solve_right", "a", "2", "3"});
}

TEST_CASE("whitening: an indefinite matrix whose 2×2 minors are all positive throws", "[whitening]") {
    MatrixXd m = MatrixXd::Constant(3, 3, -0.9);  // eigenvalues 1.9, 1.9, −0.8
    m.diagonal().setOnes();
    expect_error([&] { (void)nsvd::cholesky_factor(m); }, {"M", "semi-definite"});
    expect_error([&] { (void)nsvd::eigen_factor(m); }, {"M", "semi-definite"});
    expect_error([&] { (void)nsvd::whiten(m); }, {"M", "semi-definite"});
}
