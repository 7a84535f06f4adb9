// SPDX-License-Identifier: MIT
#include "reference_svd.hpp"

#include <Eigen/QR>
#include <Eigen/SVD>

#include <algorithm>
#include <limits>

namespace support {

namespace {

using Eigen::Index;
using Eigen::MatrixXd;
using Eigen::VectorXd;

struct left_svd {
    MatrixXd vectors;
    VectorXd values;
    Index rank = 0;  ///< values above 10·eps·(largest dimension)·σ₁
};

/// Jacobi finds small singular values to high relative accuracy; it wants the long side as rows.
left_svd decompose(const MatrixXd& a) {
    left_svd result;
    if (a.rows() <= a.cols()) {
        const Eigen::JacobiSVD<MatrixXd> svd(a.transpose(), Eigen::ComputeThinV);
        result = {svd.matrixV(), svd.singularValues(), 0};
    } else {
        const Eigen::JacobiSVD<MatrixXd> svd(a, Eigen::ComputeThinU);
        result = {svd.matrixU(), svd.singularValues(), 0};
    }
    const double floor = 10.0 * std::numeric_limits<double>::epsilon() *
                         static_cast<double>(std::max(a.rows(), a.cols())) * result.values(0);
    result.rank = (result.values.array() > floor).count();
    return result;
}

/// Twice, since Q need not be orthonormal to the last digit.
MatrixXd residual(const MatrixXd& w, const MatrixXd& q) {
    MatrixXd rest = w;
    for (int round = 0; round < 2; ++round)
        rest -= q * (q.transpose() * rest);
    return rest;
}

/// `[q more]` made orthonormal: where the residual had no more directions, `more` is arbitrary.
MatrixXd joined(const MatrixXd& q, const MatrixXd& more) {
    MatrixXd both(q.rows(), q.cols() + more.cols());
    both << q, more;
    const Eigen::HouseholderQR<MatrixXd> qr(both);
    return qr.householderQ() * MatrixXd::Identity(both.rows(), both.cols());
}

double ratio(double a, double b) {
    return b > 0.0 ? a / b : 0.0;
}

}  // namespace

VectorXd jacobi_singular_values(const MatrixXd& a) {
    return decompose(a).values;
}

errors measure(const MatrixXd& w, const MatrixXd& x, const MatrixXd& w2) {
    const MatrixXd rest = w - w2;
    return {ratio((rest * x).norm(), (w * x).norm()), ratio(rest.norm(), w.norm())};
}

MatrixXd reference_asvd(const MatrixXd& w, const MatrixXd& x, Index k) {
    const left_svd first = decompose(w * x);
    const Index given = std::min(k, first.rank);
    const MatrixXd q = first.vectors.leftCols(given);
    if (given == k) return q;
    return joined(q, decompose(residual(w, q)).vectors.leftCols(k - given));
}

MatrixXd reference_nsvd(const MatrixXd& w, const MatrixXd& x, Index k1, Index k2) {
    const MatrixXd q = reference_asvd(w, x, k1);
    return joined(q, decompose(residual(w, q)).vectors.leftCols(k2));
}

MatrixXd reference_nid(const MatrixXd& w, const MatrixXd& x, Index k1, Index k2) {
    const MatrixXd q = reference_asvd(w, x, k1);
    const MatrixXd rest = residual(w, q);
    const Eigen::ColPivHouseholderQR<MatrixXd> qr(rest);
    const MatrixXd q2 = MatrixXd(qr.householderQ()).leftCols(k2);
    return q * (q.transpose() * w) + q2 * (q2.transpose() * rest);
}

}  // namespace support
