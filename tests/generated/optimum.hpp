// SPDX-License-Identifier: MIT
/// What exact arithmetic would give, from LAPACK's `dgesvd` in double (from Eigen's Jacobi SVD where the
/// library is built without LAPACK): none of the library's own solvers, no Gram matrix, no whitening.
#pragma once

#include <Eigen/Core>

namespace generated {

/// All min(m, n) singular values, descending.
[[nodiscard]] Eigen::VectorXd singular_values(const Eigen::MatrixXd& a);

/// √Σ_{i>k} σ_i².
[[nodiscard]] double optimum(const Eigen::MatrixXd& a, Eigen::Index k);

/// `A − Q Qᵀ A` for orthonormal columns Q, to the last digit.
[[nodiscard]] Eigen::MatrixXd without(const Eigen::MatrixXd& a, const Eigen::MatrixXd& q);

/// Orthonormal columns that span those of `a`, and more where these are dependent.
[[nodiscard]] Eigen::MatrixXd span_of(const Eigen::MatrixXd& a);

/// The `T` that minimises `‖W A − T B‖² + ε ‖W − T‖²`, by QR of `[B √ε I]`.
[[nodiscard]] Eigen::MatrixXd least_squares(const Eigen::MatrixXd& w, const Eigen::MatrixXd& a,
                                            const Eigen::MatrixXd& b, double epsilon);

}  // namespace generated
