// SPDX-License-Identifier: MIT
/// Errors of an approximation, in double.
#pragma once

#include "calibration.hpp"
#include "detail/graded_factors.hpp"
#include "low_rank.hpp"
#include "matrix.hpp"
#include "metric.hpp"

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

namespace nsvd::inline NSVD_ABI {

namespace detail {

/// `W = 2^e original` and `W − W′ = 2^(e + exponent) residual` for some e.
struct difference {
    Eigen::MatrixXd original;
    Eigen::MatrixXd residual;
    int exponent = 0;
};

template <matrix W, class Scalar>
[[nodiscard]] difference subtract(const W& w, const low_rank<Scalar>& d, const char* where) {
    scaled_matrix scaled = read_scaled(w, (std::string(where) + ": W").c_str());
    if (scaled.values.rows() != d.rows() || scaled.values.cols() != d.cols() || d.right.rows() != d.rank())
        throw error(std::string(where) + ": W is " +
                    shape_text(index{scaled.values.rows()}, index{scaled.values.cols()}) +
                    " but the factors are " + shape_text(index{d.left.rows()}, index{d.left.cols()}) +
                    " and " + shape_text(index{d.right.rows()}, index{d.right.cols()}));
    require_finite_entries<Scalar>(d.left, (std::string(where) + ": left").c_str());
    require_finite(d.right, (std::string(where) + ": right").c_str());
    graded_factors factors(converted<double, Scalar>(d.left),
                           converted<double, Scalar>(transposed_span(d.right)));
    difference result{std::move(scaled.values), {}, std::max(0, factors.exponent() - scaled.exponent)};
    result.residual = result.original;
    scale_by_power(result.residual, -result.exponent);
    const Eigen::MatrixXd right = std::move(factors).graded_right(scaled.exponent + result.exponent);
    multiply_into<double>(result.residual, factors.left(), op::none, right, op::transpose, into::subtract);
    result.exponent += normalize(result.residual);
    return result;
}

/// a/b of two squared norms as a ratio of norms; 0/0 = 0.
[[nodiscard]] inline double norm_ratio(double a, double b) noexcept {
    if (b > 0.0) return std::sqrt(std::max(a, 0.0) / b);
    return a > 0.0 ? std::numeric_limits<double>::infinity() : 0.0;
}

}  // namespace detail

/// `‖W − W′‖_F / ‖W‖_F`; 0 for W = W′ = 0. 2mnk flops. Throws `nsvd::error` if the shapes don't match or a
/// number is not finite.
template <matrix W, class Scalar>
[[nodiscard]] double plain_error(const W& w, const low_rank<Scalar>& d) {
    const detail::difference e = detail::subtract(w, d, "plain_error");
    const double ratio = detail::norm_ratio(detail::squared_norm<double>(e.residual),
                                            detail::squared_norm<double>(e.original));
    return std::ldexp(ratio, e.exponent);
}

/// `‖(W − W′) X‖_F / ‖W X‖_F` for the inputs `X` of the calibration, from its Gram matrix:
/// `√(tr(R C Rᵀ) / tr(W C Wᵀ))` with `R = W − W′`; 0 where both vanish. 2mnk + 4mn² flops. Accurate to about
/// 1e-8 of 1: below that the trace is rounding. Throws `nsvd::error` if the shapes don't match, a number is
/// not finite, or the calibration has no tokens.
template <matrix W, class Scalar, real_scalar CalibrationScalar>
[[nodiscard]] double weighted_error(const W& w, const low_rank<Scalar>& d,
                                    const calibration<CalibrationScalar>& calib) {
    const detail::difference e = detail::subtract(w, d, "weighted_error");
    if (calib.features() != e.original.cols())
        throw error("weighted_error: W has " + std::to_string(e.original.cols()) + " columns but calib has " +
                    std::to_string(calib.features()) + " features");
    detail::require_tokens(calib, "weighted_error");
    // D⁻¹ C D⁻¹ and R D, powers of two, in place of C and R: products of outlier channels stay in range.
    const detail::equilibrated c = detail::equilibrate(calib.gram());
    const double largest = detail::largest_entry<double>(c.scale);
    Eigen::VectorXd scale = c.scale;
    if (largest > 0.0)
        for (double& entry : scale)
            entry /= largest;
    // Divided by a power of two once more, which `exponent` counts: all may be in small channels.
    const auto trace = [&](const Eigen::MatrixXd& a, int& exponent) {
        Eigen::MatrixXd scaled = a;
        detail::assign_scaled<double, double>(scaled, scaled, scale.data());
        exponent += detail::normalize(scaled);
        return detail::inner_product<double>(
            detail::multiply(scaled, detail::op::none, c.matrix, detail::op::none), scaled);
    };
    int exponent = e.exponent, of_original = 0;
    const double residual = trace(e.residual, exponent), original = trace(e.original, of_original);
    return std::ldexp(detail::norm_ratio(residual, original), exponent - of_original);
}

}  // namespace nsvd::inline NSVD_ABI
