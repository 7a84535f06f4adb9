// SPDX-License-Identifier: MIT
/// The only file that includes <lapacke.h>. Calls go through the `_work` functions with analytic workspace
/// sizes in 64-bit arithmetic: the workspace queries of LAPACK answer in floating point and round down for
/// large n. Functions return LAPACK's `info`, or throw where it can only be about arguments; matrices are
/// column-major, lower triangles are referenced.
#pragma once

#include "blas.hpp"
#include "narrow.hpp"

#include <Eigen/Core>
#include <lapacke.h>

#include <algorithm>
#include <concepts>
#include <string>
#include <vector>

namespace nsvd::inline NSVD_ABI::detail::lapack {

static_assert(
    sizeof(lapack_int) == sizeof(blas_int),
    "lapacke.h and cblas.h differ in the width of their integers (LAPACK_ILP64 goes with a BLAS of 64-bit "
    "integers)");

inline lapack_int size(std::int64_t n, const char* what = "a matrix dimension") {
    return narrow<lapack_int>(n, what);
}

/// For routines that can't fail numerically: throws where a library refuses what it was given.
inline void require_done(lapack_int info, const char* routine) {
    if (info != 0)
        throw error("LAPACK: " + std::string(routine) + " returned info = " + std::to_string(info));
}

/// Block size for workspaces of blocked algorithms: at least what ilaenv answers for them anywhere.
inline constexpr std::int64_t block = 64;

/// Eigenvalues (ascending) into `values`, eigenvectors over `a`; divide and conquer. 2n² + 6n + 1 doubles of
/// workspace. Returns a negative number, with `a` untouched, if that size does not fit LAPACK's integers.
template <std::same_as<double> Real>
lapack_int syevd(dense_matrix<Real>& a, vector<Real>& values) {
    const std::int64_t n = a.rows();
    const std::int64_t lwork = 1 + 6 * n + 2 * n * n;
    const std::int64_t liwork = 3 + 5 * n;
    if (!fits<lapack_int>(lwork)) return -1;
    std::vector<double> work(static_cast<std::size_t>(lwork));
    std::vector<lapack_int> iwork(static_cast<std::size_t>(liwork));
    return LAPACKE_dsyevd_work(LAPACK_COL_MAJOR, 'V', 'L', size(n), a.data(), size(n), values.data(),
                               work.data(), size(lwork), iwork.data(), size(liwork));
}

/// The same by implicit QR: slower, less memory, converges where divide and conquer has failed.
template <std::same_as<double> Real>
lapack_int syev(dense_matrix<Real>& a, vector<Real>& values) {
    const std::int64_t n = a.rows();
    const std::int64_t lwork = (block + 2) * n;
    std::vector<double> work(static_cast<std::size_t>(lwork));
    return LAPACKE_dsyev_work(LAPACK_COL_MAJOR, 'V', 'L', size(n), a.data(), size(n), values.data(),
                              work.data(), size(lwork, "workspace of dsyev"));
}

/// Picks the routine for `Real` of a pair (single, double).
template <class Real, class Single, class Double>
constexpr auto routine(Single single, Double twofold) {
    if constexpr (std::same_as<Real, float>)
        return single;
    else
        return twofold;
}

/// Cholesky factor over the lower triangle; info > 0: the leading minor of that order is not positive.
template <class Real>
lapack_int potrf(dense_out<Real> a) {
    return routine<Real>(LAPACKE_spotrf_work, LAPACKE_dpotrf_work)(LAPACK_COL_MAJOR, 'L', size(a.rows()),
                                                                   a.data(), size(a.outerStride()));
}

/// Tridiagonal form `A = H T Hᵀ` over the lower triangle of `a`: H as reflectors, T in `diagonal` and
/// `off_diagonal`.
template <class Real>
lapack_int sytrd(dense_matrix<Real>& a, vector<Real>& diagonal, vector<Real>& off_diagonal,
                 vector<Real>& tau) {
    const std::int64_t n = a.rows();
    const std::int64_t lwork = block * n;
    vector<Real> work(lwork);
    return routine<Real>(LAPACKE_ssytrd_work, LAPACKE_dsytrd_work)(
        LAPACK_COL_MAJOR, 'L', size(n), a.data(), size(n), diagonal.data(), off_diagonal.data(), tau.data(),
        work.data(), size(lwork, "workspace of sytrd"));
}

/// Eigenvalues (ascending) over `diagonal` and eigenvectors (`n×n`) of a tridiagonal matrix, by divide and
/// conquer; `off_diagonal` is destroyed. n² numbers of workspace. Returns a negative number, with everything
/// untouched, if that size does not fit LAPACK's integers.
template <class Real>
lapack_int stedc(vector<Real>& diagonal, vector<Real>& off_diagonal, dense_matrix<Real>& vectors) {
    const std::int64_t n = diagonal.size();
    const std::int64_t lwork = 1 + 4 * n + n * n;
    const std::int64_t liwork = 3 + 5 * n;
    if (!fits<lapack_int>(lwork)) return -1;
    vectors.resize(n, n);
    vector<Real> work(lwork);
    std::vector<lapack_int> iwork(static_cast<std::size_t>(liwork));
    return routine<Real>(LAPACKE_sstedc_work, LAPACKE_dstedc_work)(
        LAPACK_COL_MAJOR, 'I', size(n), diagonal.data(), off_diagonal.data(), vectors.data(), size(n),
        work.data(), size(lwork), iwork.data(), size(liwork));
}

/// Reciprocal 1-norm condition number of A from its Cholesky factor and ‖A‖₁.
template <std::same_as<double> Real>
lapack_int pocon(const dense_matrix<Real>& factor, double norm, double& rcond) {
    const std::int64_t n = factor.rows();
    std::vector<double> work(static_cast<std::size_t>(3 * n));
    std::vector<lapack_int> iwork(static_cast<std::size_t>(n));
    return LAPACKE_dpocon_work(LAPACK_COL_MAJOR, 'L', size(n), factor.data(), size(n), norm, &rcond,
                               work.data(), iwork.data());
}

/// Column-pivoted QR over `a`; `pivots[j]` is the column, from 1, that is j-th.
template <std::same_as<double> Real>
void geqp3(dense_matrix<Real>& a, std::vector<lapack_int>& pivots) {
    const std::int64_t n = a.cols();
    const std::int64_t lwork = 2 * n + (n + 1) * block;
    pivots.assign(static_cast<std::size_t>(n), 0);
    std::vector<double> tau(static_cast<std::size_t>(std::min<std::int64_t>(a.rows(), n)));
    std::vector<double> work(static_cast<std::size_t>(lwork));
    require_done(
        LAPACKE_dgeqp3_work(LAPACK_COL_MAJOR, size(a.rows()), size(n), a.data(), size(a.rows()),
                            pivots.data(), tau.data(), work.data(), size(lwork, "workspace of dgeqp3")),
        "dgeqp3");
}

/// Householder QR over the m×k matrix `a` (k ≤ m): R, and reflectors below its diagonal.
template <class Real>
void geqrf(dense_out<Real> a, Real* tau) {
    const std::int64_t lwork = block * a.cols();
    vector<Real> work(lwork);
    require_done(routine<Real>(LAPACKE_sgeqrf_work, LAPACKE_dgeqrf_work)(
                     LAPACK_COL_MAJOR, size(a.rows()), size(a.cols()), a.data(), size(a.outerStride()), tau,
                     work.data(), size(lwork, "workspace of geqrf")),
                 routine<Real>("sgeqrf", "dgeqrf"));
}

/// Overwrites the m×k matrix `a` (k ≤ m) with the first k columns of the Q of its Householder QR; the
/// diagonal of R goes to `diagonal`.
template <class Real>
void thin_q(dense_matrix<Real>& a, vector<Real>& diagonal) {
    const std::int64_t m = a.rows();
    const std::int64_t k = a.cols();
    const std::int64_t lwork = block * k;
    vector<Real> tau(k);
    vector<Real> work(lwork);
    geqrf<Real>(a, tau.data());
    diagonal.resize(k);
    for (std::int64_t j = 0; j < k; ++j)
        diagonal(j) = a(j, j);
    require_done(routine<Real>(LAPACKE_sorgqr_work, LAPACKE_dorgqr_work)(
                     LAPACK_COL_MAJOR, size(m), size(k), size(k), a.data(), size(m), tau.data(), work.data(),
                     size(lwork, "workspace of orgqr")),
                 routine<Real>("sorgqr", "dorgqr"));
}

}  // namespace nsvd::inline NSVD_ABI::detail::lapack
