// SPDX-License-Identifier: MIT
/// Seeded random matrices, the same on every machine and standard library: shapes, spectra, activations.
#pragma once

#include <Eigen/Core>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <random>
#include <string>

namespace support {

/// Random numbers and matrices from a seed. `std::mt19937_64` is fixed by the standard, the distributions of
/// the standard library are not: these are our own.
class generator {
public:
    explicit generator(std::uint64_t seed) : engine_(seed) {}

    /// In [0, 1).
    double uniform() { return static_cast<double>(engine_() >> 11) * 0x1p-53; }

    /// In [first, last].
    Eigen::Index integer(Eigen::Index first, Eigen::Index last) {
        return first + static_cast<Eigen::Index>(uniform() * static_cast<double>(last - first + 1));
    }

    /// Standard normal, by Box and Muller.
    double gaussian() {
        const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform()));
        return radius * std::cos(2.0 * std::numbers::pi * uniform());
    }

    Eigen::MatrixXd gaussian(Eigen::Index rows, Eigen::Index cols) {
        Eigen::MatrixXd a(rows, cols);
        for (double& x : a.reshaped())
            x = gaussian();
        return a;
    }

    /// Orthonormal columns (rows ≥ cols), by Gram-Schmidt done twice.
    Eigen::MatrixXd orthonormal(Eigen::Index rows, Eigen::Index cols) {
        Eigen::MatrixXd q = gaussian(rows, cols);
        for (Eigen::Index j = 0; j < cols; ++j)
            for (int round = 0; round < 2; ++round) {
                const Eigen::VectorXd inside = q.leftCols(j).transpose() * q.col(j);
                q.col(j) -= q.leftCols(j) * inside;
                q.col(j).normalize();
            }
        return q;
    }

    /// An `m×n` matrix with these singular values (the others are 0) and random singular vectors.
    Eigen::MatrixXd with_spectrum(Eigen::Index m, Eigen::Index n, const Eigen::VectorXd& values) {
        const Eigen::MatrixXd u = orthonormal(m, values.size());
        const Eigen::MatrixXd v = orthonormal(n, values.size());
        return u * values.asDiagonal() * v.transpose();
    }

private:
    std::mt19937_64 engine_;
};

/// Geometric from 1 down to 1/condition.
inline Eigen::VectorXd geometric(Eigen::Index size, double condition) {
    Eigen::VectorXd s(size);
    for (Eigen::Index i = 0; i < size; ++i)
        s(i) = size == 1 ? 1.0 : std::pow(condition, -static_cast<double>(i) / static_cast<double>(size - 1));
    return s;
}

/// Singular values that decompositions find easy or hard.
enum class shape_of_spectrum { ordinary, flat, clustered, step, steep, deficient, pairs, outliers, zero };
inline constexpr std::array all_spectra{
    shape_of_spectrum::ordinary, shape_of_spectrum::flat,     shape_of_spectrum::clustered,
    shape_of_spectrum::step,     shape_of_spectrum::steep,    shape_of_spectrum::deficient,
    shape_of_spectrum::pairs,    shape_of_spectrum::outliers, shape_of_spectrum::zero};

inline std::string name_of(shape_of_spectrum kind) {
    constexpr std::array names{"ordinary",  "flat",  "clustered", "step", "steep",
                               "deficient", "pairs", "outliers",  "zero"};
    return names[static_cast<std::size_t>(kind)];
}

/// `size` singular values, descending, the largest 1 (or 0). Deficient: the last third (at least one, if
/// there are two) vanishes. Pairs: every value twice.
inline Eigen::VectorXd make_spectrum(shape_of_spectrum kind, Eigen::Index size) {
    Eigen::VectorXd s = geometric(size, 100.0);
    const Eigen::Index third = (size + 2) / 3;
    switch (kind) {
        case shape_of_spectrum::ordinary:
            break;
        case shape_of_spectrum::flat:
            s.setOnes();
            break;
        case shape_of_spectrum::clustered:
            for (Eigen::Index i = 0; i < size; ++i)
                s(i) = std::pow(10.0, -static_cast<double>(3 * i / size)) *
                       (1.0 - 1e-10 * static_cast<double>(i));
            break;
        case shape_of_spectrum::step:
            s.tail(size - third).setConstant(1e-7);
            s.head(third).setOnes();
            break;
        case shape_of_spectrum::steep:
            s = geometric(size, 1e14);
            break;
        case shape_of_spectrum::deficient:
            if (size > 1) s.tail(third).setZero();
            break;
        case shape_of_spectrum::pairs:
            for (Eigen::Index i = 1; i < size; i += 2)
                s(i) = s(i - 1);
            break;
        case shape_of_spectrum::outliers:
            s *= 1e-6;
            s.head(std::min<Eigen::Index>(3, third)) = geometric(std::min<Eigen::Index>(3, third), 2.0);
            break;
        case shape_of_spectrum::zero:
            s.setZero();
            break;
    }
    return s;
}

/// How activations are made.
struct activation_options {
    double condition = 10.0;    ///< of X before outliers, with singular values falling geometrically
    Eigen::Index rank = 0;      ///< of X; 0: min(n, T)
    Eigen::Index outliers = 0;  ///< channels that are multiplied by `factor`
    double factor = 1e6;
};

/// Inputs of a layer, `n×T`: correlated channels of about unit size, some of them outliers.
inline Eigen::MatrixXd activations(generator& g, Eigen::Index n, Eigen::Index tokens,
                                   const activation_options& options = {}) {
    const Eigen::Index full = std::min(n, tokens);
    const Eigen::Index rank = options.rank > 0 ? std::min(options.rank, full) : full;
    Eigen::MatrixXd x = g.with_spectrum(n, tokens, geometric(rank, options.condition));
    x *= std::sqrt(static_cast<double>(n * tokens)) / x.norm();
    const Eigen::Index first = g.integer(0, n - 1);
    for (Eigen::Index i = 0; i < std::min(options.outliers, n); ++i)
        x.row((first + i) % n) *= options.factor;
    return x;
}

}  // namespace support
