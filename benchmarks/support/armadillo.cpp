// SPDX-License-Identifier: MIT
#define ARMA_DONT_USE_WRAPPER  // straight to the BLAS that all others use
#define ARMA_DONT_USE_HDF5
#include "other_solvers.hpp"

#include <armadillo>
#include <stdexcept>

namespace bench {

template <class Scalar>
any_matrix<Scalar> armadillo_left(const any_matrix<Scalar>& a, Eigen::Index k) {
    const arma::Mat<Scalar> view(const_cast<Scalar*>(a.data()), static_cast<arma::uword>(a.rows()),
                                 static_cast<arma::uword>(a.cols()), false, true);
    arma::Mat<Scalar> left;
    arma::Mat<Scalar> right;
    arma::Col<Scalar> values;
    if (!arma::svd_econ(left, values, right, view, "both", "dc")) throw std::runtime_error("svd_econ failed");
    return Eigen::Map<const any_matrix<Scalar>>(left.memptr(), a.rows(), k);
}

template any_matrix<float> armadillo_left(const any_matrix<float>&, Eigen::Index);
template any_matrix<double> armadillo_left(const any_matrix<double>&, Eigen::Index);

}  // namespace bench
