// SPDX-License-Identifier: MIT
#include "attention_memory.hpp"

#include "latent.hpp"
#include "model.hpp"

namespace llm {
namespace {

using Eigen::Index;

Index features_of(const config& shape) {
    return static_cast<Index>(shape.key_value_heads * shape.head_dim);
}

/// Latents of a layer that gives this many features; 0 where they are no fewer.
Index fewer_latents(const linear& layer, Index features) {
    const Index size = latent_size(layer);
    return size < features ? size : 0;
}

}  // namespace

attention_memory::attention_memory(const config& shape, std::size_t sequences_, std::size_t capacity_)
    : sequences(static_cast<Index>(sequences_)), capacity(static_cast<Index>(capacity_)) {
    const Eigen::MatrixXf empty(features_of(shape), sequences * capacity);
    blocks.assign(shape.blocks, {empty, empty});
}

attention_memory::attention_memory(const model& m, std::size_t sequences_, std::size_t capacity_,
                                   bool latents)
    : attention_memory(m.shape(), sequences_, capacity_) {
    if (!latents) return;
    const Index features = features_of(m.shape());
    bool any_keys = false;
    for (std::size_t i = 0; i < blocks.size(); ++i) {
        const auto layers = m.block(i);
        auto& block = blocks[i];
        const auto put = [&](Eigen::MatrixXf& numbers, bool& is_latent, Index size) {
            is_latent = size != 0;
            if (is_latent) numbers.resize(size, sequences * capacity);
        };
        if (m.is_fused(i * m.layers_per_block())) {
            put(block.keys, block.latent_keys, fewer_latents(layers[0], 2 * features));
            block.latent_values = block.latent_keys;
            if (block.latent_values) block.values.resize(0, 0);
        } else {
            put(block.keys, block.latent_keys, fewer_latents(layers[1], features));
            put(block.values, block.latent_values, fewer_latents(layers[2], features));
        }
        any_keys = any_keys || block.latent_keys;
    }
    if (any_keys && m.shape().rotary)
        rotation = m.shape().rotary->table(static_cast<Index>(m.shape().head_dim), 0, capacity, capacity);
}

std::int64_t attention_memory::bytes() const {
    std::int64_t numbers = 0;
    for (const auto& block : blocks)
        numbers += block.keys.size() + block.values.size();
    return numbers * static_cast<std::int64_t>(sizeof(float));
}

std::int64_t feature_bytes(const config& shape, std::size_t tokens) {
    const auto numbers = 2 * shape.blocks * shape.key_value_heads * shape.head_dim * tokens;
    return static_cast<std::int64_t>(numbers * sizeof(float));
}

}  // namespace llm
