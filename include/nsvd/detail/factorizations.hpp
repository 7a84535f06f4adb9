// SPDX-License-Identifier: MIT
/// The three dense factorizations everything rests on, by LAPACK where the backend has it and by Eigen
/// otherwise.
#pragma once

#include "../matrix.hpp"

#include <Eigen/Core>
#if defined(NSVD_USE_LAPACK)
#include "lapacke.hpp"
#else
#include <Eigen/Cholesky>
#include <Eigen/Eigenvalues>
#include <Eigen/QR>
#endif

#include <algorithm>
#include <numeric>
#include <string_view>
#include <utility>
#include <vector>

namespace nsvd::inline NSVD_ABI::detail {

// Templates for one reason: a program that includes them without calling them does not pay for compiling
// them.

template <class Real>
using vector = Eigen::Matrix<Real, Eigen::Dynamic, 1>;

/// `A = V diag(values) Vᵀ`, values in descending order.
template <class Real>
struct symmetric_eigen {
    vector<Real> values;
    dense_matrix<Real> vectors;
    std::string_view solver;
    bool converged = true;
};

/// All eigenpairs of the symmetric matrix in the lower triangle of `a`; about 9n³ flops. If no solver of the
/// chain converges, `converged` is false and the vectors are coordinates.
template <class Real>
[[nodiscard]] symmetric_eigen<Real> eigen_decompose(dense_matrix<Real> a) {
    const index n = a.rows();
    symmetric_eigen<Real> result;
    result.values.resize(n);
#if defined(NSVD_USE_LAPACK)
    const dense_matrix<Real> original = a;  // dsyevd and dsyev destroy it even when they fail
    result.solver = "dsyevd";
    lapack_int info = lapack::syevd(a, result.values);
    if (info != 0) {
        a = original;
        result.solver = "dsyev";
        info = lapack::syev(a, result.values);
    }
    result.converged = info == 0;
    if (result.converged) {
        result.vectors = a.rowwise().reverse();
        result.values.reverseInPlace();
    } else {
        a = original;
    }
#else
    const Eigen::SelfAdjointEigenSolver<dense_matrix<Real>> solver(a);
    result.solver = "Eigen::SelfAdjointEigenSolver";
    result.converged = solver.info() == Eigen::Success;
    if (result.converged) {
        result.vectors = solver.eigenvectors().rowwise().reverse();
        result.values = solver.eigenvalues().reverse();
    }
#endif
    if (!result.converged) {
        // The coordinates, by descending diagonal entry.
        std::vector<index> order(static_cast<std::size_t>(n));
        std::iota(order.begin(), order.end(), index{0});
        std::stable_sort(order.begin(), order.end(), [&](index i, index j) { return a(i, i) > a(j, j); });
        result.vectors.setZero(n, n);
        for (index j = 0; j < n; ++j) {
            const index i = order[static_cast<std::size_t>(j)];
            result.values(j) = a(i, i);
            result.vectors(i, j) = Real(1);
        }
    }
    return result;
}

/// The lower Cholesky factor of the full symmetric matrix `a`, over `a`, with its upper triangle set to zero;
/// returns the reciprocal condition number (1-norm), 0 where a pivot was not positive.
/// n³/3 flops.
template <class Real>
double cholesky_in_place(dense_matrix<Real>& a) {
    double rcond = 0.0;
#if defined(NSVD_USE_LAPACK)
    const double norm = a.cwiseAbs().colwise().sum().maxCoeff();
    if (lapack::potrf(a) != 0 || lapack::pocon(a, norm, rcond) != 0) rcond = 0.0;
#else
    const Eigen::LLT<dense_matrix<Real>> factor(a);
    if (factor.info() == Eigen::Success) rcond = factor.rcond();
    a = factor.matrixLLT();
#endif
    a.template triangularView<Eigen::StrictlyUpper>().setZero();
    return rcond;
}

/// Overwrites the m×k matrix `a` (k ≤ m) with an orthonormal basis of m×k: its leading columns span those of
/// `a` as far as they are independent, the others complete the basis. Householder QR, 4mk² flops.
template <class Real>
void orthonormalize(dense_matrix<Real>& a) {
    if (a.cols() == 0) return;
#if defined(NSVD_USE_LAPACK)
    lapack::thin_q(a);  // can't fail numerically: info is only about arguments
#else
    const index m = a.rows();
    const index k = a.cols();
    const Eigen::HouseholderQR<dense_matrix<Real>> qr(std::move(a));
    a.setIdentity(m, k);
    a.applyOnTheLeft(qr.householderQ());
#endif
}

}  // namespace nsvd::inline NSVD_ABI::detail
