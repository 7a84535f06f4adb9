// SPDX-License-Identifier: MIT
// The sizes at which LAPACK's workspace queries in single precision round down; run by hand
// (tests/CMakeLists.txt).
#include "support/catch.hpp"
#include "support/random.hpp"

#include <nsvd/nsvd.hpp>

TEST_CASE("single precision works at n = 2896 and n = 4096", "[.][large]") {
    for (const Eigen::Index n : {2896, 4096}) {
        CAPTURE(n);
        const Eigen::MatrixXf w = support::gaussian(n, n, 1).cast<float>();
        nsvd::calibration<float> calib(n);
        calib.update(support::gaussian(n, n + 512, 2));
        const auto d = nsvd::nested(w, calib, nsvd::compression{0.3});
        CHECK(d.info.status == nsvd::status::ok);
        CHECK(d.rank() == (7 * n) / 20);
        const Eigen::MatrixXf gram = d.left.transpose() * d.left;
        CHECK((gram - Eigen::MatrixXf::Identity(d.rank(), d.rank())).cwiseAbs().maxCoeff() < 1e-5F);
        // The weighted loss of the first stage is the dropped part of the spectrum; the second only lowers
        // it.
        const double first = d.info.spectrum.tail(n - d.info.stages[0].rank).sum() / d.info.spectrum.sum();
        const double both = d.info.spectrum.tail(n - d.rank()).sum() / d.info.spectrum.sum();
        const double error = nsvd::weighted_error(w, d, calib);
        CHECK(error * error <= first * (1.0 + 1e-5));
        CHECK(error * error >= both * (1.0 - 1e-5));
    }
}
