// SPDX-License-Identifier: MIT
/// xtensor expressions of two dimensions as matrices of nsvd: `xarray`, `xtensor`, `xtensor_fixed`, adaptors,
/// and views, slices and transposes that have strides. All are read where they lie, none is copied.
#pragma once

#include "../matrix.hpp"

#include <Eigen/Core>

#include <cstddef>
#include <cstdint>
#include <string>
#if __has_include(<xtensor/containers/xtensor.hpp>)
#include <xtensor/containers/xtensor.hpp>
#else
#include <xtensor/xtensor.hpp>
#endif

namespace nsvd::inline NSVD_ABI {

/// Throws `nsvd::error` unless the expression has two dimensions and strides that are not negative, as those
/// of `xt::flip` are.
template <class T>
requires real_scalar<typename T::value_type> && xt::is_xexpression<T>::value &&
    (xt::get_rank<T>::value == 2 || xt::get_rank<T>::value == SIZE_MAX) &&
    requires(const T& x) {
    x.data() + x.data_offset();
    x.strides()[0];
}
struct matrix_traits<T> {
    static strided_view<typename T::value_type> view(const T& x) {
        const auto& shape = x.shape();
        if (shape.size() != 2) {
            std::string text;
            for (const auto extent : shape)
                text += (text.empty() ? "" : "×") + std::to_string(extent);
            throw error("xtensor: x has " + std::to_string(shape.size()) + " dimensions (" + text +
                        "), a matrix has 2");
        }
        const auto rows = static_cast<index>(shape[0]);
        const auto cols = static_cast<index>(shape[1]);
        const auto row_stride = static_cast<index>(x.strides()[0]);
        const auto col_stride = static_cast<index>(x.strides()[1]);
        detail::require_strides(rows, cols, row_stride, col_stride, "xtensor");
        return {x.data() + x.data_offset(), rows, cols, row_stride, col_stride};
    }
};

/// An `m×n` Eigen matrix, such as a factor of a decomposition, as an `xt::xtensor` of two dimensions and the
/// same scalar. A copy, row-major unless `Layout` says otherwise.
template <xt::layout_type Layout = xt::layout_type::row_major, class Derived>
requires factor_scalar<typename Derived::Scalar>
[[nodiscard]] auto to_xtensor(const Eigen::MatrixBase<Derived>& x) {
    static_assert(Layout == xt::layout_type::row_major || Layout == xt::layout_type::column_major);
    using scalar = typename Derived::Scalar;
    constexpr int order = Layout == xt::layout_type::row_major ? Eigen::RowMajor : Eigen::ColMajor;
    using order_matrix = Eigen::Matrix<scalar, Eigen::Dynamic, Eigen::Dynamic, order>;
    xt::xtensor<scalar, 2, Layout> result(
        {static_cast<std::size_t>(x.rows()), static_cast<std::size_t>(x.cols())});
    Eigen::Map<order_matrix>(result.data(), x.rows(), x.cols()) = x;
    return result;
}

}  // namespace nsvd::inline NSVD_ABI
