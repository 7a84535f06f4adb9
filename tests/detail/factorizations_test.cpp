// SPDX-License-Identifier: MIT
// Orthonormal bases of matrices that a Cholesky factor can't take, and eigenpairs by the tridiagonal form.
#include "support/catch.hpp"
#include "support/generate.hpp"

#include <nsvd/detail/factorizations.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <type_traits>
#include <utility>

namespace {

using Eigen::Index;
using Eigen::MatrixXd;
using Eigen::VectorXd;
using nsvd::detail::tridiagonal_eigen;
using support::generator;

template <class Scalar>
using matrix_of = Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic>;

template <class Scalar>
constexpr double eps = static_cast<double>(std::numeric_limits<Scalar>::epsilon());

// Eigen's implicit QR gathers the rounding of all its rotations.
#if defined(NSVD_USE_LAPACK)
constexpr double of_backend = 1.0;
#else
constexpr double of_backend = 5.0;
#endif

double deviation_from_orthonormal(const MatrixXd& q) {
    if (q.cols() == 0) return 0.0;
    if (!q.allFinite()) return std::numeric_limits<double>::infinity();
    return (q.transpose() * q - MatrixXd::Identity(q.cols(), q.cols())).cwiseAbs().maxCoeff();
}

/// ‖A − Q Qᵀ A‖ over ‖A‖.
double outside(const MatrixXd& a, const MatrixXd& q) {
    const double scale = a.cwiseAbs().maxCoeff();
    if (scale == 0.0) return 0.0;
    const MatrixXd b = a / scale;
    return (b - q * (q.transpose() * b)).norm() / b.norm();
}

}  // namespace

TEMPLATE_TEST_CASE("orthonormalize: well and ill-conditioned columns", "[detail]", float, double) {
    std::uint64_t seed = 0;
    for (const auto& [m, k] : {std::pair<Index, Index>{1, 1}, {40, 1}, {40, 12}, {40, 40}, {200, 64}})
        for (const double condition : {1.0, 10.0, 1e2, 1e3, 3e3, 1e4, 1e6, 1e7, 1e8, 1e12, 1e15}) {
            generator g(++seed);
            CAPTURE(seed, m, k, condition);
            const MatrixXd exact = g.with_spectrum(m, k, support::geometric(k, condition));
            const matrix_of<TestType> a = exact.cast<TestType>();
            matrix_of<TestType> q = a;
            const double estimate = nsvd::detail::orthonormalize<TestType>(q);
            REQUIRE(q.rows() == m);
            REQUIRE(q.cols() == k);
            CHECK(deviation_from_orthonormal(q.template cast<double>()) <= 50.0 * eps<TestType>);
            CHECK(outside(a.template cast<double>(), q.template cast<double>()) <= 50.0 * eps<TestType>);
            CHECK(estimate >= 0.0);
            CHECK(estimate <= 1.0);
            // An estimate of 1/κ: from above, and not useless; 0 from where it can't be had.
            if (k > 1 && condition <= 1e2) CHECK(estimate >= 0.1 / condition);
            if (k > 1 && condition * eps < TestType >> 10.0) CHECK(estimate == 0.0);
        }
}

TEMPLATE_TEST_CASE("orthonormalize: dependent columns, zero, scales", "[detail]", float, double) {
    generator g(100);
    const Index m = 50;
    const auto check = [&](const std::string& name, const matrix_of<TestType>& a, double accuracy) {
        CAPTURE(name);
        matrix_of<TestType> q = a;
        (void)nsvd::detail::orthonormalize<TestType>(q);
        CHECK(deviation_from_orthonormal(q.template cast<double>()) <= 50.0 * eps<TestType>);
        CHECK(outside(a.template cast<double>(), q.template cast<double>()) <= accuracy);
    };
    const matrix_of<TestType> a = g.gaussian(m, 8).template cast<TestType>();
    const double usual = 50.0 * eps<TestType>;
    matrix_of<TestType> b = a;
    b.col(3) = b.col(2);
    check("twice the same column", b, usual);
    b.col(0).setZero();
    check("a zero column first", b, usual);
    b.rightCols(7).setZero();
    b.col(0).setOnes();
    check("one column and zeros", b, usual);
    check("zero", matrix_of<TestType>::Zero(m, 8), usual);
    check("rank 2", (g.gaussian(m, 2) * g.gaussian(2, 8)).template cast<TestType>(), usual);
    b = a;
    b.col(5) *= TestType(1e-6);
    b.col(6) *= TestType(1e6);
    check("columns of very different length", b, usual);
    const int far = std::is_same_v<TestType, float> ? 40 : 300;
    for (const int exponent : {-far, far})
        check("2^" + std::to_string(exponent), std::ldexp(TestType(1), exponent) * a, usual);
#if defined(NSVD_USE_LAPACK)
    // Squares of these leave the range of the scalar; Eigen's reflections don't scale.
    for (const int exponent : {-2 * far, 2 * far - 20})
        check("2^" + std::to_string(exponent), std::ldexp(TestType(1), exponent) * a, usual);
#endif
    check("all columns equal", matrix_of<TestType>::Ones(m, 8), usual);
    check("identity", matrix_of<TestType>::Identity(m, 8), usual);
    matrix_of<TestType> none(m, 0);
    CHECK(nsvd::detail::orthonormalize<TestType>(none) == 1.0);
}

