// SPDX-License-Identifier: MIT
// The one translation unit of the tests that never uses LAPACK. The inline namespace of the library names its
// backend, so that this is no violation of the one-definition rule.
#undef NSVD_USE_LAPACK
#include "other_backend.hpp"

#include "run_methods.hpp"

namespace support {

outcome run_with_eigen(method which, const Eigen::MatrixXd& w, const Eigen::MatrixXd& x, Eigen::Index k) {
    return run_method(which, w, x, k);
}

outcome run_with_eigen(method which, const Eigen::MatrixXf& w, const Eigen::MatrixXf& x, Eigen::Index k) {
    return run_method(which, w, x, k);
}

factor_outcome factor_with_eigen(bool cholesky, const Eigen::MatrixXd& x) {
    return run_factor(cholesky, x);
}

Eigen::MatrixXd interpolate_with_eigen(const Eigen::MatrixXd& a, Eigen::Index k) {
    return run_interpolation(a, k);
}

}  // namespace support
