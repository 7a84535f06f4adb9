// SPDX-License-Identifier: MIT
/// Tensors of libtorch as matrices of nsvd. The scalar of a tensor is known at run time only, so it is named:
/// `nsvd::svd(nsvd::torch_view<float>(layer.weight), …)`.
#pragma once

#include "../matrix.hpp"

#include <Eigen/Core>

#include <ATen/ATen.h>
#include <cstdint>
#include <sstream>
#include <string>
#include <type_traits>

namespace nsvd::inline NSVD_ABI {

namespace detail {

template <real_scalar Scalar>
inline constexpr at::ScalarType torch_scalar = std::is_same_v<Scalar, double>        ? at::kDouble
                                               : std::is_same_v<Scalar, float>       ? at::kFloat
                                               : std::is_same_v<Scalar, Eigen::half> ? at::kHalf
                                                                                     : at::kBFloat16;

template <class T>
[[nodiscard]] std::string torch_text(const T& value) {
    std::ostringstream out;
    out << value;
    return out.str();
}

}  // namespace detail

/// The `m×n` numbers of `x` as scalars `Scalar`: `float`, `double`, or `Eigen::half` and `Eigen::bfloat16`,
/// which have the bits of `at::Half` and `at::BFloat16`. Slices and transposed tensors have strides and are
/// not copied either. A view: `x`, or another tensor on its storage, must outlive it. Throws `nsvd::error`
/// unless `x` is a dense tensor of two dimensions and this scalar on the CPU.
template <real_scalar Scalar>
[[nodiscard]] strided_view<Scalar> torch_view(const at::Tensor& x) {
    if (!x.defined()) throw error("torch_view: x is an undefined tensor");
    const auto what = [&x] { return "torch_view: x of shape " + detail::torch_text(x.sizes()); };
    if (x.layout() != at::kStrided)
        throw error(what() + " has layout " + detail::torch_text(x.layout()) + ", not Strided");
    if (!x.device().is_cpu()) throw error(what() + " is on device " + x.device().str() + ", not cpu");
    if (x.scalar_type() != detail::torch_scalar<Scalar>)
        throw error(what() + " has scalars " + at::toString(x.scalar_type()) + ", not " +
                    at::toString(detail::torch_scalar<Scalar>));
    if (x.dim() != 2) throw error(what() + " has " + std::to_string(x.dim()) + " dimensions, a matrix has 2");
    if (x.is_neg()) throw error(what() + " is lazily negated: call resolve_neg()");
    return {static_cast<const Scalar*>(x.data_ptr()), index{x.size(0)}, index{x.size(1)}, index{x.stride(0)},
            index{x.stride(1)}};
}

/// An `m×n` Eigen matrix, such as a factor of a decomposition, as a contiguous tensor of the same scalar on
/// the CPU. A copy.
template <class Derived>
requires real_scalar<typename Derived::Scalar>
[[nodiscard]] at::Tensor to_torch(const Eigen::MatrixBase<Derived>& x) {
    using scalar = typename Derived::Scalar;
    at::Tensor result = at::empty({std::int64_t{x.rows()}, std::int64_t{x.cols()}},
                                  at::TensorOptions().dtype(detail::torch_scalar<scalar>).device(at::kCPU));
    Eigen::Map<detail::row_major_matrix<scalar>>(static_cast<scalar*>(result.data_ptr()), x.rows(),
                                                 x.cols()) = x;
    return result;
}

}  // namespace nsvd::inline NSVD_ABI
