// SPDX-License-Identifier: MIT
// The smallest program that compiles, links and runs what every way in must deliver: a calibration (products)
// and a decomposition (factorizations), chosen for what they cost to compile.
#include <nsvd/nsvd.hpp>

#include <iostream>

int main() {
    const Eigen::MatrixXd W = Eigen::MatrixXd::Random(24, 3) * Eigen::MatrixXd::Random(3, 16);
    const Eigen::MatrixXd X = Eigen::MatrixXd::Random(16, 40);
    nsvd::calibration<double> calib(16);
    calib.update(X);
    const auto d = nsvd::interpolative(W, nsvd::rank{3});

#if defined(NSVD_USE_LAPACK)
    const char* backend = "lapack";
#else
    const char* backend = "eigen";
#endif
    std::cout << "nsvd " << NSVD_VERSION << ", backend " << backend << ", error " << d.error << '\n';
    const bool calibrated = (calib.gram() - X * X.transpose()).norm() <= 1e-12 * X.squaredNorm();
    return calibrated && d.rank() == 3 && d.error < 1e-12 ? 0 : 1;
}
