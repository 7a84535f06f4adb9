// SPDX-License-Identifier: MIT
/// Seeded test matrices: Gaussian, orthonormal, of a given spectrum, with outlier channels.
#pragma once

#include <Eigen/Core>
#include <Eigen/QR>

#include <cmath>
#include <cstdint>
#include <random>

namespace support {

using Eigen::Index;

/// Independent standard normal entries; the same numbers for the same seed.
inline Eigen::MatrixXd gaussian(Index rows, Index cols, std::uint64_t seed) {
    std::mt19937_64 engine(seed);
    std::normal_distribution<double> normal;
    Eigen::MatrixXd result(rows, cols);
    for (Index j = 0; j < cols; ++j)
        for (Index i = 0; i < rows; ++i)
            result(i, j) = normal(engine);
    return result;
}

/// `m×k` with orthonormal columns.
inline Eigen::MatrixXd orthonormal(Index m, Index k, std::uint64_t seed) {
    const Eigen::HouseholderQR<Eigen::MatrixXd> qr(gaussian(m, k, seed));
    return qr.householderQ() * Eigen::MatrixXd::Identity(m, k);
}

/// `m×n` with the given singular values and random singular vectors.
inline Eigen::MatrixXd with_spectrum(Index m, Index n, const Eigen::VectorXd& values, std::uint64_t seed) {
    return orthonormal(m, values.size(), seed) * values.asDiagonal() *
           orthonormal(n, values.size(), seed + 1000).transpose();
}

/// first, first·ratio, first·ratio², …
inline Eigen::VectorXd geometric(Index count, double first, double ratio) {
    Eigen::VectorXd values(count);
    for (Index i = 0; i < count; ++i)
        values(i) = first * std::pow(ratio, static_cast<double>(i));
    return values;
}

/// Correlated inputs (`n×t`) of which every fifth channel is `outlier` times the rest.
inline Eigen::MatrixXd activations(Index n, Index t, std::uint64_t seed, double outlier = 1.0) {
    Eigen::MatrixXd x = gaussian(n, n, seed) * gaussian(n, t, seed + 1) + 0.3 * gaussian(n, t, seed + 2);
    for (Index i = 0; i < n; i += 5)
        x.row(i) *= outlier;
    return x;
}

}  // namespace support
