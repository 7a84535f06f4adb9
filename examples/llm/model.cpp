// SPDX-License-Identifier: MIT
#include "model.hpp"

#include "stored_layer.hpp"
#include "tensors.hpp"

#include <nsvd/error.hpp>

#include <fmt/format.h>

#include <utility>

namespace llm {
namespace {

Eigen::Index index(std::size_t size) {
    return static_cast<Eigen::Index>(size);
}

/// A name with the number of an expert, where it has a place for one.
std::string numbered(const std::string& name, std::size_t expert) {
    return fmt::format(fmt::runtime(name), expert);
}

}  // namespace

model::model(std::filesystem::path folder, residence layers, progress* bar)
    : folder_(std::move(folder)),
      config_(read_config(folder_ / "config.json")),
      weights_(std::make_shared<const checkpoint>(folder_)),
      residence_(layers) {
    const auto& c = config_;
    list_places();
    const auto hidden = index(c.hidden_size), features = index(c.embedding_size);
    const auto vocabulary = index(c.vocab_size);
    embedding_ = read_matrix(*weights_, c.names.embedding, vocabulary, features);
    if (!c.tied_embeddings) head_ = read_matrix(*weights_, c.names.head, vocabulary, features);
    if (!c.names.positions.empty())
        positions_ = read_matrix(*weights_, c.names.positions,
                                 index(c.first_position + c.max_position_embeddings), hidden);
    if (!c.names.project_in.empty())
        project_in_ = read_matrix(*weights_, c.names.project_in, hidden, features);
    if (!c.names.project_out.empty())
        project_out_ = read_matrix(*weights_, c.names.project_out, features, hidden);
    if (!c.names.last_norm.empty()) last_norm_ = read_norm(c.names.last_norm);
    progress silent;
    read_blocks(bar != nullptr ? *bar : silent);
}

void model::list_places() {
    block_sites_ = config_.sites_in_block();
    for (const auto& where : block_sites_) {
        const auto& names = config_.linears[index_of(where.kind)].names;
        for (std::size_t part = 0; part < names.size(); ++part)
            places_.push_back({where, part, numbered(names[part], where.expert)});
    }
    layers_per_block_ = places_.size();
}

norm model::read_norm(const std::string& name) const {
    norm n{config_.norms, config_.norm_eps, {}, {}};
    if (!config_.norm_weights) return n;
    n.weight = read_vector(*weights_, name + ".weight", index(config_.hidden_size));
    if (n.kind == norm_kind::layer)
        n.bias = read_vector(*weights_, name + ".bias", index(config_.hidden_size));
    return n;
}

void model::read_blocks(progress& bar) {
    bar.expect(config_.blocks);
    const auto& names = config_.names;
    const auto beyond = fmt::format("{}.{}.", names.blocks, config_.blocks);
    for (const auto& tensor : weights_->tensors())
        if (tensor.starts_with(beyond))
            fail(*weights_, tensor, fmt::format("num_hidden_layers is {} in config.json", config_.blocks));
    for (std::size_t block = 0; block < config_.blocks; ++block) {
        const auto prefix = fmt::format("{}.{}.", names.blocks, block);
        norms_.push_back(
            {read_norm(prefix + names.attention_norm), read_norm(prefix + names.feed_forward_norm)});
        if (config_.experts > 0) {
            routers_.push_back(read_matrix(*weights_, fmt::format("{}{}.weight", prefix, names.router),
                                           index(config_.experts), index(config_.hidden_size)));
            check_experts(prefix);
        }
        for (const auto& where : block_sites_)
            read_linears(where);
        bar.step();
    }
}

void model::check_experts(const std::string& block_prefix) const {
    const site beyond{site_kind::feed_forward, config_.experts};
    for (const auto& name : config_.linears[index_of(beyond.kind)].names) {
        const auto layer = block_prefix + numbered(name, beyond.expert);
        if (contains_layer(*weights_, layer))
            fail(*weights_, layer, fmt::format("there are {} experts in config.json", config_.experts));
    }
}

void model::read_linear(const std::string& name, Eigen::Index rows, Eigen::Index cols,
                        const std::string& bias_key) {
    auto [layer, type] = residence_ == residence::in_file ? defer_layer(weights_, name, rows, cols)
                                                          : read_layer(*weights_, name, rows, cols);
    if (!bias_key.empty() && layer.bias().size() == 0)
        fail(*weights_, name + ".bias", fmt::format("is missing: {} is true in config.json", bias_key));
    layers_.push_back(std::move(layer));
    layer_dtypes_.push_back(type);
}

void model::read_linears(const site& where) {
    const std::size_t first = layers_.size(), parts = layers_at(where.kind);
    const auto& bias_key = config_.linears[index_of(where.kind)].bias_key;
    if (parts == 1 || !contains_layer(*weights_, fused_name(first))) {
        for (std::size_t i = first; i < first + parts; ++i) {
            const auto [rows, cols] = layer_shape(i);
            read_linear(layer_name(i), rows, cols, bias_key);
        }
        return;
    }
    const auto name = fused_name(first);
    Eigen::Index rows = 0;
    for (std::size_t i = first; i < first + parts; ++i)
        rows += layer_shape(i).first;
    read_linear(name, rows, layer_shape(first).second, bias_key);
    for (std::size_t i = first; i < first + parts; ++i)
        if (contains_layer(*weights_, layer_name(i)))
            fail(*weights_, layer_name(i), fmt::format("is part of {} as well", name));
    layers_.resize(first + parts);
    layer_dtypes_.resize(first + parts, layer_dtypes_.back());
}

std::size_t model::fusible(std::size_t i) const {
    const auto& own = place_of(i);
    return own.part == 0 ? layers_at(own.input.kind) : 0;
}

std::pair<Eigen::Index, Eigen::Index> model::layer_shape(std::size_t i) const {
    const auto& own = place_of(i);
    const auto [rows, cols] = config_.layer_shape(own.input.kind, own.part);
    return {index(rows), index(cols)};
}

const std::string& model::layer_role(std::size_t i) const {
    const auto& own = place_of(i);
    return config_.linears[index_of(own.input.kind)].names[own.part];
}

std::string model::layer_name(std::size_t i) const {
    return fmt::format("{}.{}.{}", config_.names.blocks, block_of(i), layer_kind(i));
}

std::string model::fused_name(std::size_t i) const {
    return fmt::format("{}.{}.{}", config_.names.blocks, block_of(i),
                       numbered(config_.linears[index_of(input_site(i).kind)].fused, input_site(i).expert));
}

std::size_t model::site_features(std::size_t i) const {
    return config_.features(block_sites_[i % block_sites_.size()].kind);
}

model read_model(const std::filesystem::path& folder, residence layers) {
    progress bar(1);
    bar.label("reading the model");
    return model(folder, layers, &bar);
}

}  // namespace llm
