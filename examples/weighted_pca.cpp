// SPDX-License-Identifier: MIT
// A metric of your own: principal components of measurements whose noise is known (nothing about language
// models).
#include <nsvd/nsvd.hpp>

#include <Eigen/LU>

#include <cmath>
#include <cstdio>
#include <random>

// The sine of the largest angle between the spans of two orthonormal bases.
static double largest_angle(const Eigen::MatrixXd& a, const Eigen::MatrixXd& b) {
    return nsvd::svd(a - b * (b.transpose() * a), nsvd::rank{1}).dense().norm();
}

int main() {
    // 400 spectra of 80 wavelengths: three smooth components in unknown amounts. Every fourth exposure was
    // made through cloud, with ten times the noise; what disturbs one exposure is still there in the next.
    constexpr Eigen::Index wavelengths = 80, exposures = 400, components = 3;
    constexpr double memory = 0.7;
    std::mt19937 random(1);
    std::normal_distribution<double> draw;
    Eigen::MatrixXd truth(wavelengths, components);
    for (Eigen::Index c = 0; c < components; ++c)
        for (Eigen::Index i = 0; i < wavelengths; ++i)
            truth(i, c) = std::exp(-0.5 * std::pow(static_cast<double>(i - 20 - 20 * c) / 8.0, 2));
    Eigen::MatrixXd data(wavelengths, exposures);
    Eigen::VectorXd noise(exposures);
    Eigen::VectorXd disturbance = Eigen::VectorXd::NullaryExpr(wavelengths, [&] { return draw(random); });
    for (Eigen::Index j = 0; j < exposures; ++j) {
        noise(j) = j % 4 == 0 ? 3.0 : 0.3;
        data.col(j) = noise(j) * disturbance;
        for (Eigen::Index c = 0; c < components; ++c)
            data.col(j) += draw(random) * truth.col(c);
        for (double& d : disturbance)
            d = memory * d + std::sqrt(1.0 - memory * memory) * draw(random);
    }
    const auto plain = nsvd::svd(data, nsvd::rank{components});

    //! [diagonal]
    // Each exposure counts with the inverse of its variance: M = diag(1/σ²), a factor of which is diag(1/σ).
    const nsvd::metric weights(nsvd::diagonal_factor(noise.cwiseInverse()), "1/σ²");
    const auto weighted = nsvd::decompose(data, {{weights, 1.0}}, nsvd::rank{components});
    //! [diagonal]

    //! [matrix]
    // Any symmetric positive semi-definite matrix will do: the inverse of the covariance of the noise.
    Eigen::MatrixXd covariance(exposures, exposures);
    for (Eigen::Index i = 0; i < exposures; ++i)
        for (Eigen::Index j = 0; j < exposures; ++j)
            covariance(i, j) = noise(i) * noise(j) * std::pow(memory, std::abs(static_cast<double>(i - j)));
    const nsvd::metric inverse(covariance.inverse(), 0.0, nsvd::whitening::cholesky, exposures, "Σ⁻¹");
    const auto general = nsvd::decompose(data, {{inverse, 1.0}}, nsvd::rank{components});
    //! [matrix]

    // Leading left singular vectors: the components that each of them found.
    const auto exact = nsvd::svd(truth, nsvd::rank{components});
    std::printf("sine of the largest angle to the true components\n");
    const auto row = [&](const char* name, const auto& d) {
        const double sine = largest_angle(d.left, exact.left);
        std::printf("  %s  %.3f\n", name, sine);
        return sine;
    };
    const double without = row("plain       ", plain);
    const double diagonal = row("weights 1/σ²", weighted);
    const double full = row("metric Σ⁻¹  ", general);
    return full < diagonal && diagonal < 0.5 * without ? 0 : 1;
}
