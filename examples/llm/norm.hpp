// SPDX-License-Identifier: MIT
/// The normalization of hidden states.
#pragma once

#include <Eigen/Core>

namespace llm {

/// rms: x/√(mean(x²) + eps)·weight. layer: (x − mean(x))/√(variance(x) + eps)·weight + bias, the variance
/// divided by n.
enum class norm_kind { rms, layer };

struct norm {
    norm_kind kind = norm_kind::rms;
    double eps = 0;
    Eigen::VectorXf weight;  ///< empty: 1
    Eigen::VectorXf bias;    ///< empty: 0

    /// Every column normalized; mean and variance in double, for outlier channels.
    [[nodiscard]] Eigen::MatrixXf apply(const Eigen::MatrixXf& x) const;
};

}  // namespace llm
