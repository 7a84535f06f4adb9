// SPDX-License-Identifier: MIT
#include "optimum.hpp"

#include "support/reference_svd.hpp"

#include <Eigen/QR>

#include <cmath>

#if defined(NSVD_USE_LAPACK)
#include <lapacke.h>

#include <stdexcept>
#include <vector>
#endif

namespace generated {

using Eigen::Index;
using Eigen::MatrixXd;
using Eigen::VectorXd;

VectorXd singular_values(const MatrixXd& a) {
#if defined(NSVD_USE_LAPACK)
    MatrixXd copy = a;
    const auto rows = static_cast<lapack_int>(a.rows());
    const auto cols = static_cast<lapack_int>(a.cols());
    VectorXd values(std::min(a.rows(), a.cols()));
    std::vector<double> rest(static_cast<std::size_t>(values.size()));
    if (LAPACKE_dgesvd(LAPACK_COL_MAJOR, 'N', 'N', rows, cols, copy.data(), rows, values.data(), nullptr, 1,
                       nullptr, 1, rest.data()) != 0)
        throw std::runtime_error("dgesvd did not converge");
    return values;
#else
    return support::jacobi_singular_values(a);
#endif
}

double optimum(const MatrixXd& a, Index k) {
    const VectorXd values = singular_values(a);
    return k < values.size() ? values.tail(values.size() - k).stableNorm() : 0.0;
}

MatrixXd without(const MatrixXd& a, const MatrixXd& q) {
    MatrixXd rest = a;
    for (int round = 0; round < 2; ++round)
        rest -= q * (q.transpose() * rest);
    return rest;
}

MatrixXd span_of(const MatrixXd& a) {
    const Eigen::HouseholderQR<MatrixXd> qr(a);
    return qr.householderQ() * MatrixXd::Identity(a.rows(), a.cols());
}

MatrixXd least_squares(const MatrixXd& w, const MatrixXd& a, const MatrixXd& b, double epsilon) {
    const Index n = b.rows();
    const Index t = b.cols();
    MatrixXd given(t + n, n);
    given << b.transpose(), std::sqrt(epsilon) * MatrixXd::Identity(n, n);
    MatrixXd wanted(t + n, w.rows());
    wanted << (w * a).transpose(), std::sqrt(epsilon) * w.transpose();
    return given.householderQr().solve(wanted).transpose();
}

}  // namespace generated