TEMPLATE_TEST_CASE("Cholesky QR step: declines what it can't do", "[detail]", float, double) {
    generator g(200);
    matrix_of<TestType> a = matrix_of<TestType>::Zero(20, 4);
    CHECK(nsvd::detail::cholesky_qr_step<TestType>(a) == 0.0);
    CHECK(a.isZero(TestType(0)));
    a = g.gaussian(20, 4).template cast<TestType>();
    a.col(1) = a.col(0);
    const matrix_of<TestType> before = a;
    CHECK(nsvd::detail::cholesky_qr_step<TestType>(a) == 0.0);
    CHECK((a.array() == before.array()).all());
    a.col(1) *= TestType(-0.5);
    a.col(1) += g.gaussian(20, 1).template cast<TestType>();
    const MatrixXd exact = a.template cast<double>();
    CHECK(nsvd::detail::cholesky_qr_step<TestType>(a) > 0.05);
    // a = exact L⁻ᵀ: the first column keeps its direction.
    CHECK((a.col(0).template cast<double>() - exact.col(0).normalized()).norm() <= 20 * eps<TestType>);
}

TEMPLATE_TEST_CASE("Cholesky factors in place, and two-sided products", "[detail]", float, double) {
    generator g(12);
    for (const Index n : {Index{1}, Index{2}, Index{33}, Index{150}, Index{530}}) {
        CAPTURE(n);
        const MatrixXd x = g.gaussian(n, 2 * n);
        const matrix_of<TestType> c = (x * x.transpose()).template cast<TestType>();
        // Within a larger matrix: nothing but the lower triangle is read or written.
        matrix_of<TestType> large = g.gaussian(n + 2, n + 2).template cast<TestType>();
        const matrix_of<TestType> before = large;
        large.topLeftCorner(n, n).template triangularView<Eigen::Lower>() = c;
        REQUIRE(nsvd::detail::cholesky_lower<TestType>(large.topLeftCorner(n, n)));
        const MatrixXd l = large.topLeftCorner(n, n)
                               .template triangularView<Eigen::Lower>()
                               .toDenseMatrix()
                               .template cast<double>();
        const double unit = 20.0 * static_cast<double>(n) * eps<TestType>;
        CHECK((l * l.transpose() - c.template cast<double>()).norm() <=
              unit * c.template cast<double>().norm());
        large.topLeftCorner(n, n).template triangularView<Eigen::Lower>() =
            before.topLeftCorner(n, n).template triangularView<Eigen::Lower>();
        CHECK(large == before);

        if constexpr (std::is_same_v<TestType, float>) {
            const MatrixXd y = g.gaussian(n, n);
            const MatrixXd k = y * y.transpose();
            Eigen::MatrixXf inner = k.cast<float>();
            inner.template triangularView<Eigen::StrictlyUpper>().setConstant(
                std::numeric_limits<float>::quiet_NaN());
            nsvd::detail::multiply_two_sided(inner, Eigen::MatrixXf(l.cast<float>()));
            const MatrixXd exact = l.transpose() * k * l;
            const MatrixXd lower =
                inner.template triangularView<Eigen::Lower>().toDenseMatrix().template cast<double>();
            const MatrixXd wanted = exact.template triangularView<Eigen::Lower>();
            CHECK((lower - wanted).norm() <= unit * k.norm() * l.squaredNorm());
        }
    }
    matrix_of<TestType> indefinite = matrix_of<TestType>::Identity(5, 5);
    indefinite(3, 3) = TestType(-1);
    CHECK(!nsvd::detail::cholesky_lower<TestType>(indefinite));
}

