// SPDX-License-Identifier: MIT
/// What is decomposed: weights and the calibration of their inputs, the same in every run.
#pragma once

#include "lapack.hpp"

#include <nsvd/calibration.hpp>

#include <string>

namespace bench {

/// Names a problem. Without `path` it is made up, else it is read from a data folder (see data_folder.hpp).
struct problem_spec {
    Index rows = 0;
    Index cols = 0;
    double outliers = 0.0;  ///< factor of the largest outlier channels; 0: none
    std::string path{};     ///< of a matrix in a data folder
    std::string tensor{};   ///< in a safetensors file at `path`

    friend bool operator==(const problem_spec&, const problem_spec&) = default;
    [[nodiscard]] std::string shape() const { return std::to_string(rows) + "x" + std::to_string(cols); }
    /// Part of the names of benchmarks.
    [[nodiscard]] std::string name() const;
};

struct problem {
    problem_spec spec;
    Eigen::MatrixXf weights;
    nsvd::calibration<float> calib;
};

/// Weights with the singular values `8/√i + 1`: a decaying and a flat part, flat around the cut as in
/// language models; singular vectors are random.
[[nodiscard]] Eigen::MatrixXf made_up_weights(Index rows, Index cols);

/// Statistics of `9/8 n + 64` correlated tokens, fed in blocks of 2048: standard deviations `4/√i + ¼` along
/// random orthogonal directions. Eight channels, spread over all, are large: four by
/// `outliers`, two each by a tenth and a fiftieth of that (at least 1).
[[nodiscard]] nsvd::calibration<float> made_up_calibration(Index features, double outliers);

/// The problem of a spec. Keeps one: ask for the rows of one problem together.
[[nodiscard]] const problem& problem_for(const problem_spec& spec);

}  // namespace bench
