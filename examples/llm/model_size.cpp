// SPDX-License-Identifier: MIT
#include "model_size.hpp"

#include <algorithm>

namespace llm {
namespace {

std::int64_t bytes_of(std::size_t numbers) {
    return static_cast<std::int64_t>(numbers * sizeof(float));
}

/// Every number that is there, the identity block of an interpolative stage among them; of the layers of
/// experts, or of the others.
std::int64_t layer_bytes(const model& m, bool of_experts) {
    std::int64_t numbers = 0;
    for (std::size_t i = 0; i < m.layers(); ++i) {
        if (of_experts != (m.shape().experts > 0 && is_of_experts(m.input_site(i).kind))) continue;
        const auto& layer = m.layer(i);
        const auto* factors = layer.factors();
        numbers += factors != nullptr ? factors->left.size() + factors->right.size() + layer.bias().size()
                                      : layer.parameters();
    }
    return bytes_of(static_cast<std::size_t>(numbers));
}

std::int64_t router_bytes(const config& c) {
    return bytes_of(c.blocks * c.experts * c.hidden_size);
}

std::int64_t head_bytes(const config& c) {
    const std::size_t projection = c.names.project_out.empty() ? 0 : c.hidden_size;
    return bytes_of(c.embedding_size * (c.vocab_size + projection));
}

}  // namespace

std::int64_t weight_bytes(const model& m) {
    const auto& c = m.shape();
    std::size_t others = c.tied_embeddings ? 0 : c.vocab_size * c.embedding_size;
    if (!c.names.positions.empty()) others += (c.first_position + c.max_position_embeddings) * c.hidden_size;
    if (!c.names.project_in.empty()) others += c.embedding_size * c.hidden_size;
    return layer_bytes(m, false) + layer_bytes(m, true) + router_bytes(c) + head_bytes(c) + bytes_of(others);
}

std::int64_t weight_bytes_per_token(const model& m) {
    const auto& c = m.shape();
    const auto chosen = static_cast<std::int64_t>(c.experts_per_token);
    const auto all = static_cast<std::int64_t>(std::max<std::size_t>(c.experts, 1));
    return layer_bytes(m, false) + layer_bytes(m, true) * chosen / all + router_bytes(c) + head_bytes(c);
}

}  // namespace llm
