// SPDX-License-Identifier: MIT
/// Matrix products, through CBLAS in the LAPACK backend and through Eigen otherwise. They run in as many
/// threads as the BLAS (or Eigen with OpenMP) was told to use by the program; nsvd starts none.
#pragma once

#include "../matrix.hpp"
#include "dense_span.hpp"
#include "narrow.hpp"

#include <Eigen/Core>

#include <algorithm>
#include <concepts>
#include <cstdint>
#if defined(NSVD_USE_LAPACK)
#include <cblas.h>
#endif

namespace nsvd::inline NSVD_ABI::detail {

enum class op : bool { none, transpose };

#if defined(NSVD_USE_LAPACK)
template <class Int>
Int integer_of(void (*)(Int, double, double*, Int));
/// The integer type of the CBLAS in use, for which every one has its own name.
using blas_int = decltype(integer_of(&cblas_dscal));

inline blas_int blas_size(Eigen::Index n) {
    return narrow<blas_int>(n, "a matrix dimension");
}
#endif

#if !defined(NSVD_USE_LAPACK)
/// With Eigen alone everything of level 3 is a general product, which is compiled once a scalar, and a
/// recursion that ends here (Elmroth and Gustavson; Kågström, Ling and Van Loan).
inline constexpr Eigen::Index recursion_ends = 64;
#endif

/// What a product does to its destination.
enum class into : std::uint8_t { set, add, subtract };

/// `C ← op(A) op(B)`, `C ← C + op(A) op(B)` or `C ← C − op(A) op(B)`, for `float` and `double`; C must have
/// the right shape and not overlap A or B. All products of the library come through here: one instantiation a
/// scalar keeps it quick to compile.
template <factor_scalar Scalar>
[[gnu::noinline]] void multiply_into(dense_out<Scalar> c, dense_ref<Scalar> a, op op_a, dense_ref<Scalar> b,
                                     op op_b, into mode = into::set) {
    const Eigen::Index depth = op_a == op::none ? a.cols() : a.rows();
    if (c.size() == 0) return;
    eigen_assert(c.rows() == (op_a == op::none ? a.rows() : a.cols()) &&
                 c.cols() == (op_b == op::none ? b.cols() : b.rows()) &&
                 depth == (op_b == op::none ? b.rows() : b.cols()));
    if (depth == 0) {
        if (mode == into::set) set_constant<Scalar>(c, Scalar(0));
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
    if (op_a == op::transpose)
        return multiply_into<Scalar>(c, transposed<Scalar>(a), op::none, b, op_b, mode);
    if (op_b == op::transpose)
        return multiply_into<Scalar>(c, a, op::none, transposed<Scalar>(b), op::none, mode);
    if (mode == into::set) set_constant<Scalar>(c, Scalar(0));
    const Scalar alpha = mode == into::subtract ? Scalar(-1) : Scalar(1);
    c.matrix().noalias() += (alpha * a.matrix()) * b.matrix();
#endif
}

/// `op(A) op(B)`.
template <factor_scalar Scalar = double>
[[gnu::noinline]] [[nodiscard]] Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic> multiply(
    dense_ref<Scalar> a, op op_a, dense_ref<Scalar> b, op op_b) {
    Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic> c(op_a == op::none ? a.rows() : a.cols(),
                                                            op_b == op::none ? b.cols() : b.rows());
    multiply_into<Scalar>(c, a, op_a, b, op_b);
    return c;
}

/// `C ← S B` for a symmetric `S` of which only the lower triangle is read.
template <factor_scalar Scalar>
[[gnu::noinline]] void multiply_symmetric_into(dense_out<Scalar> c, dense_ref<Scalar> s,
                                               dense_ref<Scalar> b) {
    if (c.size() == 0) return;
    eigen_assert(s.rows() == s.cols() && c.rows() == s.rows() && b.rows() == s.cols() &&
                 c.cols() == b.cols());
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
    set_constant<Scalar>(c, Scalar(0));
    constexpr Eigen::Index panel = 256;
    for (Eigen::Index first = 0; first < s.rows(); first += panel) {
        const Eigen::Index count = std::min(panel, s.rows() - first);
        const Eigen::Index below = s.rows() - first - count;
        dense_matrix<Scalar> square = converted<Scalar, Scalar>(s.block(first, first, count, count));
        mirror_lower<Scalar>(square);
        const dense_ref<Scalar> strip = s.block(first + count, first, below, count);
        const auto add = [&](dense_out<Scalar> to, dense_ref<Scalar> part, op op_part,
                             dense_ref<Scalar> from) {
            multiply_into<Scalar>(to, part, op_part, from, op::none, into::add);
        };
        add(c.middleRows(first, count), square, op::none, b.middleRows(first, count));
        add(c.bottomRows(below), strip, op::none, b.middleRows(first, count));
        add(c.middleRows(first, count), strip, op::transpose, b.bottomRows(below));
    }
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
[[gnu::noinline]] void project_out(dense_out<Scalar> a, dense_ref<Scalar> q) {
    if (q.cols() == 0) return;
    multiply_into<Scalar>(a, q, op::none, multiply<Scalar>(q, op::transpose, a, op::none), op::none,
                          into::subtract);
}

/// `op(A) X` in double for an A of either scalar, which is converted a panel at a time.
template <factor_scalar Scalar>
[[gnu::noinline]] [[nodiscard]] Eigen::MatrixXd multiply_in_double(dense_ref<Scalar> a, op op_a,
                                                                   dense_ref<double> x) {
    if constexpr (std::same_as<Scalar, double>) {
        return multiply(a, op_a, x, op::none);
    } else {
        const Eigen::Index panel = x.cols() <= 32 ? thin_panel(a.rows()) : 256;
        Eigen::MatrixXd result(op_a == op::none ? a.rows() : a.cols(), x.cols());
        const dense_span<double> y(result);
        Eigen::MatrixXd memory(a.rows(), std::min(panel, a.cols()));
        if (op_a == op::none) set_constant<double>(y, 0.0);
        for (Eigen::Index first = 0; first < a.cols(); first += panel) {
            const Eigen::Index count = std::min(panel, a.cols() - first);
            const dense_span<double> part = dense_span<double>(memory).leftCols(count);
            assign<double, Scalar>(part, a.middleCols(first, count));
            if (op_a == op::none)
                multiply_into<double>(y, part, op::none, x.middleRows(first, count), op::none, into::add);
            else
                multiply_into<double>(y.middleRows(first, count), part, op::transpose, x, op::none);
        }
        return result;
    }
}

/// `A ← A − Q Qᵀ A` in double for an orthonormal `Q` of either scalar.
template <factor_scalar Scalar>
[[gnu::noinline]] void project_out_in_double(dense_out<double> a, dense_ref<Scalar> q) {
    if (q.cols() > 0)
        add_multiple<double>(
            a, -1.0,
            multiply_in_double<Scalar>(q, op::none, multiply_in_double<Scalar>(q, op::transpose, a)));
}

#if !defined(NSVD_USE_LAPACK)
/// Lower triangle of `C ← C ± A Aᵀ`, given both factors; above it nothing is touched.
template <factor_scalar Scalar>
[[gnu::noinline]] void add_gram_lower_of(dense_out<Scalar> c, dense_ref<Scalar> a,
                                         dense_ref<Scalar> a_transposed, into mode) {
    if (c.rows() <= recursion_ends) {
        const dense_matrix<Scalar> product = multiply<Scalar>(a, op::none, a_transposed, op::none);
        const Scalar factor = mode == into::subtract ? Scalar(-1) : Scalar(1);
        for (Eigen::Index j = 0; j < c.cols(); ++j)
            for (Eigen::Index i = j; i < c.rows(); ++i)
                c(i, j) += factor * product(i, j);
        return;
    }
    const Eigen::Index half = c.rows() / 2;
    const Eigen::Index rest = c.rows() - half;
    add_gram_lower_of<Scalar>(c.block(0, 0, half, half), a.topRows(half), a_transposed.leftCols(half), mode);
    multiply_into<Scalar>(c.block(half, 0, rest, half), a.bottomRows(rest), op::none,
                          a_transposed.leftCols(half), op::none, mode);
    add_gram_lower_of<Scalar>(c.block(half, half, rest, rest), a.bottomRows(rest),
                              a_transposed.rightCols(rest), mode);
}
#endif

/// Lower triangle of `C ← C ± op(A) op(A)ᵀ`; the upper triangle is left undefined. Half the flops of a
/// product.
template <factor_scalar Scalar = double>
[[gnu::noinline]] void add_gram_lower(dense_out<Scalar> c, dense_ref<Scalar> a, op op_a,
                                      into mode = into::add) {
    if (a.size() == 0) return;
#if defined(NSVD_USE_LAPACK)
    const Scalar alpha = mode == into::subtract ? Scalar(-1) : Scalar(1);
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
    // a and aᵀ, so that no product copies a transposed part again.
    const bool given = op_a == op::none;
    const dense_matrix<Scalar> other = transposed<Scalar>(a);
    detail::add_gram_lower_of<Scalar>(c, given ? a : dense_ref<Scalar>(other),
                                      given ? dense_ref<Scalar>(other) : a,
                                      mode == into::subtract ? into::subtract : into::add);
#endif
}

/// Lower triangle of `C ← C + op(A) op(B)ᵀ + op(B) op(A)ᵀ`; the upper triangle is left undefined.
template <factor_scalar Scalar = float>
[[gnu::noinline]] void add_symmetric_lower(dense_out<Scalar> c, dense_ref<Scalar> a, dense_ref<Scalar> b,
                                           op op_ab = op::none) {
    if (a.size() == 0) return;
#if defined(NSVD_USE_LAPACK)
    const auto syr2k = [&](auto routine) {
        routine(CblasColMajor, CblasLower, op_ab == op::none ? CblasNoTrans : CblasTrans, blas_size(c.rows()),
                blas_size(op_ab == op::none ? a.cols() : a.rows()), Scalar(1), a.data(),
                blas_size(a.outerStride()), b.data(), blas_size(b.outerStride()), Scalar(1), c.data(),
                blas_size(c.outerStride()));
    };
    if constexpr (std::same_as<Scalar, double>)
        syr2k(cblas_dsyr2k);
    else
        syr2k(cblas_ssyr2k);
#else
    const dense_matrix<Scalar> product =
        multiply<Scalar>(a, op_ab, b, op_ab == op::none ? op::transpose : op::none);
    add_multiple<Scalar>(c, Scalar(1), product);
    add_multiple<Scalar>(c, Scalar(1), transposed<Scalar>(product));
#endif
}

/// Overwrites `B` with `B L⁻ᵀ` for the lower triangle of a square `L`.
template <factor_scalar Scalar>
[[gnu::noinline]] void solve_right_transposed(dense_ref<Scalar> l, dense_out<Scalar> b) {
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
    // [B₁ B₂] ← [B₁ L₁₁⁻ᵀ, (B₂ − B₁ L₂₁ᵀ) L₂₂⁻ᵀ]
    const Eigen::Index n = l.rows();
    const Eigen::Index half = n > recursion_ends ? n / 2 : n - 1;
    const Eigen::Index rest = n - half;
    if (half == 0) {
        const double inverse = 1.0 / static_cast<double>(l(0, 0));
        return assign_scaled<Scalar, Scalar>(b, b, &inverse);
    }
    const dense_span<Scalar> solved = b.leftCols(half);
    const dense_span<Scalar> others = b.rightCols(rest);
    solve_right_transposed<Scalar>(l.block(0, 0, half, half), solved);
    multiply_into<Scalar>(others, solved, op::none, l.block(half, 0, rest, half), op::transpose,
                          into::subtract);
    solve_right_transposed<Scalar>(l.block(half, half, rest, rest), others);
#endif
}

/// Overwrites `B` with `L B` (`left`) or `B L` for the lower triangle of a square `L`.
template <factor_scalar Scalar = float>
[[gnu::noinline]] void multiply_lower(dense_ref<Scalar> l, dense_out<Scalar> b, bool left) {
    if (b.size() == 0) return;
#if defined(NSVD_USE_LAPACK)
    const auto trmm = [&](auto routine) {
        routine(CblasColMajor, left ? CblasLeft : CblasRight, CblasLower, CblasNoTrans, CblasNonUnit,
                blas_size(b.rows()), blas_size(b.cols()), Scalar(1), l.data(), blas_size(l.outerStride()),
                b.data(), blas_size(b.outerStride()));
    };
    if constexpr (std::same_as<Scalar, double>)
        trmm(cblas_dtrmm);
    else
        trmm(cblas_strmm);
#else
    // Twice the flops of a triangular product, and nothing new to compile.
    dense_matrix<Scalar> lower = converted<Scalar, Scalar>(l);
    clear_above_diagonal<Scalar>(lower);
    const dense_matrix<Scalar> copy = converted<Scalar, Scalar>(b);
    if (left)
        multiply_into<Scalar>(b, lower, op::none, copy, op::none);
    else
        multiply_into<Scalar>(b, copy, op::none, lower, op::none);
#endif
}

/// `A ← Lᵀ A L` for symmetric A and lower triangular L, of which lower triangles are read; the upper triangle
/// of A is left undefined. n³ flops. By panels of rows of A's lower half T, `A = T + Tᵀ`: that with rows P
/// adds `L_Pᵀ (T_P L) + (T_P L)ᵀ L_P` to what is left and above of its end. (LAPACK's sygst does it in many
/// more and smaller products.)
template <factor_scalar Scalar = float>
[[gnu::noinline]] void multiply_two_sided(dense_out<Scalar> a, dense_ref<Scalar> l) {
    constexpr Eigen::Index panel = 256;
    for (Eigen::Index first = 0; first < a.rows(); first += panel) {
        const Eigen::Index count = std::min(panel, a.rows() - first);
        const Eigen::Index end = first + count;
        const dense_span<Scalar> rows = a.block(first, 0, count, end);
        dense_matrix<Scalar> half = converted<Scalar, Scalar>(rows);
        const dense_span<Scalar> diagonal_block = dense_span<Scalar>(half).rightCols(count);
        clear_above_diagonal<Scalar>(diagonal_block);
        for (Eigen::Index j = 0; j < count; ++j)
            diagonal_block(j, j) *= Scalar(0.5);
        dense_matrix<Scalar> factor = converted<Scalar, Scalar>(l.block(first, 0, count, end));
        clear_above_diagonal<Scalar>(dense_span<Scalar>(factor).rightCols(count));
        set_constant<Scalar>(rows, Scalar(0));
        multiply_lower<Scalar>(l.block(0, 0, end, end), half, false);
        add_symmetric_lower<Scalar>(a.block(0, 0, end, end), factor, half, op::transpose);
    }
}

/// Overwrites `B` with `L⁻¹ B` for the lower triangle of a square `L`.
template <factor_scalar Scalar = double>
[[gnu::noinline]] void solve_lower(dense_ref<Scalar> l, dense_out<Scalar> b) {
    if (b.size() == 0) return;
#if defined(NSVD_USE_LAPACK)
    const auto trsm = [&](auto routine) {
        routine(CblasColMajor, CblasLeft, CblasLower, CblasNoTrans, CblasNonUnit, blas_size(b.rows()),
                blas_size(b.cols()), Scalar(1), l.data(), blas_size(l.outerStride()), b.data(),
                blas_size(b.outerStride()));
    };
    if constexpr (std::same_as<Scalar, double>)
        trsm(cblas_dtrsm);
    else
        trsm(cblas_strsm);
#else
    dense_matrix<Scalar> transposed_b = transposed<Scalar>(b);
    solve_right_transposed<Scalar>(l, transposed_b);
    assign<Scalar, Scalar>(b, transposed<Scalar>(transposed_b));
#endif
}

/// Overwrites `B` with `U⁻¹ B` for the upper triangle of a square `U`: a lower one read from the other end.
template <factor_scalar Scalar = double>
[[gnu::noinline]] void solve_upper(dense_ref<Scalar> u, dense_out<Scalar> b) {
    dense_matrix<Scalar> lower(u.rows(), u.cols());
    for (Eigen::Index j = 0; j < u.cols(); ++j)
        for (Eigen::Index i = 0; i < u.rows(); ++i)
            lower(i, j) = u(u.rows() - 1 - i, u.cols() - 1 - j);
    const auto reverse_rows = [&b] {
        for (Eigen::Index j = 0; j < b.cols(); ++j)
            std::reverse(b.col(j), b.col(j) + b.rows());
    };
    reverse_rows();
    solve_lower<Scalar>(lower, b);
    reverse_rows();
}

}  // namespace nsvd::inline NSVD_ABI::detail
