// SPDX-License-Identifier: MIT
/// What is decomposed as one: a linear layer, or several that share their input.
#pragma once

#include "model.hpp"

#include <nsvd/rank/policy.hpp>

#include <Eigen/Core>

#include <cstddef>
#include <string>
#include <vector>

namespace llm {

struct unit {
    std::vector<std::size_t> layers;  ///< of the model, in the order of their rows
    std::string name;                 ///< of the layer, or of the fused one
    nsvd::shape shape;                ///< of W, or of the stacked W
};

/// Every layer by itself; with `joint`, q, k and v as one and gate and up as one.
[[nodiscard]] std::vector<unit> units_of(const model& m, bool joint);

/// The layers of one block.
[[nodiscard]] inline block_layers block_of(const std::vector<linear>& layers, std::size_t block,
                                           const model& m) {
    return block_layers(layers).subspan(block * m.layers_per_block(), m.layers_per_block());
}

/// The same layers with their numbers in memory.
[[nodiscard]] std::vector<linear> in_memory(block_layers layers);

/// The dense layers of a unit, stacked on their rows (m×n).
[[nodiscard]] Eigen::MatrixXf weight_of(const unit& u, const std::vector<linear>& layers);

/// Their biases likewise; empty where none has one.
[[nodiscard]] Eigen::VectorXf bias_of(const unit& u, const std::vector<linear>& layers);

/// Puts a layer in the place of a unit's first one in `layers`, and empty ones in those of the others: the
/// model takes such a layer for all of them (model.hpp).
template <class Layers>
void replace(const unit& u, Layers& layers, linear by, std::size_t first_index = 0) {
    for (const auto i : u.layers)
        layers[i - first_index] = linear();
    layers[u.layers.front() - first_index] = std::move(by);
}

}  // namespace llm
