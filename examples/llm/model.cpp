// SPDX-License-Identifier: MIT
#include "model.hpp"

#include "stored_layer.hpp"
#include "tensors.hpp"

#include <nsvd/error.hpp>

#include <fmt/format.h>

#include <utility>

namespace llm {
namespace {

std::filesystem::path weights_path(const std::filesystem::path& folder) {
    if (!std::filesystem::exists(folder / "model.safetensors") &&
        std::filesystem::exists(folder / "model.safetensors.index.json"))
        throw nsvd::error(fmt::format(
            "{}: models in several files are not supported yet: want model.safetensors", folder.string()));
    return folder / "model.safetensors";
}

}  // namespace

model::model(std::filesystem::path folder)
    : folder_(std::move(folder)),
      config_(read_config(folder_ / "config.json")),
      file_(weights_path(folder_)) {
    const auto& c = config_;
    const auto index = [](std::size_t size) { return static_cast<Eigen::Index>(size); };
    const auto hidden = index(c.hidden_size);
    const auto vocabulary = index(c.vocab_size);
    embedding_ = read_matrix(file_, "model.embed_tokens.weight", vocabulary, hidden);
    if (!c.tied_embeddings) head_ = read_matrix(file_, "lm_head.weight", vocabulary, hidden);
    last_norm_ = read_vector(file_, "model.norm.weight", hidden);
    if (const auto next = fmt::format("model.layers.{}.input_layernorm.weight", c.blocks);
        file_.contains(next))
        fail(file_, next, fmt::format("num_hidden_layers is {} in config.json", c.blocks));
    for (std::size_t block = 0; block < c.blocks; ++block) {
        const auto prefix = fmt::format("model.layers.{}.", block);
        norms_.push_back({read_vector(file_, prefix + "input_layernorm.weight", hidden),
                          read_vector(file_, prefix + "post_attention_layernorm.weight", hidden)});
        for (std::size_t p = 0; p < projection_names.size(); ++p) {
            const auto parts = fusible(static_cast<projection>(p));
            const bool fused = parts > 1 && contains_layer(file_, fused_name(layers_.size()));
            auto [rows, cols] = layer_shape(p);
            for (std::size_t more = 1; fused && more < parts; ++more)
                rows += layer_shape(p + more).first;
            const auto name = fused ? fused_name(layers_.size()) : layer_name(layers_.size());
            auto [layer, type] = read_layer(file_, name, rows, cols);
            for (std::size_t part = 0; fused && part < parts; ++part)
                if (const auto own = layer_name(layers_.size() + part); contains_layer(file_, own))
                    fail(file_, own, fmt::format("is part of {} as well", name));
            layers_.push_back(std::move(layer));
            layer_dtypes_.push_back(type);
            for (std::size_t more = 1; fused && more < parts; ++more, ++p) {
                layers_.emplace_back();
                layer_dtypes_.push_back(type);
            }
        }
    }
}

std::pair<Eigen::Index, Eigen::Index> model::layer_shape(std::size_t i) const {
    const auto index = [](std::size_t size) { return static_cast<Eigen::Index>(size); };
    const auto hidden = index(config_.hidden_size), intermediate = index(config_.intermediate_size);
    const auto attention = index(config_.heads * config_.head_dim);
    switch (projection_of(i)) {
        case projection::q:
            return {attention, hidden};
        case projection::k:
        case projection::v:
            return {index(config_.key_value_heads * config_.head_dim), hidden};
        case projection::o:
            return {hidden, attention};
        case projection::down:
            return {hidden, intermediate};
        default:
            return {intermediate, hidden};
    }
}

std::string model::layer_name(std::size_t i) const {
    return fmt::format("model.layers.{}.{}", i / projection_names.size(),
                       projection_names[i % projection_names.size()]);
}

std::string model::fused_name(std::size_t i) const {
    return fmt::format(
        "model.layers.{}.{}", i / projection_names.size(),
        input_site(projection_of(i)) == site::attention ? "self_attn.qkv_proj" : "mlp.gate_up_proj");
}

std::size_t model::site_features(std::size_t i) const {
    switch (static_cast<site>(i % sites_per_block)) {
        case site::attention_output:
            return config_.heads * config_.head_dim;
        case site::feed_forward_output:
            return config_.intermediate_size;
        default:
            return config_.hidden_size;
    }
}

}  // namespace llm
