// SPDX-License-Identifier: MIT
/// What `config.json` of a model folder says about the model's shape.
#pragma once

#include <cstddef>
#include <filesystem>

namespace llm {

struct config {
    std::size_t hidden_size = 0;
    std::size_t intermediate_size = 0;
    std::size_t blocks = 0;
    std::size_t heads = 0;
    std::size_t key_value_heads = 0;
    std::size_t head_dim = 0;
    std::size_t vocab_size = 0;
    std::size_t max_position_embeddings = 0;
    double rms_norm_eps = 0;
    double rope_theta = 0;
    bool tied_embeddings = false;
};

/// Reads `config.json` of a LLaMA model in Hugging Face layout. Throws nsvd::error naming file and key for
/// keys that are missing or make no sense, for other architectures and for variants that the forward pass
/// lacks.
[[nodiscard]] config read_config(const std::filesystem::path& path);

}  // namespace llm
