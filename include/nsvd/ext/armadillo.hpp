// SPDX-License-Identifier: MIT
/// Armadillo matrices as matrices of nsvd: `Mat`, `Col`, `Row`, their fixed sizes, contiguous submatrices,
/// rows and columns, and the transposes of these. All are read where they lie, none is copied.
#pragma once

#include "../matrix.hpp"

#include <Eigen/Core>

#include <armadillo>
#include <concepts>

namespace nsvd::inline NSVD_ABI {

/// `arma::Mat` and what derives from it: column-major without gaps.
template <class T>
requires real_scalar<typename T::elem_type> && std::derived_from<T, arma::Mat<typename T::elem_type>>
struct matrix_traits<T> {
    /// Where its numbers lie.
    static strided_view<typename T::elem_type> view(const T& x) noexcept {
        const auto rows = static_cast<index>(x.n_rows);
        return {x.memptr(), rows, static_cast<index>(x.n_cols), 1, rows};
    }
};

/// `x.submat(…)`, `x.cols(a, b)`, `x.row(i)`, `x(span, span)`: column-major with the gaps of the parent.
template <class T>
requires real_scalar<typename T::elem_type> && std::derived_from<T, arma::subview<typename T::elem_type>>
struct matrix_traits<T> {
    /// Where its numbers lie.
    static strided_view<typename T::elem_type> view(const T& x) noexcept {
        const auto stride = static_cast<index>(x.m.n_rows);
        const auto offset = static_cast<index>(x.aux_row1) + static_cast<index>(x.aux_col1) * stride;
        return {x.m.memptr() + offset, static_cast<index>(x.n_rows), static_cast<index>(x.n_cols), 1, stride};
    }
};

/// `x.t()` of any of these.
template <detail::viewable_matrix T>
struct matrix_traits<arma::Op<T, arma::op_htrans>> {
    /// Where its numbers lie.
    static auto view(const arma::Op<T, arma::op_htrans>& x) noexcept {
        const auto v = matrix_traits<T>::view(x.m);
        return decltype(v){v.data, v.cols, v.rows, v.col_stride, v.row_stride};
    }
};

/// An `m×n` Eigen matrix, such as a factor of a decomposition, as an `arma::Mat` of the same scalar. A copy.
template <class Derived>
requires factor_scalar<typename Derived::Scalar>
[[nodiscard]] arma::Mat<typename Derived::Scalar> to_armadillo(const Eigen::MatrixBase<Derived>& x) {
    using scalar = typename Derived::Scalar;
    arma::Mat<scalar> result(static_cast<arma::uword>(x.rows()), static_cast<arma::uword>(x.cols()));
    Eigen::Map<detail::dense_matrix<scalar>>(result.memptr(), x.rows(), x.cols()) = x;
    return result;
}

}  // namespace nsvd::inline NSVD_ABI
