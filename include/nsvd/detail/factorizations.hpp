// SPDX-License-Identifier: MIT
/// The three dense factorizations everything rests on, by LAPACK where the backend has it and by Eigen
/// otherwise.
#pragma once

#include "../matrix.hpp"
#include "blas.hpp"

#include <Eigen/Core>
#if defined(NSVD_USE_LAPACK)
#include "lapacke.hpp"
#else
#include <Eigen/Cholesky>
#include <Eigen/Eigenvalues>
#include <Eigen/QR>
#endif

#include <algorithm>
#include <concepts>
#include <limits>
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

/// The Cholesky factor of a symmetric matrix, of which only the lower triangle is read, over that triangle;
/// false where a pivot was not positive. n³/3 flops.
template <class Real>
bool cholesky_lower(dense_out<Real> a) {
#if defined(NSVD_USE_LAPACK)
    return lapack::potrf<Real>(a) == 0;
#else
    return Eigen::LLT<Eigen::Ref<dense_matrix<Real>, 0, Eigen::OuterStride<>>>(a).info() == Eigen::Success;
#endif
}

/// The lower Cholesky factor of the full symmetric matrix `a`, over `a`, with its upper triangle set to zero;
/// returns the reciprocal condition number (1-norm), 0 where a pivot was not positive.
/// n³/3 flops.
template <class Real>
double cholesky_in_place(dense_matrix<Real>& a) {
    double rcond = 0.0;
#if defined(NSVD_USE_LAPACK)
    const double norm = a.cwiseAbs().colwise().sum().maxCoeff();
    if (!cholesky_lower<Real>(a) || lapack::pocon(a, norm, rcond) != 0) rcond = 0.0;
#else
    const Eigen::LLT<dense_matrix<Real>> factor(a);
    if (factor.info() == Eigen::Success) rcond = factor.rcond();
    a = factor.matrixLLT();
#endif
    a.template triangularView<Eigen::StrictlyUpper>().setZero();
    return rcond;
}

#if defined(NSVD_USE_LAPACK)
/// `C ← H C`, or `Hᵀ C`, for the H that `sytrd` left in `a` and `tau`: 2n² flops a column of C. In panels of
/// 128 reflectors and nothing but products: `ormtr` takes 32, and `larfb` has triangles apart and transposes
/// in one thread, and takes half as long again.
template <class Real>
void apply_reflectors(const dense_matrix<Real>& a, const vector<Real>& tau, dense_matrix<Real>& c,
                      op direction) {
    constexpr index panel = 128;
    const index count = c.rows() - 1;  // reflector i starts at row i + 1
    if (count <= 0 || c.cols() == 0) return;
    const index panels = (count + panel - 1) / panel;
    for (index i = 0; i < panels; ++i) {
        // H = H₁ H₂ …: the last comes first, unless transposed.
        const index first = (direction == op::none ? panels - 1 - i : i) * panel;
        const index width = std::min(panel, count - first);
        const index rows = count - first;
        dense_matrix<Real> v = a.block(first + 1, first, rows, width);
        v.topRows(width).template triangularView<Eigen::StrictlyUpper>().setZero();
        v.diagonal().setOnes();
        dense_matrix<Real> t = dense_matrix<Real>::Zero(width, width);
        lapack::larft<Real>(v, tau.data() + first, t);  // can't fail numerically
        const dense_matrix<Real> inner = multiply<Real>(v, op::transpose, c.bottomRows(rows), op::none);
        multiply_into<Real>(c.bottomRows(rows), v, op::none, multiply<Real>(t, direction, inner, op::none),
                            op::none, into::subtract);
    }
}
#endif

/// Eigenpairs of the symmetric matrix in the lower triangle of `a` by way of its tridiagonal form: all
/// eigenvalues, and as many of the leading eigenvectors as are asked for. (4/3)n³ flops, half of them bound
/// by memory, and up to (4/3)n³ for the tridiagonal problem; 2n²k more for k vectors. Memory: `a` and two of
/// its size.
template <class Real>
class tridiagonal_eigen {
public:
    explicit tridiagonal_eigen(dense_matrix<Real>&& a) : reflectors_(std::move(a)) {
        const index n = reflectors_.rows();
#if defined(NSVD_USE_LAPACK)
        vector<Real> off_diagonal(n);
        values_.resize(n);
        tau_.resize(n);
        converged_ = lapack::sytrd<Real>(reflectors_, values_, off_diagonal, tau_) == 0 &&
                     lapack::stedc<Real>(values_, off_diagonal, vectors_) == 0;
#else
        const Eigen::SelfAdjointEigenSolver<dense_matrix<Real>> solver(reflectors_);
        converged_ = solver.info() == Eigen::Success;
        if (converged_) {
            values_ = solver.eigenvalues();
            vectors_ = solver.eigenvectors();
        }
#endif
        if (!converged_) values_.setZero(n);
        values_.reverseInPlace();
    }

