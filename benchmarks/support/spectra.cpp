// SPDX-License-Identifier: MIT
#include "other_solvers.hpp"

#include <Eigen/SparseCore>

#include <Spectra/contrib/PartialSVDSolver.h>
#include <algorithm>
#include <stdexcept>

namespace bench {

template <class Scalar>
any_matrix<Scalar> spectra_left(const any_matrix<Scalar>& a, Eigen::Index k) {
    const Eigen::Index s = std::min(a.rows(), a.cols());
    Spectra::PartialSVDSolver<any_matrix<Scalar>> solver(a, k, std::min(2 * k, s));
    if (solver.compute() < k) throw std::runtime_error("Spectra did not converge");
    return solver.matrix_U(k);
}

template any_matrix<float> spectra_left(const any_matrix<float>&, Eigen::Index);
template any_matrix<double> spectra_left(const any_matrix<double>&, Eigen::Index);

}  // namespace bench
