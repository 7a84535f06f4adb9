// SPDX-License-Identifier: MIT
/// What the heirs of LLaMA have from it.
#pragma once

#include "architecture.hpp"

#include <cstddef>

namespace llm {

/// A LLaMA that says nothing of biases, with `usual_positions` where max_position_embeddings is absent.
[[nodiscard]] config describe_llama_like(const config_reader& json, std::size_t usual_positions);

}  // namespace llm
