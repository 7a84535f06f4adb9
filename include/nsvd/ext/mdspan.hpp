// SPDX-License-Identifier: MIT
/// Every mdspan of rank 2 as a matrix of nsvd: `std::mdspan`, that of Kokkos, and any class with the same
/// interface. Read where it lies, not copied. Includes none of them.
#pragma once

#include "../matrix.hpp"

#include <concepts>
#include <string>
#include <type_traits>

namespace nsvd::inline NSVD_ABI {

namespace detail {

/// A multidimensional view of rank 2 on real numbers in memory. An accessor that computes what it returns
/// (scaled, conjugated) is none.
template <class T>
concept mdspan_matrix = requires(const T& x) {
    typename T::extents_type;
    typename T::mapping_type;
    requires real_scalar<typename T::value_type>;
    requires T::rank()
    == 2;
    requires std::same_as<typename T::reference, typename T::element_type&>;
    { x.data_handle() } -> std::convertible_to<const typename T::value_type*>;
    { x.extent(0) } -> std::convertible_to<index>;
    { x.is_strided() } -> std::convertible_to<bool>;
};

}  // namespace detail

/// Throws `nsvd::error` if the layout has no strides, or negative ones.
template <detail::mdspan_matrix T>
struct matrix_traits<T> {
    /// Where its numbers lie.
    static strided_view<typename T::value_type> view(const T& x) {
        const auto rows = static_cast<index>(x.extent(0));
        const auto cols = static_cast<index>(x.extent(1));
        if constexpr (requires { x.mapping().stride(0); }) {
            if (x.is_strided()) {
                const auto row_stride = static_cast<index>(x.stride(0));
                const auto col_stride = static_cast<index>(x.stride(1));
                detail::require_strides(rows, cols, row_stride, col_stride, "mdspan");
                return {x.data_handle(), rows, cols, row_stride, col_stride};
            }
        }
        throw error("mdspan: the layout of x, " + detail::shape_text(rows, cols) + ", has no strides");
    }
};

}  // namespace nsvd::inline NSVD_ABI
