// SPDX-License-Identifier: MIT
/// What exact arithmetic would give, by Eigen's Jacobi SVD in double: slow, and independent of the library.
/// One translation unit instantiates it.
#pragma once

#include <Eigen/Core>

namespace support {

/// All min(m, n) singular values, descending.
[[nodiscard]] Eigen::VectorXd jacobi_singular_values(const Eigen::MatrixXd& a);

/// `‖(W − W′)X‖_F / ‖W X‖_F` and `‖W − W′‖_F / ‖W‖_F`; 0/0 = 0.
struct errors {
    double weighted = 0.0;
    double plain = 0.0;
};
[[nodiscard]] errors measure(const Eigen::MatrixXd& w, const Eigen::MatrixXd& x, const Eigen::MatrixXd& w2);

/// `Q` (`m×k`) of ASVD-I: the leading left singular vectors of `W X` itself, no Gram matrix anywhere; where
/// `W X` has a smaller rank, the rest from the residual `W − Q Qᵀ W`.
[[nodiscard]] Eigen::MatrixXd reference_asvd(const Eigen::MatrixXd& w, const Eigen::MatrixXd& x,
                                             Eigen::Index k);

/// `[Q₁ Q₂]` of NSVD-I for ranks k₁ + k₂.
[[nodiscard]] Eigen::MatrixXd reference_nsvd(const Eigen::MatrixXd& w, const Eigen::MatrixXd& x,
                                             Eigen::Index k1, Eigen::Index k2);

/// `W′` of NID-I: ASVD-I of rank k₁, then the residual projected onto k₂ of its columns, picked by
/// column-pivoted Householder QR.
[[nodiscard]] Eigen::MatrixXd reference_nid(const Eigen::MatrixXd& w, const Eigen::MatrixXd& x,
                                            Eigen::Index k1, Eigen::Index k2);

}  // namespace support
