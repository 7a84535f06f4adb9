// SPDX-License-Identifier: MIT
/// The bias that takes care of the mean error of a compressed layer.
#pragma once

#include "calibration.hpp"
#include "low_rank.hpp"
#include "matrix.hpp"
#include "metric.hpp"

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace nsvd::inline NSVD_ABI {

namespace detail {

/// `W′ x` in double, whatever the factors are made of.
template <class Approximation>
[[nodiscard]] Eigen::VectorXd multiply_precisely(const Approximation& d, const Eigen::VectorXd& x) {
    if constexpr (requires { d.plain(); }) {
        return multiply_precisely(d.plain(), x);
    } else if constexpr (requires {
                             d.left;
                             d.right;
                         }) {
        using scalar = typename Approximation::scalar;
        if (d.right.rows() != d.left.cols())
            throw error("bias_correction: left is " + shape_text(index{d.left.rows()}, index{d.left.cols()}) +
                        " but right is " + shape_text(index{d.right.rows()}, index{d.right.cols()}));
        require_finite(d.left, "bias_correction: left");
        require_finite(d.right, "bias_correction: right");
        // A direction at a time, over powers of two: its vectors may have any scales that make up for
        // another.
        dense_matrix<double> scaled = x;
        const int exponent_of_x = normalize(scaled);
        const index k = d.left.cols();
        std::vector<double> parts(static_cast<std::size_t>(k));
        std::vector<int> exponents(parts.size());
        std::optional<int> largest;
        const auto column = [&](index i) {
            return converted<double, scalar>(dense_ref<scalar>(d.left).middleCols(i, 1));
        };
        for (index i = 0; i < k; ++i) {
            const auto at = static_cast<std::size_t>(i);
            dense_matrix<double> row = converted<double, scalar>(transposed_span(d.right).middleCols(i, 1));
            dense_matrix<double> u = column(i);
            exponents[at] = normalize(row) + normalize(u);
            parts[at] = inner_product<double>(row, scaled);
            if (u.isZero(0.0)) parts[at] = 0.0;
            if (parts[at] == 0.0) continue;
            const int size = exponents[at] + binary_exponent(parts[at]);
            largest = std::max(largest.value_or(size), size);
        }
        Eigen::VectorXd y = Eigen::VectorXd::Zero(d.left.rows());
        if (!largest) return y;
        for (index i = 0; i < k; ++i) {
            const auto at = static_cast<std::size_t>(i);
            dense_matrix<double> u = column(i);
            normalize(u);
            add_multiple<double>(y, std::ldexp(parts[at], exponents[at] - *largest), u);
        }
        scale_by_power(y, *largest + exponent_of_x);
        return y;
    } else {
        return (d * x).template cast<double>();
    }
}

}  // namespace detail

/// What to add to the bias of a layer `y = W x + b` (`W` of `m×n`) when `W′` takes the place of `W`:
///
///     b′ − b = W E[a] + E[e] − W′ E[b],
///
/// m numbers, of all biases the best for this `W′` in the mean square over the tokens of the calibration. a
/// are the inputs in the original model and b those in the compressed one; E[a] = E[b] for a calibration
/// without pairs. `mean_error` = E[e] is that of an error of the output which is to be made up for (`m`
/// numbers; empty: none), as in `anchored`. With W′ from the metric of central moments (`.moments =
/// moments::central`), W′ and b′ together are the best of all pairs of a rank-k matrix and a bias.
///
/// `d` is a `low_rank`, a `pivoted_low_rank`, or anything with `rows()`, `cols()` and `d * x`. In double for
/// the first two; 2mn flops. Throws `nsvd::error` if the shapes don't match, a number is not finite, or the
/// calibration has no tokens.
template <matrix W, class Approximation, real_scalar Scalar>
[[nodiscard]] Eigen::VectorXd bias_correction(const W& w, const Approximation& d,
                                              const calibration<Scalar>& calib,
                                              const Eigen::VectorXd& mean_error = {}) {
    const auto [m, n] = detail::extent(w);
    if (d.rows() != m || d.cols() != n)
        throw error("bias_correction: W is " + detail::shape_text(m, n) + " but W′ is " +
                    detail::shape_text(index{d.rows()}, index{d.cols()}));
    if (calib.features() != n)
        throw error("bias_correction: W has " + std::to_string(n) + " columns but calib has " +
                    std::to_string(calib.features()) + " features");
    detail::require_tokens(calib, "bias_correction");
    if (mean_error.size() != 0 && mean_error.size() != m)
        throw error("bias_correction: mean_error has " + std::to_string(mean_error.size()) +
                    " numbers but W has " + std::to_string(m) + " rows");
    detail::require_nonempty(m, n, "bias_correction: W");
    detail::require_finite(mean_error, "bias_correction: mean_error");
    const Eigen::MatrixXd& original = detail::read(w);
    detail::require_finite(original, "bias_correction: W");
    const Eigen::VectorXd mean = calib.mean();
    const Eigen::VectorXd mean_original = calib.has_cross() ? calib.mean_original() : mean;
    Eigen::VectorXd b = detail::multiply(original, detail::op::none, mean_original, detail::op::none);
    b -= detail::multiply_precisely(d, mean);
    if (mean_error.size() != 0) b += mean_error;
    if (!b.allFinite()) throw error("bias_correction: the bias exceeds the range of double; scale W down");
    return b;
}

}  // namespace nsvd::inline NSVD_ABI
