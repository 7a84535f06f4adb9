// SPDX-License-Identifier: MIT
/// Optima of whole stages at moderate sizes, in double, with nothing of the library's solvers: no Gram
/// matrix, no LAPACK. Only products come from the library, for their speed (tests/detail/blas_test.cpp).
#pragma once

#include "generate.hpp"

#include <nsvd/detail/blas.hpp>

#include <Eigen/Core>
#include <Eigen/Eigenvalues>
#include <Eigen/QR>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numbers>

namespace support {

/// Singular values, descending, to about eps·σ₁ each: Householder bidiagonalization, and the eigenvalues ±σ
/// of the symmetric tridiagonal matrix with zero diagonal that the bidiagonal one permutes to (Golub and
/// Kahan).
inline Eigen::VectorXd singular_values_of(const Eigen::MatrixXd& matrix) {
    // computeFromTridiagonal deflates by a criterion that depends on the scale.
    const double scale = matrix.size() > 0 ? matrix.cwiseAbs().maxCoeff() : 0.0;
    if (scale == 0.0) return Eigen::VectorXd::Zero(std::min(matrix.rows(), matrix.cols()));
    Eigen::MatrixXd a = matrix / scale;
    if (a.rows() < a.cols()) a.transposeInPlace();
    const Eigen::Index n = a.cols();
    // A tall matrix has the singular values of its R.
    if (a.rows() > n) {
        const Eigen::HouseholderQR<Eigen::MatrixXd> qr(a);
        a = qr.matrixQR().topRows(n).triangularView<Eigen::Upper>();
    }
    Eigen::VectorXd off = Eigen::VectorXd::Zero(2 * n - 1);
    Eigen::VectorXd essential(n);
    Eigen::VectorXd work(n);
    for (Eigen::Index j = 0; j < n; ++j) {
        const Eigen::Index below = n - j;
        double tau = 0.0;
        double beta = 0.0;
        auto left = essential.head(below - 1);
        a.col(j).tail(below).makeHouseholder(left, tau, beta);
        a.bottomRightCorner(below, below - 1).applyHouseholderOnTheLeft(left, tau, work.data());
        off(2 * j) = beta;
        if (below == 1) break;
        auto right = essential.head(below - 2);
        a.row(j).tail(below - 1).makeHouseholder(right, tau, beta);
        a.bottomRightCorner(below - 1, below - 1).applyHouseholderOnTheRight(right, tau, work.data());
        off(2 * j + 1) = beta;
    }
    Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> eigen;
    eigen.computeFromTridiagonal(Eigen::VectorXd::Zero(2 * n), off, Eigen::EigenvaluesOnly);
    return scale * eigen.eigenvalues().tail(n).reverse().cwiseMax(0.0);
}

/// A dense orthogonal matrix in n² operations: the discrete cosine transform with random signs on both sides.
inline Eigen::MatrixXd cosines(generator& g, Eigen::Index n) {
    const auto signs = [&] {
        Eigen::VectorXd s(n);
        for (double& x : s)
            x = g.uniform() < 0.5 ? -1.0 : 1.0;
        return s;
    };
    const Eigen::VectorXd rows = signs();
    const Eigen::VectorXd cols = signs();
    Eigen::MatrixXd q(n, n);
    for (Eigen::Index j = 0; j < n; ++j)
        for (Eigen::Index i = 0; i < n; ++i)
            // The angle is reduced in integers.
            q(i, j) = rows(i) * cols(j) * std::sqrt((j == 0 ? 1.0 : 2.0) / static_cast<double>(n)) *
                      std::cos(static_cast<double>((2 * i + 1) * j % (4 * n)) * std::numbers::pi /
                               static_cast<double>(2 * n));
    return q;
}

/// Orthonormal columns that span those of `q`, columns of any length.
inline Eigen::MatrixXd householder_basis(const Eigen::MatrixXd& q) {
    const Eigen::HouseholderQR<Eigen::MatrixXd> qr(q);
    return qr.householderQ() * Eigen::MatrixXd::Identity(q.rows(), q.cols());
}

/// `A − Q Qᵀ A`, projected twice so that it is right far below eps·‖A‖.
inline Eigen::MatrixXd residual_after(const Eigen::MatrixXd& a, const Eigen::MatrixXd& q) {
    if (q.cols() == 0) return a;
    Eigen::MatrixXd rest = a;
    for (int round = 0; round < 2; ++round)
        nsvd::detail::project_out(rest, q);
    return rest;
}

}  // namespace support
