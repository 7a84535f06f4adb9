// SPDX-License-Identifier: MIT
#pragma once

#include <nsvd/calibration.hpp>

#include <Eigen/Core>

namespace support {

/// The calibration that has seen the columns of x.
inline nsvd::calibration<double> calibrated(const Eigen::MatrixXd& x) {
    nsvd::calibration<double> calib(x.rows());
    calib.update(x);
    return calib;
}

}  // namespace support
