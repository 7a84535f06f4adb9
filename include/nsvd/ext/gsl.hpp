// SPDX-License-Identifier: MIT
/// Matrices of the GNU Scientific Library as matrices of nsvd: `gsl_matrix` and `gsl_matrix_float`, hence the
/// `.matrix` of their views. Read where they lie, not copied.
///
/// With the LAPACK backend include this before any header of GSL: both GSL and `<cblas.h>` define the enums
/// of CBLAS, and a translation unit can have them once only.
#pragma once

#if defined(NSVD_USE_LAPACK)
#include <cblas.h>
#if !defined(__GSL_CBLAS_H__)
#define __GSL_CBLAS_H__  // those of <cblas.h> serve GSL as well
#endif
#endif

#include "../matrix.hpp"

#include <Eigen/Core>

#include <cstddef>
#include <gsl/gsl_matrix_double.h>
#include <gsl/gsl_matrix_float.h>
#include <memory>
#include <new>
#include <type_traits>

namespace nsvd::inline NSVD_ABI {

/// Row-major; rows of a submatrix have the gaps (`tda`) of its parent.
template <class T>
requires std::same_as<T, gsl_matrix> || std::same_as<T, gsl_matrix_float>
struct matrix_traits<T> {
    /// Where its numbers lie.
    static auto view(const T& x) noexcept {
        using scalar = std::remove_pointer_t<decltype(x.data)>;
        return strided_view<scalar>{x.data, static_cast<index>(x.size1), static_cast<index>(x.size2),
                                    static_cast<index>(x.tda), 1};
    }
};

namespace detail {

struct gsl_free {
    void operator()(gsl_matrix* x) const noexcept { gsl_matrix_free(x); }
    void operator()(gsl_matrix_float* x) const noexcept { gsl_matrix_float_free(x); }
};

}  // namespace detail

/// An `m×n` Eigen matrix, such as a factor of a decomposition, as a `gsl_matrix` or, of `float`, a
/// `gsl_matrix_float`, in a `std::unique_ptr` that frees it. A copy. Throws `std::bad_alloc` if GSL's error
/// handler returns from a lack of memory; the default one ends the program.
template <class Derived>
requires factor_scalar<typename Derived::Scalar>
[[nodiscard]] auto to_gsl(const Eigen::MatrixBase<Derived>& x) {
    using scalar = typename Derived::Scalar;
    using gsl = std::conditional_t<std::is_same_v<scalar, double>, gsl_matrix, gsl_matrix_float>;
    const auto rows = static_cast<std::size_t>(x.rows());
    const auto cols = static_cast<std::size_t>(x.cols());
    std::unique_ptr<gsl, detail::gsl_free> result;
    if constexpr (std::is_same_v<scalar, double>)
        result.reset(gsl_matrix_alloc(rows, cols));
    else
        result.reset(gsl_matrix_float_alloc(rows, cols));
    if (result == nullptr) throw std::bad_alloc();
    // New, hence without gaps.
    Eigen::Map<detail::row_major_matrix<scalar>>(result->data, x.rows(), x.cols()) = x;
    return result;
}

}  // namespace nsvd::inline NSVD_ABI
