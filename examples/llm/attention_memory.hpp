// SPDX-License-Identifier: MIT
/// Keys and values of tokens that have passed (a KV cache).
#pragma once

#include "config.hpp"

#include <Eigen/Core>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace llm {

class model;

/// The keys and values of tokens that have passed, for several sequences of equal length: what follows them
/// needs to pass alone. Where rotary positions depend on the length of a text (`dynamic`), they are those of
/// one that fills the memory.
struct attention_memory {
    /// What is kept of a block. Features of k stand there after rotation, latents before it.
    struct part {
        Eigen::MatrixXf keys;    ///< features or latents × (sequences · capacity)
        Eigen::MatrixXf values;  ///< the same; empty where the latents of k are those of v as well
        bool latent_keys = false, latent_values = false;
    };

    /// Room for `capacity` tokens of each sequence.
    attention_memory(const config& shape, std::size_t sequences, std::size_t capacity);
    /// The same for the layers of a model, with latents (latent.hpp) in place of features of k and v where
    /// those are in factors and have fewer; once for both where q, k and v are one layer with fewer than both
    /// have. ASVD (2312.05821) calls that compression of the KV cache.
    attention_memory(const model& m, std::size_t sequences, std::size_t capacity, bool latents);

    /// Of all tokens there is room for.
    [[nodiscard]] std::int64_t bytes() const;

    Eigen::Index sequences, capacity, length = 0;
    std::vector<part> blocks;
    Eigen::MatrixXf rotation;  ///< of latent keys: rotary positions, head_dim × capacity
};

/// Bytes of the keys and values of so many tokens, none of them as latents.
[[nodiscard]] std::int64_t feature_bytes(const config& shape, std::size_t tokens);

}  // namespace llm
