// SPDX-License-Identifier: MIT
/// The operands of all kernels: column-major matrices in memory, and what is done to them entry by entry.
///
/// An Eigen expression is a type of its own, and each is compiled in every file that decomposes. What lies
/// here is compiled once a scalar, and not again wherever it is called (`noinline`; what a call costs is
/// nothing beside the work). That, and that nothing is compiled before it is called, is what keeps nsvd quick
/// to include.
#pragma once

#include "../matrix.hpp"

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <concepts>
#include <functional>
#include <limits>
#include <numeric>
#include <type_traits>
#include <utility>

namespace nsvd::inline NSVD_ABI::detail {

/// An Eigen expression in memory, the numbers of a column one after the other.
template <class Matrix>
concept column_major = requires {
    typename std::remove_cvref_t<Matrix>::Scalar;
}
&&(std::remove_cvref_t<Matrix>::Flags& Eigen::DirectAccessBit) != 0 &&
    !bool(std::remove_cvref_t<Matrix>::IsRowMajor) &&
    int(std::remove_cvref_t<Matrix>::InnerStrideAtCompileTime) == 1;

/// An `m×n` column-major matrix, possibly a block of a larger one; entry (i, j) lies at `data()[i +
/// j·outerStride()]`. `Scalar` is const for one that is only read. Names as in Eigen.
template <class Scalar>
class dense_span {
public:
    using value_type = std::remove_const_t<Scalar>;

    dense_span(Scalar* data, index rows, index cols, index stride)
        : data_(data), rows_(rows), cols_(cols), stride_(stride) {}
    /// Of a matrix, block, map or vector.
    template <column_major Matrix>
    requires requires(Matrix& m, Scalar*& to) { to = m.data(); }
    dense_span(Matrix&& m)  // NOLINT(google-explicit-constructor): a view of its argument
        : data_(m.data()), rows_(m.rows()), cols_(m.cols()), stride_(m.outerStride()) {}
    /// To be read.
    template <std::same_as<value_type> Other>
    requires std::is_const_v<Scalar> dense_span(
        const dense_span<Other>& m)  // NOLINT(google-explicit-constructor)
        : data_(m.data()), rows_(m.rows()), cols_(m.cols()), stride_(m.outerStride()) {}

    [[nodiscard]] index rows() const noexcept { return rows_; }
    [[nodiscard]] index cols() const noexcept { return cols_; }
    [[nodiscard]] index size() const noexcept { return rows_ * cols_; }
    [[nodiscard]] index outerStride() const noexcept { return stride_; }
    [[nodiscard]] Scalar* data() const noexcept { return data_; }
    [[nodiscard]] Scalar& operator()(index i, index j) const noexcept { return data_[i + j * stride_]; }

    /// The first number of column j.
    [[nodiscard]] Scalar* col(index j) const noexcept { return data_ + j * stride_; }
    [[nodiscard]] dense_span block(index i, index j, index rows, index cols) const {
        // One without entries may lie beyond the end, or be of a matrix without memory.
        const bool empty = rows == 0 || cols == 0;
        return {empty ? data_ : data_ + i + j * stride_, rows, cols, stride_};
    }
    [[nodiscard]] dense_span middleCols(index first, index count) const {
        return block(0, first, rows_, count);
    }
    [[nodiscard]] dense_span leftCols(index count) const { return block(0, 0, rows_, count); }
    [[nodiscard]] dense_span rightCols(index count) const { return block(0, cols_ - count, rows_, count); }
    [[nodiscard]] dense_span middleRows(index first, index count) const {
        return block(first, 0, count, cols_);
    }
    [[nodiscard]] dense_span topRows(index count) const { return block(0, 0, count, cols_); }
    [[nodiscard]] dense_span bottomRows(index count) const { return block(rows_ - count, 0, count, cols_); }

