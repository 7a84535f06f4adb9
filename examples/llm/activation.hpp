// SPDX-License-Identifier: MIT
/// What a feed-forward does to the numbers between its layers.
#pragma once

#include <Eigen/Core>

#include <optional>
#include <string>
#include <string_view>

namespace llm {

/// relu: max(x, 0). silu: x/(1 + e⁻ˣ). gelu: x·Φ(x). gelu_tanh: x/2·(1 + tanh(√(2/π)·(x + 0.044715 x³))).
enum class activation { relu, silu, gelu, gelu_tanh };

/// The activation of a name in Hugging Face's files ("silu", "swish", "relu", "gelu", "gelu_new",
/// "gelu_pytorch_tanh"); none for others.
[[nodiscard]] std::optional<activation> activation_named(std::string_view name);

/// The names, for errors.
[[nodiscard]] std::string activation_names();

/// The activation of every number.
[[nodiscard]] Eigen::MatrixXf activated(activation which, const Eigen::MatrixXf& x);

}  // namespace llm
