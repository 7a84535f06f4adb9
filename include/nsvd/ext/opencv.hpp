// SPDX-License-Identifier: MIT
/// OpenCV matrices as matrices of nsvd: `cv::Mat_<float>` and `cv::Mat_<double>` as they are, `cv::Mat`,
/// whose scalar is known at run time only, through `opencv_view`. All are read where they lie, none is
/// copied.
#pragma once

#include "../detail/narrow.hpp"
#include "../matrix.hpp"

#include <Eigen/Core>

#include <concepts>
#include <opencv2/core/mat.hpp>
#include <string>

namespace nsvd::inline NSVD_ABI {

namespace detail {

/// OpenCV's number for one channel of a scalar.
template <real_scalar Scalar>
inline constexpr int opencv_type = std::same_as<Scalar, double>  ? CV_64FC1
                                   : std::same_as<Scalar, float> ? CV_32FC1
                                                                 : CV_16FC1;

}  // namespace detail

/// The `m×n` numbers of `x` as scalars `Scalar`: `float` for CV_32FC1, `double` for CV_64FC1, `Eigen::half`
/// for CV_16FC1. A view: `x`, or another matrix on its memory, must outlive it. Throws `nsvd::error` if `x`
/// has another type, more than one channel or more than two dimensions.
template <real_scalar Scalar>
requires(!std::same_as<Scalar, Eigen::bfloat16>)
    [[nodiscard]] strided_view<Scalar> opencv_view(const cv::Mat& x) {
    constexpr int type = detail::opencv_type<Scalar>;
    if (x.dims > 2)
        throw error("opencv_view: x has " + std::to_string(x.dims) + " dimensions, a matrix has 2");
    if (x.empty()) return {nullptr, x.rows, x.cols, x.cols, 1};
    if (x.type() != type)
        throw error("opencv_view: x, " + detail::shape_text(x.rows, x.cols) + ", is of type " +
                    cv::typeToString(x.type()) + ", not " + cv::typeToString(type));
    return {reinterpret_cast<const Scalar*>(x.data), x.rows, x.cols,
            static_cast<index>(x.step[0] / sizeof(Scalar)), 1};
}

/// Matrices of `float` or `double`, and parts of them. Throws `nsvd::error` as `opencv_view` does.
template <factor_scalar Scalar>
struct matrix_traits<cv::Mat_<Scalar>> {
    /// Where its numbers lie.
    static strided_view<Scalar> view(const cv::Mat_<Scalar>& x) { return opencv_view<Scalar>(x); }
};

/// An `m×n` Eigen matrix, such as a factor of a decomposition, as a `cv::Mat_` of the same scalar. A copy.
/// Throws `nsvd::error` if m or n does not fit an `int`.
template <class Derived>
requires factor_scalar<typename Derived::Scalar>
[[nodiscard]] cv::Mat_<typename Derived::Scalar> to_opencv(const Eigen::MatrixBase<Derived>& x) {
    using scalar = typename Derived::Scalar;
    if (!detail::fits<int>(x.rows()) || !detail::fits<int>(x.cols()))
        throw error("to_opencv: x is " + detail::shape_text(index{x.rows()}, index{x.cols()}) +
                    ", too large for OpenCV");
    cv::Mat_<scalar> result(detail::narrow<int>(x.rows(), "rows", "cv::Mat"),
                            detail::narrow<int>(x.cols(), "columns", "cv::Mat"));
    // New, hence without gaps.
    Eigen::Map<detail::row_major_matrix<scalar>>(reinterpret_cast<scalar*>(result.data), x.rows(), x.cols()) =
        x;
    return result;
}

}  // namespace nsvd::inline NSVD_ABI
