// SPDX-License-Identifier: MIT
#include "problem.hpp"

#include "data_folder.hpp"
#include "mixing.hpp"
#include "progress.hpp"
#include "random.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <optional>
#include <utility>

namespace bench {

namespace {

constexpr std::uint64_t weight_seed = 0x5eed'0001;
constexpr std::uint64_t activation_seed = 0x5eed'0100;

Eigen::VectorXf deviations(Index features) {
    Eigen::VectorXf s(features);
    for (Index i = 0; i < features; ++i)
        s(i) = 4.0F / std::sqrt(1.0F + static_cast<float>(i)) + 0.25F;
    return s;
}

/// Factor of each channel.
Eigen::VectorXf channel_factors(Index features, double outliers) {
    Eigen::VectorXf factors = Eigen::VectorXf::Ones(features);
    if (outliers == 0.0) return factors;
    constexpr std::array<double, 4> parts{1.0, 10.0, 50.0, 1.0};
    constexpr Index count = 8;
    for (Index j = 0; j < count; ++j) {
        const double factor = std::max(1.0, outliers / parts[static_cast<std::size_t>(j) % parts.size()]);
        factors((2 * j + 1) * features / (2 * count)) = static_cast<float>(factor);
    }
    return factors;
}

problem make(const problem_spec& spec) {
    if (!spec.path.empty()) return read_problem(spec);
    return {spec, made_up_weights(spec.rows, spec.cols), made_up_calibration(spec.cols, spec.outliers)};
}

}  // namespace

std::string problem_spec::name() const {
    if (!path.empty()) {
        const std::filesystem::path file(path);
        return tensor.empty() ? file.stem().string() : file.parent_path().filename().string() + "." + tensor;
    }
    return shape() + "/outliers:" + std::to_string(static_cast<int>(outliers));
}

Eigen::MatrixXf made_up_weights(Index rows, Index cols) {
    // Qᵣ diag(s) Q_cᵀ, built from the longer side's columns, so that both passes run down columns.
    Eigen::MatrixXf w = Eigen::MatrixXf::Zero(rows, cols);
    for (Index i = 0; i < std::min(rows, cols); ++i)
        w(i, i) = 8.0F / std::sqrt(1.0F + static_cast<float>(i)) + 1.0F;
    mixing(rows, weight_seed).apply(w);
    Eigen::MatrixXf transposed = w.transpose();
    mixing(cols, weight_seed + 1).apply(transposed);
    return transposed.transpose() / std::sqrt(static_cast<float>(std::max(rows, cols)));
}

nsvd::calibration<float> made_up_calibration(Index features, double outliers) {
    constexpr Index block = 2048;
    const Index tokens = features + features / 8 + 64;
    const Eigen::VectorXf s = deviations(features);
    const Eigen::VectorXf factors = channel_factors(features, outliers);
    const mixing directions(features, activation_seed);
    generator random(activation_seed + 1);
    nsvd::calibration<float> calib(features);
    Eigen::MatrixXf x;
    for (Index first = 0; first < tokens; first += block) {
        x.resize(features, std::min(block, tokens - first));
        for (Index t = 0; t < x.cols(); ++t)
            for (Index i = 0; i < features; ++i)
                x(i, t) = s(i) * random.normal();
        directions.apply(x);
        x.array().colwise() *= factors.array();
        calib.update(x);
    }
    return calib;
}

const problem& problem_for(const problem_spec& spec) {
    static std::optional<problem> kept;
    if (!kept || kept->spec != spec) {
        note("making " + spec.name());
        kept.reset();  // first, so that two are never in memory
        kept.emplace(make(spec));
    }
    return *kept;
}

}  // namespace bench
