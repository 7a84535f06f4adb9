// SPDX-License-Identifier: MIT
/// A linear layer as it lies in a model's file (docs/format.md).
#pragma once

#include "checkpoint.hpp"
#include "linear.hpp"

#include <nsvd/ext/safetensors.hpp>

#include <Eigen/Core>

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace llm {

/// What may follow "X." in the names of the tensors of layer X; every layer has one of the first two.
inline constexpr std::array<std::string_view, 5> layer_parts{"weight", "left.weight", "right.weight",
                                                             "pivots", "bias"};

struct stored_layer {
    linear layer;
    nsvd::safetensors::dtype type;  // of its numbers
};

/// Whether the file has tensors of layer `name`.
[[nodiscard]] bool contains_layer(const checkpoint& file, const std::string& name);

/// Layer `name` (m×n) of a file: dense, in factors or in pivots, with or without a bias, all numbers of one
/// type. Throws nsvd::error naming file and tensor for what is missing, misshapen, not finite or does not
/// belong together.
[[nodiscard]] stored_layer read_layer(const checkpoint& file, const std::string& name, Eigen::Index m,
                                      Eigen::Index n);

/// The same, checked but for the numbers, which are read when they are needed; biases are read at once.
[[nodiscard]] stored_layer defer_layer(std::shared_ptr<const checkpoint> file, const std::string& name,
                                       Eigen::Index m, Eigen::Index n);

/// The tensors of a layer, numbers in the type given. Those of a deferred layer of this type are not copied:
/// its file has to outlive them.
[[nodiscard]] std::vector<nsvd::safetensors::tensor> layer_tensors(const linear& layer,
                                                                   nsvd::safetensors::dtype type,
                                                                   const std::string& name);

/// Bytes of data in `layer_tensors`. They count the identity block of an interpolative stage, which
/// `linear::parameters` does not.
[[nodiscard]] std::int64_t stored_bytes(const linear& layer, nsvd::safetensors::dtype type);

/// The layer as it will be read back. Throws nsvd::error naming the layer for numbers outside of the range of
/// the type.
[[nodiscard]] linear rounded(const linear& layer, nsvd::safetensors::dtype type, const std::string& name);

}  // namespace llm
