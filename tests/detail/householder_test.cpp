// SPDX-License-Identifier: MIT
// Reflectors against matrices that are multiplied out.
#include "support/catch.hpp"
#include "support/generate.hpp"

#include <nsvd/detail/factorizations.hpp>
#include <nsvd/detail/householder.hpp>

#include <Eigen/Cholesky>

#include <cmath>
#include <limits>
#include <utility>

namespace {

using Eigen::Index;
using Eigen::MatrixXd;
using Eigen::VectorXd;
using nsvd::detail::op;
using support::generator;

template <class Scalar>
using matrix_of = Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic>;

template <class Scalar>
constexpr double eps = static_cast<double>(std::numeric_limits<Scalar>::epsilon());

/// `H₁ H₂ …`, one after the other.
MatrixXd product_of_reflectors(const MatrixXd& a, const VectorXd& tau, Index count, Index offset) {
    const Index m = a.rows();
    MatrixXd h = MatrixXd::Identity(m, m);
    for (Index i = 0; i < count; ++i) {
        VectorXd v = VectorXd::Zero(m);
        v(i + offset) = 1.0;
        v.tail(m - i - offset - 1) = a.col(i).tail(m - i - offset - 1);
        h = (h * (MatrixXd::Identity(m, m) - tau(i) * v * v.transpose())).eval();
    }
    return h;
}

}  // namespace

TEMPLATE_TEST_CASE("reflectors: applied in panels", "[detail]", float, double) {
    generator g(1);
    for (const Index offset : {Index{0}, Index{1}})
        for (const auto& [m, count] : {std::pair<Index, Index>{1, 0}, {2, 1}, {9, 4}, {9, 8}, {200, 150}}) {
            CAPTURE(m, count, offset);
            // Any τ = 2/‖v‖² makes an orthogonal one.
            const matrix_of<TestType> a = g.gaussian(m, std::max<Index>(count, 1)).template cast<TestType>();
            const MatrixXd precise = a.template cast<double>();
            VectorXd tau(count);
            for (Index i = 0; i < count; ++i)
                tau(i) = 2.0 / (1.0 + precise.col(i).tail(m - i - offset - 1).squaredNorm());
            const matrix_of<TestType> rounded = tau.cast<TestType>();
            const MatrixXd h = product_of_reflectors(precise, rounded.template cast<double>(), count, offset);
            for (const op direction : {op::none, op::transpose})
                for (const Index columns : {Index{0}, Index{1}, Index{5}}) {
                    matrix_of<TestType> c = g.gaussian(m, columns).template cast<TestType>();
                    const MatrixXd before = c.template cast<double>();
                    nsvd::detail::apply_reflectors<TestType>(a, rounded.data(), count, offset, c, direction);
                    const MatrixXd wanted = (direction == op::none ? h : MatrixXd(h.transpose())) * before;
                    CHECK((c.template cast<double>() - wanted).norm() <=
                          20.0 * static_cast<double>(m) * eps<TestType> * (1.0 + before.norm()));
                }
        }
}

#if !defined(NSVD_USE_LAPACK)
TEMPLATE_TEST_CASE("reflectors: tridiagonal form", "[detail]", float, double) {
    generator g(2);
    for (const Index n : {Index{1}, Index{2}, Index{3}, Index{32}, Index{33}, Index{65}, Index{130}})
        for (const int exponent : {0, 40, -40}) {
            CAPTURE(n, exponent);
            const MatrixXd y = g.gaussian(n, n) * std::ldexp(1.0, exponent);
            const matrix_of<TestType> a = MatrixXd(y + y.transpose()).cast<TestType>();
            matrix_of<TestType> reflectors = a;
            reflectors.template triangularView<Eigen::StrictlyUpper>().setConstant(
                std::numeric_limits<TestType>::quiet_NaN());
            matrix_of<TestType> diagonal(n, 1), off(n, 1), tau(n, 1);
            nsvd::detail::tridiagonalize<TestType>(reflectors, diagonal.data(), off.data(), tau.data());
            matrix_of<TestType> t = matrix_of<TestType>::Zero(n, n);
            for (Index i = 0; i < n; ++i) {
                t(i, i) = diagonal(i);
                if (i + 1 < n) t(i + 1, i) = t(i, i + 1) = off(i);
            }
            nsvd::detail::apply_reflectors<TestType>(reflectors, tau.data(), n - 1, 1, t, op::none);
            t.transposeInPlace();
            nsvd::detail::apply_reflectors<TestType>(reflectors, tau.data(), n - 1, 1, t, op::none);
            CHECK((t - a).template cast<double>().norm() <=
                  10.0 * static_cast<double>(n) * eps<TestType> * a.template cast<double>().norm());
        }
}

TEST_CASE("reflectors: eigenpairs at every scale", "[detail]") {
    generator g(5);
    for (const Index n : {Index{1}, Index{2}, Index{40}, Index{100}})
        for (const int exponent : {-900, -300, -100, -60, 0, 60, 300, 900}) {
            CAPTURE(n, exponent);
            const MatrixXd y = g.gaussian(n, n);
            const MatrixXd unit = y + y.transpose();
            const auto found = nsvd::detail::eigen_decompose<double>(unit * std::ldexp(1.0, exponent));
            REQUIRE(found.converged);
            const VectorXd values = found.values * std::ldexp(1.0, -exponent);
            const MatrixXd residual = unit * found.vectors - found.vectors * values.asDiagonal();
            CHECK(residual.norm() <= 20.0 * static_cast<double>(n) * eps<double> * unit.norm());
        }
}

TEMPLATE_TEST_CASE("reflectors: QR", "[detail]", float, double) {
    generator g(3);
    for (const auto& [m, k] : {std::pair<Index, Index>{1, 1}, {3, 1}, {3, 3}, {40, 32}, {70, 65}, {200, 130}})
        for (const bool dependent : {false, true}) {
            CAPTURE(m, k, dependent);
            matrix_of<TestType> a = g.gaussian(m, k).template cast<TestType>();
            if (dependent) a.rightCols(k / 2).setZero();
            matrix_of<TestType> qr = a;
            matrix_of<TestType> tau(k, 1);
            nsvd::detail::householder_qr<TestType>(qr, tau.data());
            matrix_of<TestType> r = matrix_of<TestType>::Zero(m, k);
            r.topRows(k) = qr.topRows(k).template triangularView<Eigen::Upper>();
            nsvd::detail::apply_reflectors<TestType>(qr, tau.data(), k, 0, r, op::none);
            CHECK((r - a).template cast<double>().norm() <=
                  10.0 * static_cast<double>(m) * eps<TestType> * (1.0 + a.template cast<double>().norm()));
        }
}

TEST_CASE("reflectors: estimate of the norm of an inverse", "[detail]") {
    generator g(4);
    for (const Index n : {Index{1}, Index{2}, Index{5}, Index{40}, Index{150}})
        for (const double condition : {1.0, 1e3, 1e10}) {
            CAPTURE(n, condition);
            const MatrixXd y = g.with_spectrum(n, n, support::geometric(n, std::sqrt(condition)));
            const MatrixXd a = y * y.transpose();
            const MatrixXd l = a.llt().matrixL();
            const double exact =
                a.llt().solve(MatrixXd::Identity(n, n)).cwiseAbs().colwise().sum().maxCoeff();
            const double estimate = nsvd::detail::inverse_norm<double>(l);
            CHECK(estimate <= 1.001 * exact);
            CHECK(estimate >= exact / 3.0);
        }
}
#endif
