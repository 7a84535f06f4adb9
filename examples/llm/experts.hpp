// SPDX-License-Identifier: MIT
/// Which experts of a block a token passes (mixture of experts).
#pragma once

#include <Eigen/Core>

#include <cstddef>
#include <vector>

namespace llm {

/// The tokens of a window that each expert takes, and how much what it makes of them counts.
struct routing {
    struct share {
        std::vector<Eigen::Index> tokens;  ///< columns of the window, ascending
        Eigen::VectorXf weights;           ///< of the same tokens; those of one token add up to 1
    };
    std::vector<share> experts;
};

/// From the router's logits (experts × tokens): softmax over all experts, the `chosen` most likely of each
/// token (the first of those that are alike), their weights divided by their sum.
[[nodiscard]] routing route(const Eigen::MatrixXf& logits, std::size_t chosen);

}  // namespace llm
