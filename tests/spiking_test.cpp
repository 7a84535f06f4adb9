// SPDX-License-Identifier: MIT
// Which of several inputs spike.
#include "support/calibrated.hpp"
#include "support/catch.hpp"
#include "support/expect_error.hpp"
#include "support/generate.hpp"

#include <nsvd/spiking.hpp>

#include <Eigen/Core>

#include <cmath>
#include <cstddef>
#include <vector>

namespace {

using Eigen::MatrixXd;
using nsvd::peak;
using nsvd::spiking;
using support::calibrated;
using support::generator;

}  // namespace

TEST_CASE("spiking: peaks are max over rms, whatever the scale", "[spiking]") {
    MatrixXd x(2, 3);
    x << 1.0, -1.0, 1.0, 1.0, 1.0, -7.0;
    // rms² = (5 + 49)/6 = 9
    for (const double scale : {1.0, 1e-90, 1e90})
        CHECK(peak(calibrated(scale * x)) == Approx(7.0 / 3.0));
    CHECK(peak(calibrated(MatrixXd::Constant(1, 1, -2.0))) == Approx(1.0));
    CHECK(peak(calibrated(MatrixXd::Zero(2, 3))) == 0.0);
    // A weight counts like repetitions.
    nsvd::calibration<float> twice(2);
    twice.update(x, std::vector<double>(3, 2.0));
    CHECK(peak(twice) == Approx(7.0 / 3.0));
}

TEST_CASE("spiking: layers that stand out, and outlier channels that do not", "[spiking]") {
    generator g(1);
    std::vector<nsvd::calibration<double>> calibs;
    for (int layer = 0; layer < 12; ++layer) {
        // Scales and outlier channels differ from layer to layer.
        MatrixXd x = std::pow(10.0, layer - 6) * g.gaussian(64, 400);
        if (layer % 3 == 0) x.row(5) *= 20.0;
        if (layer == 1 || layer == 10) x(7, 0) *= 3e3 / std::abs(x(7, 0)) * x.cwiseAbs().mean();
        calibs.push_back(calibrated(x));
    }
    CHECK(spiking(calibs) == std::vector<std::size_t>{1, 10});
    CHECK(spiking(calibs, 1e3).empty());
    std::vector<double> peaks;
    for (const auto& calib : calibs)
        peaks.push_back(peak(calib));
    CHECK(spiking(peaks) == std::vector<std::size_t>{1, 10});
}

TEST_CASE("spiking: few layers, equal layers, no layers", "[spiking]") {
    CHECK(spiking(std::vector<double>{}).empty());
    CHECK(spiking(std::vector<double>{5.0}).empty());
    CHECK(spiking(std::vector<double>(4, 5.0), 1.0).empty());
    CHECK(spiking(std::vector<double>{5.0, 51.0}) == std::vector<std::size_t>{1});
    CHECK(spiking(std::vector<double>{50.0, 5.0}).empty());
    CHECK(spiking(std::vector<double>{50.1, 6.0, 5.0, 4.0}) == std::vector<std::size_t>{0});
}

TEST_CASE("spiking: misuse", "[spiking]") {
    support::expect_error([] { (void)peak(nsvd::calibration<float>(3)); }, {"peak", "no tokens"});
    support::expect_error([] { (void)spiking(std::vector<double>{1.0}, 0.5); }, {"spiking", "factor = 0.5"});
    support::expect_error([] { (void)spiking(std::vector<double>{1.0, -1.0}); }, {"spiking", "-1"});
}
