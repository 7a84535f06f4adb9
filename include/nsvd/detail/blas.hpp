// SPDX-License-Identifier: MIT
/// Matrix products, through CBLAS in the LAPACK backend and through Eigen otherwise. They run in as many
/// threads as the BLAS (or Eigen with OpenMP) was told to use by the program; nsvd starts none.
#pragma once

#include "../matrix.hpp"
#include "narrow.hpp"

#include <Eigen/Core>

#include <concepts>
#include <cstdint>
#include <type_traits>
#if defined(NSVD_USE_LAPACK)
#include <cblas.h>
#endif

namespace nsvd::inline NSVD_ABI::detail {

enum class op : bool { none, transpose };

/// A column-major operand, possibly a block of columns. Not deducible: callers convert to it.
template <class Scalar>
using dense_ref = std::type_identity_t<
    Eigen::Ref<const Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic>, 0, Eigen::OuterStride<>>>;

#if defined(NSVD_USE_LAPACK)
/// The integer type of the CBLAS in use: OpenBLAS names its own, the reference interface takes `int`.
#if defined(OPENBLAS_VERSION)
using blas_int = blasint;
#else
using blas_int = int;
#endif

inline blas_int blas_size(Eigen::Index n) {
    return narrow<blas_int>(n, "a matrix dimension");
}
#endif

/// What a product does to its destination.
enum class into : std::uint8_t { set, subtract };

/// `C ← op(A) op(B)` or `C ← C − op(A) op(B)`, for `float` and `double`; C must have the right shape and not
/// overlap A or B. All products of the library come through here: one instantiation a scalar keeps it quick
/// to compile.
template <factor_scalar Scalar>
void multiply_into(Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic>& c, const dense_ref<Scalar>& a,
                   op op_a, const dense_ref<Scalar>& b, op op_b, into mode = into::set) {
    if (c.size() == 0) return;
    const Eigen::Index depth = op_a == op::none ? a.cols() : a.rows();
    if (depth == 0) {
        if (mode == into::set) c.setZero();
        return;
    }
#if defined(NSVD_USE_LAPACK)
    if (c.cols() == 1 && op_b == op::none) {
        const auto gemv = [&](auto routine) {
            routine(CblasColMajor, op_a == op::none ? CblasNoTrans : CblasTrans, blas_size(a.rows()),
                    blas_size(a.cols()), mode == into::set ? Scalar(1) : Scalar(-1), a.data(),
                    blas_size(a.outerStride()), b.data(), 1, mode == into::set ? Scalar(0) : Scalar(1),
                    c.data(), 1);
        };
        if constexpr (std::same_as<Scalar, double>)
            gemv(cblas_dgemv);
        else
            gemv(cblas_sgemv);
        return;
    }
    const auto gemm = [&](auto routine) {
        routine(CblasColMajor, op_a == op::none ? CblasNoTrans : CblasTrans,
                op_b == op::none ? CblasNoTrans : CblasTrans, blas_size(c.rows()), blas_size(c.cols()),
                blas_size(depth), mode == into::set ? Scalar(1) : Scalar(-1), a.data(),
                blas_size(a.outerStride()), b.data(), blas_size(b.outerStride()),
                mode == into::set ? Scalar(0) : Scalar(1), c.data(), blas_size(c.rows()));
    };
    if constexpr (std::same_as<Scalar, double>)
        gemm(cblas_dgemm);
    else
        gemm(cblas_sgemm);
#else
    // A copy of a transposed operand costs little beside the product and saves three more instantiations of
    // it.
    using plain = Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic>;
    if (op_a == op::transpose) return multiply_into<Scalar>(c, plain(a.transpose()), op::none, b, op_b, mode);
    if (op_b == op::transpose)
        return multiply_into<Scalar>(c, a, op::none, plain(b.transpose()), op::none, mode);
    if (mode == into::set)
        c.noalias() = a * b;
    else
        c.noalias() -= a * b;
#endif
}

/// `op(A) op(B)`.
template <factor_scalar Scalar = double>
[[nodiscard]] Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic> multiply(const dense_ref<Scalar>& a,
                                                                             op op_a,
                                                                             const dense_ref<Scalar>& b,
                                                                             op op_b) {
    Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic> c(op_a == op::none ? a.rows() : a.cols(),
                                                            op_b == op::none ? b.cols() : b.rows());
    multiply_into<Scalar>(c, a, op_a, b, op_b);
    return c;
}

/// `A ← A − Q Qᵀ A` for orthonormal `Q`.
inline void project_out(Eigen::MatrixXd& a, const dense_ref<double>& q) {
    if (q.cols() == 0) return;
    multiply_into<double>(a, q, op::none, multiply(q, op::transpose, a, op::none), op::none, into::subtract);
}

/// Lower triangle of `C ← C + op(A) op(A)ᵀ`; the upper triangle is left undefined. Half the flops of a
/// product.
inline void add_gram_lower(Eigen::MatrixXd& c, const dense_ref<double>& a, op op_a) {
    if (a.size() == 0) return;
#if defined(NSVD_USE_LAPACK)
    cblas_dsyrk(CblasColMajor, CblasLower, op_a == op::none ? CblasNoTrans : CblasTrans, blas_size(c.rows()),
                blas_size(op_a == op::none ? a.cols() : a.rows()), 1.0, a.data(), blas_size(a.outerStride()),
                1.0, c.data(), blas_size(c.rows()));
#else
    if (op_a == op::transpose) return add_gram_lower(c, Eigen::MatrixXd(a.transpose()), op::none);
    c.selfadjointView<Eigen::Lower>().rankUpdate(a);
#endif
}

/// Overwrites `B` with `L⁻¹ B` for the lower triangle of a square `L`.
inline void solve_lower(const Eigen::MatrixXd& l, Eigen::MatrixXd& b) {
    if (b.size() == 0) return;
#if defined(NSVD_USE_LAPACK)
    cblas_dtrsm(CblasColMajor, CblasLeft, CblasLower, CblasNoTrans, CblasNonUnit, blas_size(b.rows()),
                blas_size(b.cols()), 1.0, l.data(), blas_size(l.rows()), b.data(), blas_size(b.rows()));
#else
    l.triangularView<Eigen::Lower>().solveInPlace(b);
#endif
}

/// Overwrites `B` with `U⁻¹ B` for the upper triangle of a square `U`: a lower one read from the other end.
inline void solve_upper(const Eigen::MatrixXd& u, Eigen::MatrixXd& b) {
    b.colwise().reverseInPlace();
    solve_lower(u.reverse(), b);
    b.colwise().reverseInPlace();
}

}  // namespace nsvd::inline NSVD_ABI::detail
