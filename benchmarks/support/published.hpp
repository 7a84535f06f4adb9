// SPDX-License-Identifier: MIT
/// The published pipelines (SVD-LLM 2403.07378, NSVD 2503.17101): Cholesky factor of the Gram matrix,
/// product, full thin `gesdd`, triangular solve; NSVD does it all and then a second `gesdd`, of the residual.
/// In the precision of the weights, through LAPACK. Each method runs all that it needs on its own.
#pragma once

#include "lapack.hpp"

#include <cmath>
#include <utility>

namespace bench::published {

template <class Scalar>
struct factors {
    dense<Scalar> left;   ///< m×k
    dense<Scalar> right;  ///< k×n
    bool ridge = false;   ///< the Gram matrix had no Cholesky factor in this precision: one was forced
};

/// Truncated SVD: one `gesdd`.
template <class Scalar>
[[nodiscard]] factors<Scalar> svd(const dense<Scalar>& w, Index k) {
    const thin_svd<Scalar> d = gesdd<Scalar>(w);
    return {d.left.leftCols(k) * d.values.head(k).asDiagonal(), d.right_adjoint.topRows(k)};
}

/// `gram` is `X Xᵀ`, full and symmetric.
template <class Scalar>
[[nodiscard]] factors<Scalar> asvd(const dense<Scalar>& w, const dense<Scalar>& gram, Index k) {
    dense<Scalar> l = gram;
    bool ridge = false;
    for (Scalar relative = Scalar(1e-6); potrf(l) != 0; relative *= 10) {
        l = gram;
        l.diagonal().array() += relative * gram.diagonal().mean();
        ridge = true;
    }
    l.template triangularView<Eigen::StrictlyUpper>().setZero();
    const thin_svd<Scalar> d = gesdd<Scalar>(multiply<Scalar>(w, false, l, false));
    factors<Scalar> result{d.left.leftCols(k) * d.values.head(k).asDiagonal(), d.right_adjoint.topRows(k),
                           ridge};
    apply_lower_right(result.right, l, true);
    return result;
}

/// `share` of the rank for the first stage.
template <class Scalar>
[[nodiscard]] factors<Scalar> nested(const dense<Scalar>& w, const dense<Scalar>& gram, Index k,
                                     double share) {
    const auto first_rank =
        std::max<Index>(1, static_cast<Index>(std::floor(share * static_cast<double>(k) + 0.5)));
    factors<Scalar> first = asvd(w, gram, first_rank);
    dense<Scalar> residual = w;
    multiply_into<Scalar>(residual, first.left, false, first.right, false, Scalar(-1), Scalar(1));
    const Index second_rank = k - first_rank;
    const thin_svd<Scalar> d = gesdd<Scalar>(std::move(residual));
    factors<Scalar> result{dense<Scalar>(w.rows(), k), dense<Scalar>(k, w.cols()), first.ridge};
    result.left << first.left, d.left.leftCols(second_rank) * d.values.head(second_rank).asDiagonal();
    result.right << first.right, d.right_adjoint.topRows(second_rank);
    return result;
}

/// Flops by the usual count: R-SVD with thin vectors of an m×n matrix, s = min(m, n), l = max(m, n), 6 l s² +
/// 20 s³ (Golub & Van Loan, Matrix Computations, table 8.6.1).
[[nodiscard]] inline double svd_flops(Index rows, Index cols) {
    const auto s = static_cast<double>(std::min(rows, cols));
    const auto l = static_cast<double>(std::max(rows, cols));
    return 6 * l * s * s + 20 * s * s * s;
}

[[nodiscard]] inline double asvd_flops(Index rows, Index cols, Index k) {
    const auto m = static_cast<double>(rows);
    const auto n = static_cast<double>(cols);
    return n * n * n / 3 + 2 * m * n * n + svd_flops(rows, cols) + n * n * static_cast<double>(k);
}

[[nodiscard]] inline double nested_flops(Index rows, Index cols, Index k) {
    return asvd_flops(rows, cols, k) + svd_flops(rows, cols) +
           2.0 * static_cast<double>(rows) * static_cast<double>(cols) * static_cast<double>(k);
}

}  // namespace bench::published
