// SPDX-License-Identifier: MIT
#include "other_solvers.hpp"

#include <Eigen/SVD>

#include <stdexcept>

namespace bench {

template <class Scalar>
any_matrix<Scalar> eigen_bdcsvd_left(const any_matrix<Scalar>& a, Eigen::Index k) {
    const Eigen::BDCSVD<any_matrix<Scalar>> svd(a, Eigen::ComputeThinU);
    if (svd.info() != Eigen::Success) throw std::runtime_error("BDCSVD failed");
    return svd.matrixU().leftCols(k);
}

template any_matrix<float> eigen_bdcsvd_left(const any_matrix<float>&, Eigen::Index);
template any_matrix<double> eigen_bdcsvd_left(const any_matrix<double>&, Eigen::Index);

}  // namespace bench
