// SPDX-License-Identifier: MIT
/// What counts as a matrix, and how its numbers are read.
///
/// Every dense Eigen expression is a matrix (plain, block, map, transposed, product, either storage order).
/// Any other type becomes one by specialising `nsvd::matrix_traits`, which says where its numbers lie.
#pragma once

#include "error.hpp"

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <limits>
#include <span>
#include <string>
#include <type_traits>
#include <utility>

namespace nsvd::inline NSVD_ABI {

/// Sizes, ranks and indices: signed 64-bit on every platform that matters.
using index = Eigen::Index;

namespace detail {

/// A concept that is one expression, so that compilers print what it says where it is not met.
[[nodiscard]] constexpr bool holds(bool met, const char* /*otherwise*/) noexcept {
    return met;
}

template <class T>
concept any_of_four = std::same_as<T, float> || std::same_as<T, double> || std::same_as<T, Eigen::half> ||
    std::same_as<T, Eigen::bfloat16>;

}  // namespace detail

/// A scalar that nsvd reads: `float`, `double`, `Eigen::half`, `Eigen::bfloat16`.
template <class T>
concept real_scalar =
    detail::holds(detail::any_of_four<T>,
                  "nsvd: not a scalar that can be read: use float, double, Eigen::half or Eigen::bfloat16");

/// A scalar that factors are made of.
template <class T>
concept factor_scalar = detail::holds(std::same_as<T, float> || std::same_as<T, double>,
                                      "nsvd: not a scalar that factors can have: use float or double");

/// A non-owning `rows×cols` matrix: entry (i, j) lies at `data[i·row_stride + j·col_stride]`.
/// Strides count elements and are not negative; without a `col_stride` the columns follow each other
/// (column-major). A transposed view swaps shape and strides.
template <real_scalar Scalar>
struct strided_view {
    const Scalar* data = nullptr;  ///< entry (0, 0)
    index rows = 0;                ///< m
    index cols = 0;                ///< n
    index row_stride = 1;          ///< from one row to the next
    index col_stride = -1;         ///< −1: rows·row_stride
};

/// Customisation point. For an own type `T` specialise it with
/// `static nsvd::strided_view<Scalar> view(const T&)`; nothing is copied to look at the numbers.
template <class T>
struct matrix_traits;

/// A strided view is itself a matrix: raw pointer + shape + strides.
template <real_scalar Scalar>
struct matrix_traits<strided_view<Scalar>> {
    /// The view itself.
    static strided_view<Scalar> view(const strided_view<Scalar>& v) noexcept { return v; }
};

namespace detail {

template <class Range>
using span_scalar =
    std::remove_cv_t<typename decltype(std::span(std::declval<const Range&>()))::element_type>;

/// Throws unless there are rows·cols numbers.
inline void require_count(std::size_t numbers, index rows, index cols, const char* where) {
    const auto m = static_cast<std::size_t>(rows);
    const auto n = static_cast<std::size_t>(cols);
    // By division: the product can overflow.
    if (rows < 0 || cols < 0 || (m == 0 ? numbers != 0 : numbers % m != 0 || numbers / m != n))
        throw error(std::string(where) + ": " + std::to_string(numbers) + " numbers are no " +
                    shape_text(rows, cols) + " matrix");
}

/// Throws if a stride that a library reports is negative: -1 would be taken for no stride.
inline void require_strides(index rows, index cols, index row_stride, index col_stride, const char* where) {
    if (row_stride < 0 || col_stride < 0)
        throw error(std::string(where) + ": x, " + shape_text(rows, cols) + ", has strides (" +
                    std::to_string(row_stride) + ", " + std::to_string(col_stride) +
                    "), which must not be negative");
}

}  // namespace detail

/// Numbers that follow each other (`std::vector`, `std::array`, `std::span`, …) as a `rows×cols` matrix, row
/// after row. A view: nothing is copied, and the numbers must outlive it. Throws `nsvd::error` unless there
/// are rows·cols of them.
template <class Range>
[[nodiscard]] strided_view<detail::span_scalar<Range>> row_major(const Range& numbers, index rows,
                                                                 index cols) {
    const std::span view(numbers);
    detail::require_count(view.size(), rows, cols, "row_major");
    return {view.data(), rows, cols, cols, 1};
}

/// The same, column after column.
template <class Range>
[[nodiscard]] strided_view<detail::span_scalar<Range>> column_major(const Range& numbers, index rows,
                                                                    index cols) {
    const std::span view(numbers);
    detail::require_count(view.size(), rows, cols, "column_major");
    return {view.data(), rows, cols, 1, rows};
}

namespace detail {

// No lambda: clang 14 takes one that can't be called for one that can.
template <class Derived>
void take_expression(const Eigen::MatrixBase<Derived>&);

template <class T>
concept eigen_matrix = any_of_four<typename T::Scalar> && requires(const T& t) {
    take_expression(t);
};

template <class T>
concept viewable_matrix = !eigen_matrix<T> && requires(const T& t) {
    matrix_traits<T>::view(t).data;
};

}  // namespace detail

/// A dense real matrix that the library can read: an Eigen expression or a type with `matrix_traits`.
template <class T>
concept matrix = detail::holds(
    detail::eigen_matrix<T> || detail::viewable_matrix<T>,
    "nsvd: not a matrix that can be read: pass a dense Eigen expression of float, double, Eigen::half or "
    "Eigen::bfloat16 (of others .cast<float>(), .real(), .toDense(), .matrix()), "
    "nsvd::row_major(numbers, rows, cols) of a range of numbers, or specialise nsvd::matrix_traits");

namespace detail {

template <class T>
struct scalar_of;
template <eigen_matrix T>
struct scalar_of<T> {
    using type = typename T::Scalar;
};
template <viewable_matrix T>
struct scalar_of<T> {
    using type = std::remove_cvref_t<decltype(*matrix_traits<T>::view(std::declval<const T&>()).data)>;
};

/// Scalar of a matrix type.
template <matrix T>
using scalar_t = typename scalar_of<T>::type;

template <class T>
struct factor_scalar_of {
    using type = float;
};
template <matrix T>
struct factor_scalar_of<T> {
    using type = std::conditional_t<std::same_as<scalar_t<T>, double>, double, float>;
};

/// Scalar of the factors of a matrix: its own, `float` for the half precisions. (For what is no matrix, too:
/// it stands in return types, and what a compiler has to say of those hides what it says of the argument.)
template <class T>
using factor_scalar_t = typename factor_scalar_of<T>::type;

template <class Scalar>
using dense_matrix = Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic>;
template <class Scalar>
using vector = Eigen::Matrix<Scalar, Eigen::Dynamic, 1>;

/// The same in row-major order.
template <class Scalar>
using row_major_matrix = Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// Calls `f` with an Eigen expression of `x` whose blocks are cheap: `x` itself where its numbers lie in
/// memory, a map for a strided view, and the evaluated matrix for an expression such as a product.
template <matrix T, class F>
decltype(auto) with_expression(const T& x, F&& f) {
    if constexpr (eigen_matrix<T>) {
        if constexpr ((T::Flags & Eigen::DirectAccessBit) != 0)
            return std::forward<F>(f)(x);
        else
            return std::forward<F>(f)(x.eval());
    } else {
        auto v = matrix_traits<T>::view(x);
        if (v.col_stride == -1) v.col_stride = v.rows * v.row_stride;
        if (v.rows < 0 || v.cols < 0 || v.row_stride < 0 || v.col_stride < 0 ||
            (v.data == nullptr && v.rows > 0 && v.cols > 0))
            throw error("matrix_traits::view: shape " + shape_text(v.rows, v.cols) + " with strides (" +
                        std::to_string(v.row_stride) + ", " + std::to_string(v.col_stride) + ") and " +
                        (v.data == nullptr ? "a null" : "a valid") + " pointer is not a matrix");
        using stride = Eigen::Stride<Eigen::Dynamic, Eigen::Dynamic>;
        return std::forward<F>(f)(Eigen::Map<const dense_matrix<scalar_t<T>>, Eigen::Unaligned, stride>(
            v.data, v.rows, v.cols, stride(v.col_stride, v.row_stride)));
    }
}

/// The exponent e with 2^(e−1) ≤ |x| < 2^e; 0 for x = 0.
[[nodiscard]] inline int binary_exponent(double x) noexcept {
    int exponent = 0;
    std::frexp(x, &exponent);
    return exponent;
}

/// `A ← A·2^exponent`. In two steps, since 2^exponent itself can be out of range where the product is not.
template <class Matrix>
void scale_by_power(Matrix& a, int exponent) {
    using Scalar = typename Matrix::Scalar;
    const auto scale = [&a](Scalar factor) {
        for (Scalar* x = a.data(); x != a.data() + a.size(); ++x)
            *x *= factor;
    };
    const int half = exponent / 2;
    if (half != 0) scale(std::ldexp(Scalar(1), half));
    if (exponent != half) scale(std::ldexp(Scalar(1), exponent - half));
}

/// Divides `A` by the power of two that brings its largest entry into [½, 1); returns its exponent.
template <class Scalar>
int normalize(dense_matrix<Scalar>& a) {
    Scalar largest = 0;
    for (const Scalar* x = a.data(); x != a.data() + a.size(); ++x)
        largest = std::max(largest, std::abs(*x));
    const int exponent = binary_exponent(static_cast<double>(largest));
    scale_by_power(a, -exponent);
    return exponent;
}

/// `σ²·2^(2·exponent)` for a spectrum of a matrix that was divided by 2^exponent. Where that would leave the
/// range of double the power is cut short: all ratios stay right.
template <class Squares>
void restore_units(Squares& squares, int exponent) {
    const int shift = std::clamp(2 * exponent, -900, 900);
    for (double* value = squares.data(); value != squares.data() + squares.size(); ++value)
        *value = std::ldexp(*value, shift);
}

/// A matrix in double, divided by a power of two so that its largest entry lies in [½, 1): products of scaled
/// matrices neither overflow nor underflow, and the scaling itself rounds nothing.
struct scaled_matrix {
    Eigen::MatrixXd values;
    int exponent = 0;  ///< the matrix is `values · 2^exponent`
};

/// Singular values (or column norms) of an `m×n` matrix of Frobenius norm `norm` at or below this are
/// rounding: 2·√max(m, n)·eps·norm.
[[nodiscard]] inline double rounding_floor(index rows, index cols, double norm) noexcept {
    return 2.0 * std::sqrt(static_cast<double>(std::max(rows, cols))) *
           std::numeric_limits<double>::epsilon() * norm;
}

/// Throws unless `x` has rows and columns.
inline void require_nonempty(index rows, index cols, const char* name) {
    if (rows == 0 || cols == 0) throw error(std::string(name) + " is empty: " + shape_text(rows, cols));
}

[[noreturn]] inline void throw_not_finite(const char* name, index i, index j, double value) {
    throw error(std::string(name) + "(" + std::to_string(i) + ", " + std::to_string(j) +
                ") = " + text(value) + " is not finite");
}

/// Throws, naming the first bad entry, unless all entries are finite.
template <class Derived>
void require_finite(const Eigen::MatrixBase<Derived>& x, const char* name, index column_offset = 0) {
    if (x.allFinite()) return;
    for (index j = 0; j < x.cols(); ++j)
        for (index i = 0; i < x.rows(); ++i)
            if (!std::isfinite(static_cast<double>(x(i, j))))
                throw_not_finite(name, i, column_offset + j, static_cast<double>(x(i, j)));
}

/// The shape of a matrix, without evaluating an expression.
template <matrix T>
[[nodiscard]] std::pair<index, index> extent(const T& x) {
    if constexpr (eigen_matrix<T>) {
        return {x.rows(), x.cols()};
    } else {
        const auto v = matrix_traits<T>::view(x);
        return {v.rows, v.cols};
    }
}

/// A matrix in double: the matrix itself if it is an `Eigen::MatrixXd`, else a copy.
template <matrix T>
[[nodiscard]] decltype(auto) read(const T& x) {
    if constexpr (std::same_as<T, Eigen::MatrixXd>) {
        return (x);
    } else {
        Eigen::MatrixXd values;
        with_expression(x, [&](const auto& expression) { values = expression.template cast<double>(); });
        return values;
    }
}

/// Copies a matrix into double, checks it, and scales it. `name` is how messages call it.
template <matrix T>
[[nodiscard]] scaled_matrix read_scaled(const T& x, const char* name) {
    scaled_matrix result{read(x)};
    require_nonempty(result.values.rows(), result.values.cols(), name);
    require_finite(result.values, name);
    result.exponent = normalize(result.values);
    return result;
}

}  // namespace detail
}  // namespace nsvd::inline NSVD_ABI
