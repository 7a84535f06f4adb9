// SPDX-License-Identifier: MIT
/// The product of dense matrices in the forward pass.
#pragma once

#include <nsvd/detail/blas.hpp>

#include <Eigen/Core>

namespace llm {

/// A X, as factors are multiplied: by the BLAS of the LAPACK backend, in as many threads as it was told to
/// use, by Eigen otherwise. Dense and compressed layers then differ in nothing but the numbers they read.
[[nodiscard]] inline Eigen::MatrixXf product(const Eigen::MatrixXf& a,
                                             const Eigen::Ref<const Eigen::MatrixXf>& x) {
    using nsvd::detail::op;
    return nsvd::detail::multiply<float>(a, op::none, x, op::none);
}

}  // namespace llm