    [[nodiscard]] bool converged() const noexcept {
        return converged_;
    }
    /// All n, in descending order.
    [[nodiscard]] const vector<Real>& values() const noexcept {
        return values_;
    }
    /// The leading k eigenvectors, `n×k`.
    [[nodiscard]] dense_matrix<Real> vectors(index k) const {
        dense_matrix<Real> result = vectors_.rightCols(k).rowwise().reverse();
#if defined(NSVD_USE_LAPACK)
        apply_reflectors<Real>(reflectors_, tau_, result, op::none);
#endif
        return result;
    }
    /// The last `count` rows of `vectors(k)`, without the others.
    [[nodiscard]] dense_matrix<Real> last_rows(index count, index k) const {
#if defined(NSVD_USE_LAPACK)
        dense_matrix<Real> selected = dense_matrix<Real>::Zero(reflectors_.rows(), count);
        selected.bottomRows(count).setIdentity();
        apply_reflectors<Real>(reflectors_, tau_, selected, op::transpose);
        return multiply<Real>(selected, op::transpose, vectors_.rightCols(k), op::none).rowwise().reverse();
#else
        return vectors_.bottomRows(count).rightCols(k).rowwise().reverse();
#endif
    }
    [[nodiscard]] static constexpr std::string_view name() noexcept {
#if defined(NSVD_USE_LAPACK)
        return std::same_as<Real, float> ? "ssytrd + sstedc" : "dsytrd + dstedc";
#else
        return "Eigen::SelfAdjointEigenSolver";
#endif
    }

private:
    dense_matrix<Real> reflectors_;
    dense_matrix<Real> vectors_;  ///< with LAPACK those of the tridiagonal form; ascending
    vector<Real> values_;
    vector<Real> tau_;
    bool converged_ = false;
};

/// Householder QR: overwrites `a` (m×k, k ≤ m) with an orthonormal basis whose leading columns span those of
/// `a` as far as they are independent; the others complete the basis. 4mk² flops.
template <class Real>
void householder_orthonormalize(dense_matrix<Real>& a) {
    if (a.cols() == 0) return;
#if defined(NSVD_USE_LAPACK)
    lapack::thin_q<Real>(a);  // can't fail numerically: info is only about arguments
#else
    const index m = a.rows();
    const index k = a.cols();
    const Eigen::HouseholderQR<dense_matrix<Real>> qr(std::move(a));
    a.setIdentity(m, k);
    a.applyOnTheLeft(qr.householderQ());
#endif
}

/// Column-pivoted QR `A P = Q R` (Businger and Golub): overwrites `a` (k×m, k ≤ m) with R, its columns in the
/// order of the pivots, which is returned. 4mk² flops at most, half of them bound by memory.
template <class = void>
[[nodiscard]] std::vector<index> column_pivoted_r(Eigen::MatrixXd& a) {
    std::vector<index> order(static_cast<std::size_t>(a.cols()));
#if defined(NSVD_USE_LAPACK)
    std::vector<lapack_int> pivots;
    lapack::geqp3(a, pivots);  // can't fail numerically: info is only about arguments
    std::transform(pivots.begin(), pivots.end(), order.begin(), [](lapack_int p) { return index{p} - 1; });
#else
    const Eigen::ColPivHouseholderQR<Eigen::MatrixXd> qr(a);
    a = qr.matrixQR();
    const auto& pivots = qr.colsPermutation().indices();
    std::copy(pivots.begin(), pivots.end(), order.begin());
#endif
    a.leftCols(a.rows()).triangularView<Eigen::StrictlyLower>().setZero();
    return order;
}

/// One step of CholeskyQR, `A ← A L⁻ᵀ` with `L Lᵀ = Aᵀ A`: 2mk² flops, all in products. Returns the smallest
/// over the largest pivot, an estimate of 1/κ(A); 0, with `A` untouched, where `Aᵀ A` is not positive
/// definite in working precision. The result is orthonormal to κ²·eps.
template <class Real>
double cholesky_qr_step(dense_out<Real> a) {
    dense_matrix<Real> gram = dense_matrix<Real>::Zero(a.cols(), a.cols());
    add_gram_lower<Real>(gram, a, op::transpose);
    if (!cholesky_lower<Real>(gram)) return 0.0;
    const double ratio = static_cast<double>(gram.diagonal().minCoeff() / gram.diagonal().maxCoeff());
    if (!(ratio * ratio > 8.0 * std::numeric_limits<Real>::epsilon())) return 0.0;
    solve_right_transposed<Real>(gram, a);
    return ratio;
}

/// Overwrites the m×k matrix `a` (k ≤ m) with an orthonormal basis of m×k: its leading columns span those of
/// `a` as far as they are independent, the others complete the basis. CholeskyQR, repeated until its last
/// step started from a well-conditioned matrix, and Householder QR where `a` is too ill-conditioned for it.
/// Returns the estimate of 1/κ of the first step; 0 where Householder QR did it.
template <class Real>
double orthonormalize(dense_out<Real> a) {
    if (a.cols() == 0) return 1.0;
    const double first = cholesky_qr_step<Real>(a);
    // κ² eps of a step that started from κ ≤ 2 is as good as orthonormal.
    double last = first;
    while (last > 0.0 && last < 0.5)
        last = cholesky_qr_step<Real>(a);
    if (last > 0.0) return first;
    dense_matrix<Real> q = a;
    householder_orthonormalize<Real>(q);
    a = q;
    return 0.0;
}

}  // namespace nsvd::inline NSVD_ABI::detail
