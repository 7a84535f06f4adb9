// SPDX-License-Identifier: MIT
/// Slow, obvious counterparts of what the library computes, in long double.
#pragma once

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <functional>

namespace support {

using MatrixXl = Eigen::Matrix<long double, Eigen::Dynamic, Eigen::Dynamic>;
using VectorXl = Eigen::Matrix<long double, Eigen::Dynamic, 1>;

/// Σ_t w_t x_t x_tᵀ by three loops; all weights 1 if `weights` is empty.
template <class Derived>
MatrixXl naive_gram(const Eigen::MatrixBase<Derived>& x, const Eigen::VectorXd& weights = {}) {
    MatrixXl gram = MatrixXl::Zero(x.rows(), x.rows());
    for (Eigen::Index t = 0; t < x.cols(); ++t)
        for (Eigen::Index i = 0; i < x.rows(); ++i)
            for (Eigen::Index j = 0; j < x.rows(); ++j)
                gram(i, j) += static_cast<long double>(weights.size() > 0 ? weights(t) : 1.0) *
                              static_cast<long double>(x(i, t)) * static_cast<long double>(x(j, t));
    return gram;
}

/// Singular values, descending, by one-sided Jacobi rotations.
inline VectorXl singular_values(const Eigen::MatrixXd& matrix) {
    MatrixXl a = matrix.cast<long double>();
    if (a.cols() > a.rows()) a.transposeInPlace();
    for (int sweep = 0; sweep < 60; ++sweep) {
        long double worst = 0;
        for (Eigen::Index p = 0; p < a.cols(); ++p)
            for (Eigen::Index q = p + 1; q < a.cols(); ++q) {
                const long double alpha = a.col(p).squaredNorm();
                const long double beta = a.col(q).squaredNorm();
                const long double gamma = a.col(p).dot(a.col(q));
                if (std::abs(gamma) <= 1e-18L * std::sqrt(alpha) * std::sqrt(beta)) continue;
                worst = std::max(worst, std::abs(gamma) / (std::sqrt(alpha) * std::sqrt(beta)));
                const long double zeta = (beta - alpha) / (2 * gamma);
                const long double t = std::copysign(1.0L, zeta) / (std::abs(zeta) + std::hypot(1.0L, zeta));
                const long double c = 1 / std::hypot(1.0L, t);
                const VectorXl old = a.col(p);
                a.col(p) = c * old - c * t * a.col(q);
                a.col(q) = c * t * old + c * a.col(q);
            }
        if (worst < 1e-17L) break;
    }
    VectorXl values = a.colwise().norm().transpose();
    std::sort(values.begin(), values.end(), std::greater<>());
    return values;
}

/// √Σ_{i≥k} σ_i², the error of the best approximation of rank k.
inline double best_error(const Eigen::MatrixXd& a, Eigen::Index k) {
    const VectorXl values = singular_values(a);
    return static_cast<double>(values.tail(values.size() - k).norm());
}

/// ‖(W − W′) X‖ / ‖W X‖ from the matrices themselves.
inline double naive_error(const Eigen::MatrixXd& w, const Eigen::MatrixXd& approximation,
                          const Eigen::MatrixXd& x) {
    const MatrixXl wide_x = x.cast<long double>();
    const MatrixXl rest = w.cast<long double>() - approximation.cast<long double>();
    return static_cast<double>((rest * wide_x).norm() / (w.cast<long double>() * wide_x).norm());
}
inline double naive_error(const Eigen::MatrixXd& w, const Eigen::MatrixXd& approximation) {
    return naive_error(w, approximation, Eigen::MatrixXd::Identity(w.cols(), w.cols()));
}

/// left · right in double.
template <class LowRank>
Eigen::MatrixXd product(const LowRank& d) {
    return d.left.template cast<double>() * d.right.template cast<double>();
}

/// max |QᵀQ − I|.
template <class Derived>
double orthogonality(const Eigen::MatrixBase<Derived>& q) {
    const Eigen::MatrixXd p = q.template cast<double>();
    return (p.transpose() * p - Eigen::MatrixXd::Identity(p.cols(), p.cols())).cwiseAbs().maxCoeff();
}

}  // namespace support