TEMPLATE_TEST_CASE("tridiagonal eigensolver: values, vectors, last rows", "[detail]", float, double) {
    std::uint64_t seed = 300;
    for (const Index n : {1, 2, 3, 20, 70, 130})
        for (const auto kind : support::all_spectra) {
            generator g(++seed);
            CAPTURE(seed, n, support::name_of(kind));
            // Indefinite as well: the middle of the spectrum is moved to 0.
            for (const double shift : {0.0, 0.5}) {
                CAPTURE(shift);
                const VectorXd values = support::make_spectrum(kind, n).array() - shift;
                const MatrixXd q = g.orthonormal(n, n);
                const MatrixXd exact = q * values.asDiagonal() * q.transpose();
                matrix_of<TestType> lower = exact.cast<TestType>();
                const MatrixXd rounded =
                    lower.template cast<double>().template selfadjointView<Eigen::Lower>();
                lower.template triangularView<Eigen::StrictlyUpper>().setConstant(
                    std::numeric_limits<TestType>::quiet_NaN());
                const tridiagonal_eigen<TestType> eigen(std::move(lower));
                REQUIRE(eigen.converged());
                REQUIRE(eigen.values().size() == n);
                const double unit = of_backend * 30.0 * eps<TestType> *
                                    std::max(1.0, std::sqrt(static_cast<double>(n)) / 3.0);
                CHECK((eigen.values().template cast<double>() - values).cwiseAbs().maxCoeff() <= unit);
                for (const Index k : {Index{0}, Index{1}, n / 3, n}) {
                    CAPTURE(k);
                    const matrix_of<TestType> found = eigen.vectors(k);
                    REQUIRE(found.rows() == n);
                    REQUIRE(found.cols() == k);
                    const MatrixXd v = found.template cast<double>();
                    CHECK(deviation_from_orthonormal(v) <= unit);
                    if (k > 0)
                        CHECK((rounded * v - v * eigen.values().head(k).template cast<double>().asDiagonal())
                                  .cwiseAbs()
                                  .maxCoeff() <= unit);
                    for (const Index count : {Index{1}, n / 2, n}) {
                        if (count == 0) continue;
                        const matrix_of<TestType> rows = eigen.last_rows(count, k);
                        REQUIRE(rows.rows() == count);
                        REQUIRE(rows.cols() == k);
                        if (k > 0)
                            CHECK((rows - found.bottomRows(count)).cwiseAbs().maxCoeff() <=
                                  static_cast<TestType>(unit));
                    }
                }
            }
        }
}

TEMPLATE_TEST_CASE("tridiagonal eigensolver: scales, diagonal and zero matrices", "[detail]", float, double) {
    generator g(400);
    const Index n = 40;
    const VectorXd values = support::geometric(n, 100.0);
    const MatrixXd q = g.orthonormal(n, n);
    const int far = std::is_same_v<TestType, float> ? 60 : 500;
    for (const int exponent : {-far, -30, 0, 30, far}) {
        CAPTURE(exponent);
        const TestType scale = std::ldexp(TestType(1), exponent);
        matrix_of<TestType> a = (q * values.asDiagonal() * q.transpose()).template cast<TestType>() * scale;
        const tridiagonal_eigen<TestType> eigen(std::move(a));
        REQUIRE(eigen.converged());
        CHECK(((eigen.values() / scale).template cast<double>() - values).cwiseAbs().maxCoeff() <=
              50 * eps<TestType>);
        CHECK(deviation_from_orthonormal(eigen.vectors(n).template cast<double>()) <= 50 * eps<TestType>);
    }
    const tridiagonal_eigen<TestType> zero(matrix_of<TestType>::Zero(n, n));
    REQUIRE(zero.converged());
    CHECK(zero.values().isZero(TestType(0)));
    CHECK(deviation_from_orthonormal(zero.vectors(7).template cast<double>()) <= 10 * eps<TestType>);
    matrix_of<TestType> diagonal = matrix_of<TestType>::Zero(n, n);
    for (Index i = 0; i < n; ++i)
        diagonal(i, i) = static_cast<TestType>((7 * i) % n);
    const tridiagonal_eigen<TestType> sorted(std::move(diagonal));
    REQUIRE(sorted.converged());
    for (Index i = 0; i < n; ++i)
        CHECK(sorted.values()(i) == Approx(n - 1 - i).margin(100 * eps<TestType>));
}
