// SPDX-License-Identifier: MIT
/// What stands between the two factors of a linear layer, W x = L z: the r latents z of an input x.
#pragma once

#include "linear.hpp"

#include <Eigen/Core>

#include <utility>
#include <vector>

namespace llm {

/// r; 0 for a dense layer, which has none.
[[nodiscard]] Eigen::Index latent_size(const linear& layer);

/// z of each column of x (n×T): r×T. Of plain factors, and pivots by rows, it is right·x; of pivots by
/// columns x where columns are kept, plus right·x of the others. The layer must not be dense.
[[nodiscard]] Eigen::MatrixXf latents(const linear& layer, const Eigen::MatrixXf& x);

/// Rows `first` … `first + count − 1` of L and of the bias b of a layer that is not dense, and that must
/// outlive it; nothing is copied.
class latent_rows {
public:
    latent_rows(const linear& layer, Eigen::Index first, Eigen::Index count);

    /// L z + b of each column: count×T.
    [[nodiscard]] Eigen::MatrixXf apply(const Eigen::Ref<const Eigen::MatrixXf>& z) const;
    /// Lᵀ y of each column: r×T.
    [[nodiscard]] Eigen::MatrixXf apply_transposed(const Eigen::Ref<const Eigen::MatrixXf>& y) const;

private:
    using block = Eigen::Ref<const Eigen::MatrixXf, 0, Eigen::OuterStride<>>;

    block left_;  // the rows that are not kept
    std::vector<Eigen::Index> others_;
    std::vector<std::pair<Eigen::Index, Eigen::Index>> kept_;  // row, which latent it is
    Eigen::Ref<const Eigen::VectorXf> bias_;
};

}  // namespace llm