    /// For whatever is written as an Eigen expression.
    [[nodiscard]] auto matrix() const {
        using plain = dense_matrix<value_type>;
        using map = Eigen::Map<std::conditional_t<std::is_const_v<Scalar>, const plain, plain>, 0,
                               Eigen::OuterStride<>>;
        return map(data_, rows_, cols_, Eigen::OuterStride<>(stride_));
    }

private:
    Scalar* data_;
    index rows_;
    index cols_;
    index stride_;
};

/// An operand that is read, and one that is written to. Not deducible: callers convert to them.
template <class Scalar>
using dense_ref = std::type_identity_t<dense_span<const Scalar>>;
template <class Scalar>
using dense_out = std::type_identity_t<dense_span<Scalar>>;

/// `B ← A`, rounded to the scalar of B.
template <class To, class From>
[[gnu::noinline]] void assign(dense_out<To> b, dense_ref<From> a) {
    eigen_assert(b.rows() == a.rows() && b.cols() == a.cols());
    for (index j = 0; j < a.cols(); ++j)
        if constexpr (std::same_as<To, From>)
            std::copy_n(a.col(j), a.rows(), b.col(j));
        else
            std::transform(a.col(j), a.col(j) + a.rows(), b.col(j),
                           [](From x) { return static_cast<To>(x); });
}

/// A copy in the scalar `To`.
template <class To, class From>
[[gnu::noinline]] [[nodiscard]] dense_matrix<To> converted(dense_ref<From> a) {
    dense_matrix<To> copy(a.rows(), a.cols());
    assign<To, From>(copy, a);
    return copy;
}

/// Calls `f` with an Eigen expression in the scalar `Scalar`: where it lies if BLAS can take that, else a
/// copy.
template <class Scalar, class Expression, class F>
decltype(auto) with_columns(const Expression& x, F&& f) {
    if constexpr (column_major<Expression> && std::same_as<typename Expression::Scalar, Scalar>)
        if (x.cols() <= 1 || x.outerStride() >= x.rows())
            return std::forward<F>(f)(dense_span<const Scalar>(x));
    const dense_matrix<Scalar> copy = x.template cast<Scalar>();
    return std::forward<F>(f)(dense_span<const Scalar>(copy));
}

/// `B ← A diag(d)`, multiplied in double.
template <class To, class From>
[[gnu::noinline]] void assign_scaled(dense_out<To> b, dense_ref<From> a, const double* d) {
    eigen_assert(b.rows() == a.rows() && b.cols() == a.cols());
    for (index j = 0; j < a.cols(); ++j)
        std::transform(a.col(j), a.col(j) + a.rows(), b.col(j),
                       [factor = d[j]](From x) { return static_cast<To>(static_cast<double>(x) * factor); });
}

/// `A ← diag(d) A`.
template <class Scalar>
[[gnu::noinline]] void scale_rows(dense_out<Scalar> a, const Scalar* d) {
    for (index j = 0; j < a.cols(); ++j)
        std::transform(a.col(j), a.col(j) + a.rows(), d, a.col(j), std::multiplies<>());
}

template <class Scalar>
[[gnu::noinline]] void set_constant(dense_out<Scalar> a, std::type_identity_t<Scalar> value) {
    for (index j = 0; j < a.cols(); ++j)
        std::fill_n(a.col(j), a.rows(), value);
}

/// A matrix of zeros.
template <class Scalar>
[[gnu::noinline]] [[nodiscard]] dense_matrix<Scalar> zeros(index rows, index cols) {
    dense_matrix<Scalar> a(rows, cols);
    set_constant<Scalar>(a, Scalar(0));
    return a;
}

/// `Y ← Y + factor·X`.
template <class Scalar>
[[gnu::noinline]] void add_multiple(dense_out<Scalar> y, std::type_identity_t<Scalar> factor,
                                    dense_ref<Scalar> x) {
    eigen_assert(y.rows() == x.rows() && y.cols() == x.cols());
    for (index j = 0; j < y.cols(); ++j)
        std::transform(y.col(j), y.col(j) + y.rows(), x.col(j), y.col(j),
                       [factor](Scalar into, Scalar from) { return into + factor * from; });
}

/// The sum of the numbers from `first` to before `last`.
[[nodiscard]] inline double sum_of(const Eigen::VectorXd& values, index first, index last) {
    return std::accumulate(values.data() + first, values.data() + last, 0.0);
}

/// The inner product of two columns, summed in double.
template <class Scalar>
[[nodiscard]] double inner_product_of_columns(const Scalar* a, const Scalar* b, index count) {
    return std::transform_reduce(a, a + count, b, 0.0, std::plus<>(),
                                 [](double x, double y) { return x * y; });
}

/// ‖a_j‖², summed in double.
template <class Scalar>
[[nodiscard]] double squared_norm_of_column(dense_ref<Scalar> a, index j) {
    return inner_product_of_columns<Scalar>(a.col(j), a.col(j), a.rows());
}

/// `⟨A, B⟩_F`, summed in double.
template <class Scalar>
[[gnu::noinline]] [[nodiscard]] double inner_product(dense_ref<Scalar> a, dense_ref<Scalar> b) {
    eigen_assert(a.rows() == b.rows() && a.cols() == b.cols());
    double sum = 0.0;
    for (index j = 0; j < a.cols(); ++j)
        sum += inner_product_of_columns<Scalar>(a.col(j), b.col(j), a.rows());
    return sum;
}

/// ‖A‖_F², summed in double.
template <class Scalar>
[[gnu::noinline]] [[nodiscard]] double squared_norm(dense_ref<Scalar> a) {
    return inner_product<Scalar>(a, a);
}

template <class Scalar>
[[gnu::noinline]] [[nodiscard]] Eigen::VectorXd squared_norms_of_columns(dense_ref<Scalar> a) {
    Eigen::VectorXd sums(a.cols());
    for (index j = 0; j < a.cols(); ++j)
        sums.data()[j] = squared_norm_of_column<Scalar>(a, j);
    return sums;
}

/// The largest |a_ij|; 0 for an empty matrix, NaN if there is one.
template <class Scalar>
[[gnu::noinline]] [[nodiscard]] double largest_entry(dense_ref<Scalar> a) {
    // Several at a time, so that one comparison need not wait for the one before.
    constexpr index lanes = 8;
    Scalar most[lanes] = {};
    bool is_number = true;
    const auto look = [&](index lane, Scalar x) {
        is_number &= x == x;
        most[lane] = std::max(most[lane], std::abs(x));
    };
    for (index j = 0; j < a.cols(); ++j) {
        const Scalar* const column = a.col(j);
        index i = 0;
        for (; i + lanes <= a.rows(); i += lanes)
            for (index lane = 0; lane < lanes; ++lane)
                look(lane, column[i + lane]);
        for (; i < a.rows(); ++i)
            look(0, column[i]);
    }
    if (!is_number) return std::numeric_limits<double>::quiet_NaN();
    return static_cast<double>(*std::max_element(most, most + lanes));
}

/// Throws, naming the first bad entry, unless all entries are finite.
template <class Scalar>
[[gnu::noinline]] void require_finite_entries(dense_ref<Scalar> a, const char* name) {
    if (std::isfinite(largest_entry<Scalar>(a))) return;
    for (index j = 0; j < a.cols(); ++j)
        for (index i = 0; i < a.rows(); ++i)
            if (!std::isfinite(a(i, j))) throw_not_finite(name, i, j, static_cast<double>(a(i, j)));
}

/// Sum of the diagonal of a square matrix.
template <class Scalar>
[[nodiscard]] double trace_of(dense_ref<Scalar> a) {
    double sum = 0.0;
    for (index j = 0; j < a.cols(); ++j)
        sum += static_cast<double>(a(j, j));
    return sum;
}

/// Divides each column by its length; columns of zeros stay.
template <class Scalar>
[[gnu::noinline]] void normalize_columns(dense_out<Scalar> a) {
    for (index j = 0; j < a.cols(); ++j) {
        const dense_span<Scalar> column = a.middleCols(j, 1);
        const double largest = largest_entry<Scalar>(column);
        if (largest == 0.0) continue;
        const auto scale = [&](double factor) { assign_scaled<Scalar, Scalar>(column, column, &factor); };
        // Squares of what is far from 1 leave the range of double, as 2^exponent itself does for denormals.
        const int half = binary_exponent(largest) / 2;
        scale(std::ldexp(1.0, -half));
        scale(std::ldexp(1.0, half - binary_exponent(largest)));
        scale(1.0 / std::sqrt(squared_norm<Scalar>(column)));
    }
}

/// The columns in the opposite order.
template <class Scalar>
[[gnu::noinline]] [[nodiscard]] dense_matrix<Scalar> reversed_columns(dense_ref<Scalar> a) {
    dense_matrix<Scalar> result(a.rows(), a.cols());
    for (index j = 0; j < a.cols(); ++j)
        std::copy_n(a.col(a.cols() - 1 - j), a.rows(), dense_span<Scalar>(result).col(j));
    return result;
}

/// `Aᵀ`.
template <class Scalar>
[[gnu::noinline]] [[nodiscard]] dense_matrix<Scalar> transposed(dense_ref<Scalar> a) {
    constexpr index tile = 32;  // for the sake of the cache
    dense_matrix<Scalar> result(a.cols(), a.rows());
    const dense_span<Scalar> b(result);
    for (index right = 0; right < a.cols(); right += tile)
        for (index top = 0; top < a.rows(); top += tile)
            for (index j = right; j < std::min(right + tile, a.cols()); ++j)
                for (index i = top; i < std::min(top + tile, a.rows()); ++i)
                    b(j, i) = a(i, j);
    return result;
}

/// `Aᵀ` of a row-major matrix, where it lies.
template <class Scalar>
[[nodiscard]] dense_span<const Scalar> transposed_span(const row_major_matrix<Scalar>& a) {
    return {a.data(), a.cols(), a.rows(), a.cols()};
}
template <class Scalar>
[[nodiscard]] dense_span<Scalar> transposed_span(row_major_matrix<Scalar>& a) {
    return {a.data(), a.cols(), a.rows(), a.cols()};
}

/// Zeros above the diagonal.
template <class Scalar>
[[gnu::noinline]] void clear_above_diagonal(dense_out<Scalar> a) {
    for (index j = 1; j < a.cols(); ++j)
        std::fill_n(a.col(j), std::min(j, a.rows()), Scalar(0));
}

/// Copies the triangle below the diagonal to that above it.
template <class Scalar>
[[gnu::noinline]] void mirror_lower(dense_out<Scalar> a) {
    constexpr index tile = 32;
    for (index left = 0; left < a.cols(); left += tile)
        for (index top = left; top < a.rows(); top += tile)
            for (index j = left; j < std::min(left + tile, a.cols()); ++j)
                for (index i = std::max(top, j + 1); i < std::min(top + tile, a.rows()); ++i)
                    a(j, i) = a(i, j);
}

/// Room for `count` more columns, whose entries are undefined.
template <class Scalar>
[[gnu::noinline]] [[nodiscard]] dense_span<Scalar> append_columns(dense_matrix<Scalar>& a, index count) {
    dense_matrix<Scalar> larger(a.rows(), a.cols() + count);
    assign<Scalar, Scalar>(dense_span<Scalar>(larger).leftCols(a.cols()), a);
    a.swap(larger);
    return dense_span<Scalar>(a).rightCols(count);
}

}  // namespace nsvd::inline NSVD_ABI::detail
