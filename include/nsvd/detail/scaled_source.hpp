// SPDX-License-Identifier: MIT
/// A caller's matrix, of a scale that nothing overflows at.
#pragma once

#include "../matrix.hpp"
#include "dense_span.hpp"

#include <Eigen/Core>

#include <cmath>
#include <concepts>
#include <cstdlib>
#include <type_traits>

namespace nsvd::inline NSVD_ABI::detail {

/// A matrix to work on: the caller's own memory where that is column-major, of the right scalar and of a
/// harmless scale (entries of at most 2^±16), else a copy that was divided by a power of two. Checked.
template <class Scalar>
class scaled_source {
public:
    /// `name` is how messages call the matrix, which must outlive this.
    template <matrix T>
    scaled_source(const T& x, const char* name) {
        with_expression(x, [&](const auto& expression) {
            using expression_type = std::remove_cvref_t<decltype(expression)>;
            require_nonempty(index{expression.rows()}, index{expression.cols()}, name);
            // An evaluated temporary does not outlive this call.
            constexpr bool lasting = !eigen_matrix<T> || std::same_as<expression_type, T>;
            if constexpr (lasting && std::same_as<typename expression_type::Scalar, Scalar> &&
                          (expression_type::Flags & Eigen::DirectAccessBit) != 0 &&
                          !expression_type::IsRowMajor) {
                // BLAS takes no columns that overlap, as those of a view with a column stride of 0 do.
                if (expression.innerStride() == 1 && expression.outerStride() >= expression.rows()) {
                    values_ = {expression.data(), expression.rows(), expression.cols(),
                               expression.outerStride()};
                    // One pass over a large matrix.
                    const double largest = largest_entry<Scalar>(values_);
                    if (!std::isfinite(largest)) require_finite_entries<Scalar>(values_, name);
                    if (std::abs(binary_exponent(largest)) <= 16) return;
                }
            }
            copy_ = expression.template cast<Scalar>();
            require_finite_entries<Scalar>(copy_, name);
            exponent = normalize(copy_);
            values_ = copy_;
        });
    }
    scaled_source(const scaled_source&) = delete;
    scaled_source& operator=(const scaled_source&) = delete;

    [[nodiscard]] dense_span<const Scalar> values() const noexcept { return values_; }
    int exponent = 0;  ///< the matrix is `values() · 2^exponent`

private:
    dense_matrix<Scalar> copy_;
    dense_span<const Scalar> values_{nullptr, 0, 0, 0};
};

}  // namespace nsvd::inline NSVD_ABI::detail
