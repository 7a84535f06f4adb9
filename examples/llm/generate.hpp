// SPDX-License-Identifier: MIT
/// Text that a model continues, token by token.
#pragma once

#include "model.hpp"
#include "progress.hpp"

#include <Eigen/Core>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace llm {

/// Passes the next tokens of one sequence, in pieces, and gives the logits of what follows the last. One
/// progress step a piece.
[[nodiscard]] Eigen::VectorXf read_text(const model& m, std::span<const token> text, attention_memory& memory,
                                        progress& bar);

struct generation_options {
    std::size_t tokens = 0;
    double temperature = 0;  ///< 0: always the likeliest token
    std::uint64_t seed = 0;
    bool latent_memory = false;  ///< latents of k and v in the memory, where they are fewer
};

struct generation {
    std::vector<token> ids;                ///< without the prompt
    double prompt_seconds = 0;             ///< passing the prompt
    double seconds = 0;                    ///< passing every token made but the last, which nothing follows
    std::int64_t cache_bytes = 0;          ///< of the prompt and all tokens made
    std::int64_t feature_cache_bytes = 0;  ///< what that would be without `latent_memory`
};

/// Continues a prompt; `made` is called with each token as it is there. The same options give the same
/// tokens. Throws nsvd::error for a prompt of no tokens, for a temperature below 0 or not finite, and for
/// more tokens in all than max_position_embeddings. One progress step a token.
[[nodiscard]] generation generate(const model& m, std::span<const token> prompt,
                                  const generation_options& options, const std::function<void(token)>& made,
                                  progress& prompt_bar, progress& bar);

/// Pieces in which `read_text` passes so many tokens.
[[nodiscard]] std::size_t pieces_of(std::size_t tokens);

}  // namespace llm
