// SPDX-License-Identifier: MIT
/// The BLAS and LAPACK routines that are compared with, by scalar, column-major. They go to LAPACKE's `_work`
/// functions: no check for NaN and no copy that would make the other side look slow.
#pragma once

#include <Eigen/Core>
#include <cblas.h>
#include <lapacke.h>

#include <algorithm>
#include <cmath>
#include <concepts>
#include <limits>
#include <stdexcept>
#include <string>
#include <type_traits>

namespace bench {

using Eigen::Index;
template <class Scalar>
using dense = Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic>;
template <class Scalar>
using column = Eigen::Matrix<Scalar, Eigen::Dynamic, 1>;
/// A column-major operand, possibly a block; not deduced.
template <class Scalar>
using operand = std::type_identity_t<Eigen::Ref<const dense<Scalar>, 0, Eigen::OuterStride<>>>;

/// The routine of `Scalar`: `by_scalar<float>(cblas_sgemm, cblas_dgemm)`.
template <class Scalar, class Single, class Double>
[[nodiscard]] constexpr auto by_scalar(Single single_routine, Double double_routine) {
    if constexpr (std::same_as<Scalar, float>)
        return single_routine;
    else
        return double_routine;
}

[[nodiscard]] inline lapack_int size(Index n) {
    if (n > std::numeric_limits<lapack_int>::max()) throw std::length_error("a size exceeds that of LAPACK");
    return static_cast<lapack_int>(n);
}

inline void require(lapack_int info, const std::string& routine) {
    if (info != 0) throw std::runtime_error(routine + " failed: info = " + std::to_string(info));
}

/// Length of a workspace that a query in `Scalar` answered, which in `float` may be rounded down.
template <class Scalar>
[[nodiscard]] lapack_int workspace(Scalar answer, Index least) {
    const auto roomy = static_cast<Index>(std::ceil(static_cast<double>(answer) * (1.0 + 0x1p-22)));
    return size(std::max(roomy, least));
}

/// `C ← α op(A) op(B) + β C`.
template <class Scalar>
void multiply_into(dense<Scalar>& c, const operand<Scalar>& a, bool a_transposed, const operand<Scalar>& b,
                   bool b_transposed, Scalar alpha = 1, Scalar beta = 0) {
    by_scalar<Scalar>(cblas_sgemm, cblas_dgemm)(
        CblasColMajor, a_transposed ? CblasTrans : CblasNoTrans, b_transposed ? CblasTrans : CblasNoTrans,
        size(c.rows()), size(c.cols()), size(a_transposed ? a.rows() : a.cols()), alpha, a.data(),
        size(a.outerStride()), b.data(), size(b.outerStride()), beta, c.data(), size(c.rows()));
}

/// `op(A) op(B)`.
template <class Scalar>
[[nodiscard]] dense<Scalar> multiply(const operand<Scalar>& a, bool a_transposed, const operand<Scalar>& b,
                                     bool b_transposed) {
    dense<Scalar> c(a_transposed ? a.cols() : a.rows(), b_transposed ? b.rows() : b.cols());
    multiply_into<Scalar>(c, a, a_transposed, b, b_transposed);
    return c;
}

/// Lower triangle of `C ← A Aᵀ + β C`, or of `Aᵀ A + β C`.
template <class Scalar>
void syrk_into(dense<Scalar>& c, const operand<Scalar>& a, bool a_transposed, Scalar beta = 0) {
    by_scalar<Scalar>(cblas_ssyrk, cblas_dsyrk)(CblasColMajor, CblasLower,
                                                a_transposed ? CblasTrans : CblasNoTrans, size(c.rows()),
                                                size(a_transposed ? a.rows() : a.cols()), Scalar(1), a.data(),
                                                size(a.outerStride()), beta, c.data(), size(c.rows()));
}

/// `B ← B L⁻¹` (`solve`) or `B ← B L` for the lower triangle of `L`.
template <class Scalar>
void apply_lower_right(dense<Scalar>& b, const dense<Scalar>& l, bool solve) {
    const auto routine =
        solve ? by_scalar<Scalar>(cblas_strsm, cblas_dtrsm) : by_scalar<Scalar>(cblas_strmm, cblas_dtrmm);
    routine(CblasColMajor, CblasRight, CblasLower, CblasNoTrans, CblasNonUnit, size(b.rows()), size(b.cols()),
            Scalar(1), l.data(), size(l.rows()), b.data(), size(b.rows()));
}

/// The lower Cholesky factor over the lower triangle of `A`; what is above is left as it was. Returns `info`:
/// above 0 where `A` is not positive definite.
template <class Scalar>
[[nodiscard]] lapack_int potrf(dense<Scalar>& a) {
    return by_scalar<Scalar>(LAPACKE_spotrf_work, LAPACKE_dpotrf_work)(LAPACK_COL_MAJOR, 'L', size(a.rows()),
                                                                       a.data(), size(a.rows()));
}

template <class Scalar>
struct thin_svd {
    dense<Scalar> left;           ///< m×s, s = min(m, n)
    column<Scalar> values;        ///< descending
    dense<Scalar> right_adjoint;  ///< s×n
};

/// `gesdd` with thin vectors; `A` is overwritten.
template <class Scalar>
[[nodiscard]] thin_svd<Scalar> gesdd(dense<Scalar> a) {
    const auto routine = by_scalar<Scalar>(LAPACKE_sgesdd_work, LAPACKE_dgesdd_work);
    const Index s = std::min(a.rows(), a.cols());
    thin_svd<Scalar> result{dense<Scalar>(a.rows(), s), column<Scalar>(s), dense<Scalar>(s, a.cols())};
    Eigen::Matrix<lapack_int, Eigen::Dynamic, 1> integers(8 * s);
    const auto call = [&](Scalar* work, lapack_int length) {
        require(routine(LAPACK_COL_MAJOR, 'S', size(a.rows()), size(a.cols()), a.data(), size(a.rows()),
                        result.values.data(), result.left.data(), size(a.rows()), result.right_adjoint.data(),
                        size(s), work, length, integers.data()),
                "gesdd");
    };
    Scalar answer = 0;
    call(&answer, -1);
    column<Scalar> work(workspace(answer, 4 * s * s + 7 * s + std::max(a.rows(), a.cols())));
    call(work.data(), size(work.size()));
    return result;
}

/// `gesvdx` by index: the leading k left singular vectors.
template <class Scalar>
[[nodiscard]] dense<Scalar> gesvdx_left(dense<Scalar> a, Index k) {
    const auto routine = by_scalar<Scalar>(LAPACKE_sgesvdx_work, LAPACKE_dgesvdx_work);
    const Index s = std::min(a.rows(), a.cols());
    dense<Scalar> left(a.rows(), k);
    column<Scalar> values(s);
    Eigen::Matrix<lapack_int, Eigen::Dynamic, 1> integers(12 * s);
    Scalar none = 0;
    lapack_int found = 0;
    const auto call = [&](Scalar* work, lapack_int length) {
        require(routine(LAPACK_COL_MAJOR, 'V', 'N', 'I', size(a.rows()), size(a.cols()), a.data(),
                        size(a.rows()), Scalar(0), Scalar(0), 1, size(k), &found, values.data(), left.data(),
                        size(a.rows()), &none, 1, work, length, integers.data()),
                "gesvdx");
    };
    Scalar answer = 0;
    call(&answer, -1);
    // The query leaves out what the divide step of short and wide operands takes (LAPACK 3.9).
    column<Scalar> work(workspace(answer, 4 * s * s + 20 * s + std::max(a.rows(), a.cols())));
    call(work.data(), size(work.size()));
    if (found != size(k)) throw std::runtime_error("gesvdx found " + std::to_string(found) + " values");
    return left;
}

template <class Scalar>
struct eigenpairs {
    column<Scalar> values;  ///< ascending
    dense<Scalar> vectors;  ///< a column each
};

/// `syevd`: all eigenpairs of the lower triangle of `A`.
template <class Scalar>
[[nodiscard]] eigenpairs<Scalar> syevd(dense<Scalar> a) {
    const auto routine = by_scalar<Scalar>(LAPACKE_ssyevd_work, LAPACKE_dsyevd_work);
    const Index n = a.rows();
    eigenpairs<Scalar> result{column<Scalar>(n), std::move(a)};
    column<Scalar> work(std::max(1 + 6 * n + 2 * n * n, 2 * n + 64 * n));
    Eigen::Matrix<lapack_int, Eigen::Dynamic, 1> integers(3 + 5 * n);
    require(routine(LAPACK_COL_MAJOR, 'V', 'L', size(n), result.vectors.data(), size(n), result.values.data(),
                    work.data(), size(work.size()), integers.data(), size(integers.size())),
            "syevd");
    return result;
}

/// `syevr` by index: the k largest eigenpairs of the lower triangle of `A`.
template <class Scalar>
[[nodiscard]] eigenpairs<Scalar> syevr(dense<Scalar> a, Index k) {
    const auto routine = by_scalar<Scalar>(LAPACKE_ssyevr_work, LAPACKE_dsyevr_work);
    const Index n = a.rows();
    eigenpairs<Scalar> result{column<Scalar>(n), dense<Scalar>(n, k)};
    column<Scalar> work(std::max<Index>(26, 6 + 64) * n);
    Eigen::Matrix<lapack_int, Eigen::Dynamic, 1> integers(10 * n);
    Eigen::Matrix<lapack_int, Eigen::Dynamic, 1> support(2 * n);
    lapack_int found = 0;
    require(routine(LAPACK_COL_MAJOR, 'V', 'I', 'L', size(n), a.data(), size(n), Scalar(0), Scalar(0),
                    size(n - k + 1), size(n), Scalar(0), &found, result.values.data(), result.vectors.data(),
                    size(n), support.data(), work.data(), size(work.size()), integers.data(),
                    size(integers.size())),
            "syevr");
    if (found != size(k)) throw std::runtime_error("syevr found " + std::to_string(found) + " values");
    result.values.conservativeResize(k);
    return result;
}

/// A tridiagonal matrix and the reflectors that lead to it.
template <class Scalar>
struct tridiagonal {
    dense<Scalar> reflectors;
    column<Scalar> diagonal;
    column<Scalar> off_diagonal;
    column<Scalar> tau;
};

/// `sytrd` of the lower triangle of `A`.
template <class Scalar>
[[nodiscard]] tridiagonal<Scalar> sytrd(dense<Scalar> a) {
    const Index n = a.rows();
    tridiagonal<Scalar> t{std::move(a), column<Scalar>(n), column<Scalar>(n), column<Scalar>(n)};
    column<Scalar> work(64 * n);
    require(by_scalar<Scalar>(LAPACKE_ssytrd_work, LAPACKE_dsytrd_work)(
                LAPACK_COL_MAJOR, 'L', size(n), t.reflectors.data(), size(n), t.diagonal.data(),
                t.off_diagonal.data(), t.tau.data(), work.data(), size(work.size())),
            "sytrd");
    return t;
}

/// `stedc`: all eigenpairs of a tridiagonal matrix by divide and conquer.
template <class Scalar>
[[nodiscard]] dense<Scalar> stedc(const tridiagonal<Scalar>& t) {
    const Index n = t.diagonal.size();
    column<Scalar> d = t.diagonal;
    column<Scalar> e = t.off_diagonal;
    dense<Scalar> z(n, n);
    column<Scalar> work(1 + 4 * n + n * n);
    Eigen::Matrix<lapack_int, Eigen::Dynamic, 1> integers(3 + 5 * n);
    require(by_scalar<Scalar>(LAPACKE_sstedc_work, LAPACKE_dstedc_work)(
                LAPACK_COL_MAJOR, 'I', size(n), d.data(), e.data(), z.data(), size(n), work.data(),
                size(work.size()), integers.data(), size(integers.size())),
            "stedc");
    return z;
}

/// `stemr` by index: the k largest eigenpairs of a tridiagonal matrix.
template <class Scalar>
[[nodiscard]] dense<Scalar> stemr(const tridiagonal<Scalar>& t, Index k) {
    const Index n = t.diagonal.size();
    column<Scalar> d = t.diagonal;
    column<Scalar> e = t.off_diagonal;
    column<Scalar> values(n);
    dense<Scalar> z(n, k);
    column<Scalar> work(18 * n);
    Eigen::Matrix<lapack_int, Eigen::Dynamic, 1> integers(10 * n);
    Eigen::Matrix<lapack_int, Eigen::Dynamic, 1> support(2 * n);
    lapack_int found = 0;
    lapack_logical high_accuracy = 1;
    require(by_scalar<Scalar>(LAPACKE_sstemr_work, LAPACKE_dstemr_work)(
                LAPACK_COL_MAJOR, 'V', 'I', size(n), d.data(), e.data(), Scalar(0), Scalar(0),
                size(n - k + 1), size(n), &found, values.data(), z.data(), size(n), size(k), support.data(),
                &high_accuracy, work.data(), size(work.size()), integers.data(), size(integers.size())),
            "stemr");
    return z;
}

/// `ormtr`: `Z ← H Z` with the reflectors of `sytrd`.
template <class Scalar>
void ormtr(const tridiagonal<Scalar>& t, dense<Scalar>& z) {
    column<Scalar> work(64 * (t.diagonal.size() + 65));
    require(by_scalar<Scalar>(LAPACKE_sormtr_work, LAPACKE_dormtr_work)(
                LAPACK_COL_MAJOR, 'L', 'L', 'N', size(z.rows()), size(z.cols()), t.reflectors.data(),
                size(z.rows()), t.tau.data(), z.data(), size(z.rows()), work.data(), size(work.size())),
            "ormtr");
}

}  // namespace bench
