// SPDX-License-Identifier: MIT
/// The leading k left singular vectors (m×k) by other libraries, each in a file of its own: they are slow to
/// compile, and Armadillo declares LAPACK's symbols its own way. For `float` and `double`.
#pragma once

#include <Eigen/Core>

namespace bench {

template <class Scalar>
using any_matrix = Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic>;

/// Eigen::BDCSVD; throws unless it succeeds, as the others do.
template <class Scalar>
[[nodiscard]] any_matrix<Scalar> eigen_bdcsvd_left(const any_matrix<Scalar>& a, Eigen::Index k);

/// Spectra::PartialSVDSolver with 2k Lanczos vectors.
template <class Scalar>
[[nodiscard]] any_matrix<Scalar> spectra_left(const any_matrix<Scalar>& a, Eigen::Index k);

/// arma::svd_econ by divide and conquer.
template <class Scalar>
[[nodiscard]] any_matrix<Scalar> armadillo_left(const any_matrix<Scalar>& a, Eigen::Index k);

}  // namespace bench
