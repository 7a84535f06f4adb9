// SPDX-License-Identifier: MIT
/// The only file that includes <lapacke.h>. Calls go through the `_work` functions with analytic workspace
/// sizes in 64-bit arithmetic: the workspace queries of LAPACK answer in floating point and round down for
/// large n. Each function returns LAPACK's `info`; matrices are column-major, lower triangles are referenced.
#pragma once

#include "narrow.hpp"

#include <Eigen/Core>
#include <lapacke.h>

#include <vector>

namespace nsvd::inline NSVD_ABI::detail::lapack {

inline lapack_int size(std::int64_t n, const char* what = "a matrix dimension") {
    return narrow<lapack_int>(n, what);
}

/// Block size for workspaces of blocked algorithms: at least what ilaenv answers for them anywhere.
inline constexpr std::int64_t block = 64;

/// Eigenvalues (ascending) into `values`, eigenvectors over `a`; divide and conquer. 2n² + 6n + 1 doubles of
/// workspace. Returns a negative number, with `a` untouched, if that size does not fit LAPACK's integers.
inline lapack_int syevd(Eigen::MatrixXd& a, Eigen::VectorXd& values) {
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
inline lapack_int syev(Eigen::MatrixXd& a, Eigen::VectorXd& values) {
    const std::int64_t n = a.rows();
    const std::int64_t lwork = (block + 2) * n;
    std::vector<double> work(static_cast<std::size_t>(lwork));
    return LAPACKE_dsyev_work(LAPACK_COL_MAJOR, 'V', 'L', size(n), a.data(), size(n), values.data(),
                              work.data(), size(lwork, "workspace of dsyev"));
}

/// Cholesky factor over the lower triangle; info > 0: the leading minor of that order is not positive.
inline lapack_int potrf(Eigen::MatrixXd& a) {
    return LAPACKE_dpotrf_work(LAPACK_COL_MAJOR, 'L', size(a.rows()), a.data(), size(a.rows()));
}

/// Reciprocal 1-norm condition number of A from its Cholesky factor and ‖A‖₁.
inline lapack_int pocon(const Eigen::MatrixXd& factor, double norm, double& rcond) {
    const std::int64_t n = factor.rows();
    std::vector<double> work(static_cast<std::size_t>(3 * n));
    std::vector<lapack_int> iwork(static_cast<std::size_t>(n));
    return LAPACKE_dpocon_work(LAPACK_COL_MAJOR, 'L', size(n), factor.data(), size(n), norm, &rcond,
                               work.data(), iwork.data());
}

/// Overwrites the m×k matrix `a` (k ≤ m) with the first k columns of the Q of its Householder QR.
inline lapack_int thin_q(Eigen::MatrixXd& a) {
    const std::int64_t m = a.rows();
    const std::int64_t k = a.cols();
    const std::int64_t lwork = block * k;
    std::vector<double> tau(static_cast<std::size_t>(k));
    std::vector<double> work(static_cast<std::size_t>(lwork));
    const lapack_int info = LAPACKE_dgeqrf_work(LAPACK_COL_MAJOR, size(m), size(k), a.data(), size(m),
                                                tau.data(), work.data(), size(lwork, "workspace of dgeqrf"));
    if (info != 0) return info;
    return LAPACKE_dorgqr_work(LAPACK_COL_MAJOR, size(m), size(k), size(k), a.data(), size(m), tau.data(),
                               work.data(), size(lwork, "workspace of dorgqr"));
}

}  // namespace nsvd::inline NSVD_ABI::detail::lapack
