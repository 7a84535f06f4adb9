// SPDX-License-Identifier: MIT
/// Matrix products, through CBLAS in the LAPACK backend and through Eigen otherwise. They run in as many
/// threads as the BLAS (or Eigen with OpenMP) was told to use by the program; nsvd starts none.
#pragma once

#include "../matrix.hpp"
#include "narrow.hpp"

#include <Eigen/Core>

#include <algorithm>
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

/// The same to be written to.
template <class Scalar>
using dense_out = std::type_identity_t<
    Eigen::Ref<Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic>, 0, Eigen::OuterStride<>>>;

#if defined(NSVD_USE_LAPACK)
template <class Int>
Int integer_of(void (*)(Int, double, double*, Int));
/// The integer type of the CBLAS in use, for which every one has its own name.
using blas_int = decltype(integer_of(&cblas_dscal));

inline blas_int blas_size(Eigen::Index n) {
    return narrow<blas_int>(n, "a matrix dimension");
}
#endif

/// What a product does to its destination.
enum class into : std::uint8_t { set, add, subtract };

/// `C ← op(A) op(B)`, `C ← C + op(A) op(B)` or `C ← C − op(A) op(B)`, for `float` and `double`; C must have
/// the right shape and not overlap A or B. All products of the library come through here: one instantiation a
/// scalar keeps it quick to compile.
template <factor_scalar Scalar>
void multiply_into(dense_out<Scalar> c, const dense_ref<Scalar>& a, op op_a, const dense_ref<Scalar>& b,
                   op op_b, into mode = into::set) {
    if (c.size() == 0) return;
    const Eigen::Index depth = op_a == op::none ? a.cols() : a.rows();
    if (depth == 0) {
        if (mode == into::set) c.setZero();
        return;
    }
#if defined(NSVD_USE_LAPACK)
    const Scalar alpha = mode == into::subtract ? Scalar(-1) : Scalar(1);
    const Scalar beta = mode == into::set ? Scalar(0) : Scalar(1);
    if (c.cols() == 1 && op_b == op::none) {
        const auto gemv = [&](auto routine) {
            routine(CblasColMajor, op_a == op::none ? CblasNoTrans : CblasTrans, blas_size(a.rows()),
                    blas_size(a.cols()), alpha, a.data(), blas_size(a.outerStride()), b.data(), 1, beta,
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
                blas_size(depth), alpha, a.data(), blas_size(a.outerStride()), b.data(),
                blas_size(b.outerStride()), beta, c.data(), blas_size(c.outerStride()));
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
    if (mode == into::set) c.setZero();
    if (mode == into::subtract)
        c.noalias() -= a * b;
    else
        c.noalias() += a * b;
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

/// `C ← S B` for a symmetric `S` of which only the lower triangle is read.
template <factor_scalar Scalar>
void multiply_symmetric_into(dense_out<Scalar> c, const dense_ref<Scalar>& s, const dense_ref<Scalar>& b) {
    if (c.size() == 0) return;
#if defined(NSVD_USE_LAPACK)
    const auto symm = [&](auto routine) {
        routine(CblasColMajor, CblasLeft, CblasLower, blas_size(c.rows()), blas_size(c.cols()), Scalar(1),
                s.data(), blas_size(s.outerStride()), b.data(), blas_size(b.outerStride()), Scalar(0),
                c.data(), blas_size(c.outerStride()));
    };
    if constexpr (std::same_as<Scalar, double>)
        symm(cblas_dsymm);
    else
        symm(cblas_ssymm);
#else
    c.noalias() = s.template selfadjointView<Eigen::Lower>() * b;
#endif
}

/// How many columns of m rows to convert at a time where products with few vectors take turns with it: small
/// enough for the products to stay in one thread, and the columns in the cache of one core. Writing to what
/// another core has read was measured to make the conversion ten times slower.
[[nodiscard]] constexpr Eigen::Index thin_panel(Eigen::Index rows) noexcept {
    return std::max<Eigen::Index>(1, (1 << 16) / std::max<Eigen::Index>(rows, 1));
}

/// `A ← A − Q Qᵀ A` for orthonormal `Q`.
template <factor_scalar Scalar = double>
void project_out(dense_out<Scalar> a, const dense_ref<Scalar>& q) {
    if (q.cols() == 0) return;
    multiply_into<Scalar>(a, q, op::none, multiply<Scalar>(q, op::transpose, a, op::none), op::none,
                          into::subtract);
}

/// `op(A) X` in double for an A of either scalar, which is converted a panel at a time.
template <factor_scalar Scalar>
[[nodiscard]] Eigen::MatrixXd multiply_in_double(const dense_ref<Scalar>& a, op op_a,
                                                 const dense_ref<double>& x) {
    if constexpr (std::same_as<Scalar, double>) {
        return multiply(a, op_a, x, op::none);
    } else {
        const Eigen::Index panel = x.cols() <= 32 ? thin_panel(a.rows()) : 256;
        Eigen::MatrixXd result(op_a == op::none ? a.rows() : a.cols(), x.cols());
        if (op_a == op::none) result.setZero();
        Eigen::MatrixXd converted;
        for (Eigen::Index first = 0; first < a.cols(); first += panel) {
            const Eigen::Index count = std::min(panel, a.cols() - first);
            converted = a.middleCols(first, count).template cast<double>();
            if (op_a == op::none)
                multiply_into<double>(result, converted, op::none, x.middleRows(first, count), op::none,
                                      into::add);
            else
                multiply_into<double>(result.middleRows(first, count), converted, op::transpose, x, op::none);
        }
        return result;
    }
}

/// `A ← A − Q Qᵀ A` in double for an orthonormal `Q` of either scalar.
template <factor_scalar Scalar>
void project_out_in_double(dense_out<double> a, const dense_ref<Scalar>& q) {
    if (q.cols() > 0)
        a -= multiply_in_double<Scalar>(q, op::none, multiply_in_double<Scalar>(q, op::transpose, a));
}

/// Lower triangle of `C ← C ± op(A) op(A)ᵀ`; the upper triangle is left undefined. Half the flops of a
/// product.
template <factor_scalar Scalar = double>
void add_gram_lower(dense_out<Scalar> c, const dense_ref<Scalar>& a, op op_a, into mode = into::add) {
    if (a.size() == 0) return;
    const Scalar alpha = mode == into::subtract ? Scalar(-1) : Scalar(1);
#if defined(NSVD_USE_LAPACK)
    const auto syrk = [&](auto routine) {
        routine(CblasColMajor, CblasLower, op_a == op::none ? CblasNoTrans : CblasTrans, blas_size(c.rows()),
                blas_size(op_a == op::none ? a.cols() : a.rows()), alpha, a.data(),
                blas_size(a.outerStride()), Scalar(1), c.data(), blas_size(c.outerStride()));
    };
    if constexpr (std::same_as<Scalar, double>)
        syrk(cblas_dsyrk);
    else
        syrk(cblas_ssyrk);
#else
    using plain = Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic>;
    if (op_a == op::transpose) return add_gram_lower<Scalar>(c, plain(a.transpose()), op::none, mode);
    c.template selfadjointView<Eigen::Lower>().rankUpdate(a, alpha);
#endif
}

/// Lower triangle of `C ← C + op(A) op(B)ᵀ + op(B) op(A)ᵀ`; the upper triangle is left undefined.
inline void add_symmetric_lower(dense_out<float> c, const dense_ref<float>& a, const dense_ref<float>& b,
                                op op_ab = op::none) {
    if (a.size() == 0) return;
#if defined(NSVD_USE_LAPACK)
    cblas_ssyr2k(CblasColMajor, CblasLower, op_ab == op::none ? CblasNoTrans : CblasTrans,
                 blas_size(c.rows()), blas_size(op_ab == op::none ? a.cols() : a.rows()), 1.0F, a.data(),
                 blas_size(a.outerStride()), b.data(), blas_size(b.outerStride()), 1.0F, c.data(),
                 blas_size(c.outerStride()));
#else
    const Eigen::MatrixXf product = op_ab == op::none ? multiply<float>(a, op::none, b, op::transpose)
                                                      : multiply<float>(a, op::transpose, b, op::none);
    c += product + product.transpose();
#endif
}

/// Overwrites `B` with `B L⁻ᵀ` for the lower triangle of a square `L`.
template <factor_scalar Scalar>
void solve_right_transposed(const dense_ref<Scalar>& l, dense_out<Scalar> b) {
    if (b.size() == 0) return;
#if defined(NSVD_USE_LAPACK)
    const auto trsm = [&](auto routine) {
        routine(CblasColMajor, CblasRight, CblasLower, CblasTrans, CblasNonUnit, blas_size(b.rows()),
                blas_size(b.cols()), Scalar(1), l.data(), blas_size(l.outerStride()), b.data(),
                blas_size(b.outerStride()));
    };
    if constexpr (std::same_as<Scalar, double>)
        trsm(cblas_dtrsm);
    else
        trsm(cblas_strsm);
#else
    l.template triangularView<Eigen::Lower>().transpose().template solveInPlace<Eigen::OnTheRight>(b);
#endif
}

/// Overwrites `B` with `L B` for the lower triangle of a square `L`.
inline void multiply_left_lower(const dense_ref<float>& l, dense_out<float> b) {
    if (b.size() == 0) return;
#if defined(NSVD_USE_LAPACK)
    cblas_strmm(CblasColMajor, CblasLeft, CblasLower, CblasNoTrans, CblasNonUnit, blas_size(b.rows()),
                blas_size(b.cols()), 1.0F, l.data(), blas_size(l.outerStride()), b.data(),
                blas_size(b.outerStride()));
#else
    b = Eigen::MatrixXf(l.triangularView<Eigen::Lower>() * Eigen::MatrixXf(b));
#endif
}

/// Overwrites `B` with `B L` for the lower triangle of a square `L`.
inline void multiply_right_lower(dense_out<float> b, const dense_ref<float>& l) {
    if (b.size() == 0) return;
#if defined(NSVD_USE_LAPACK)
    cblas_strmm(CblasColMajor, CblasRight, CblasLower, CblasNoTrans, CblasNonUnit, blas_size(b.rows()),
                blas_size(b.cols()), 1.0F, l.data(), blas_size(l.outerStride()), b.data(),
                blas_size(b.outerStride()));
#else
    b = Eigen::MatrixXf(Eigen::MatrixXf(b) * l.triangularView<Eigen::Lower>());
#endif
}

/// `A ← Lᵀ A L` for symmetric A and lower triangular L, of which lower triangles are read; the upper triangle
/// of A is left undefined. n³ flops. By panels of rows of A's lower half T, `A = T + Tᵀ`: that with rows P
/// adds `L_Pᵀ (T_P L) + (T_P L)ᵀ L_P` to what is left and above of its end. (LAPACK's sygst does it in many
/// more and smaller products.)
inline void multiply_two_sided(dense_out<float> a, const dense_ref<float>& l) {
    constexpr Eigen::Index panel = 256;
    Eigen::MatrixXf half;
    Eigen::MatrixXf factor;
    for (Eigen::Index first = 0; first < a.rows(); first += panel) {
        const Eigen::Index count = std::min(panel, a.rows() - first);
        const Eigen::Index end = first + count;
        const auto panel_of = [&](const auto& m) { return m.block(first, 0, count, end); };
        half = panel_of(a);
        half.rightCols(count).triangularView<Eigen::StrictlyUpper>().setZero();
        half.rightCols(count).diagonal() *= 0.5F;
        factor = panel_of(l);
        factor.rightCols(count).triangularView<Eigen::StrictlyUpper>().setZero();
        a.block(first, 0, count, end).setZero();
        multiply_right_lower(half, l.topLeftCorner(end, end));
        add_symmetric_lower(a.topLeftCorner(end, end), factor, half, op::transpose);
    }
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
