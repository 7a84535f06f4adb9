// SPDX-License-Identifier: MIT
/// What `config.json` of a model folder, and the description of its architecture, say about a model: its
/// shape, the names of its tensors, and what its blocks do.
#pragma once

#include "activation.hpp"
#include "norm.hpp"
#include "rope.hpp"
#include "site.hpp"

#include <array>
#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace llm {

/// The linear layers that take their input at one site of a block. In the order in which they are counted:
/// q, k, v; the output of attention; gate and up, or a single one; the output of the feed-forward.
struct site_layers {
    std::vector<std::string> names;  ///< within a block: "self_attn.q_proj"; {} is the number of an expert
    std::string fused = {};          ///< of all as one layer; empty where there is just one
    std::string bias_key = {};       ///< what in config.json says that they have biases, if anything does
};

/// Names of tensors, those of norms without ".weight" and ".bias"; empty where the model has no such thing.
struct tensor_names {
    std::string embedding, head, last_norm;
    std::string positions;                          ///< learned ones, a row each
    std::string project_in, project_out;            ///< between embeddings and residual stream
    std::string blocks;                             ///< "model.layers", say, in front of ".0."
    std::string attention_norm, feed_forward_norm;  ///< within a block
    std::string router = {};                        ///< within a block, where it has experts
};

/// No model has as many blocks, or experts; more is a damaged file, whose memory would be asked for before
/// any weight is read.
inline constexpr std::size_t most_blocks = 1 << 16, most_experts = 1 << 12;

struct config {
    std::string model_type;
    std::size_t hidden_size = 0;
    std::size_t embedding_size = 0;  ///< hidden_size, but where the embeddings are projected
    std::size_t intermediate_size = 0;
    std::size_t blocks = 0;
    std::size_t heads = 0;
    std::size_t key_value_heads = 0;
    std::size_t head_dim = 0;
    std::size_t vocab_size = 0;
    std::size_t max_position_embeddings = 0;
    bool tied_embeddings = false;

    norm_kind norms = norm_kind::rms;
    double norm_eps = 0;
    bool norm_weights = true;    ///< norms have weights, and biases if they are of the kind `layer`
    bool norm_before = true;     ///< a block normalizes its inputs; otherwise the stream after each addition
    std::optional<rope> rotary;  ///< rotary positions
    std::size_t first_position = 0;  ///< row of the learned positions that the first token has
    activation act = activation::silu;
    std::size_t experts = 0;  ///< feed-forwards of a block; 0: one, which all tokens pass
    std::size_t experts_per_token = 0;
    /// For each block how many tokens attention sees, the current one among them; 0: all.
    std::vector<std::size_t> attention_window;

    tensor_names names;
    std::array<site_layers, site_kinds.size()> linears;  ///< by kind of site; of every expert the same

    /// Two layers before the activation, the first of which is activated and gates the other.
    [[nodiscard]] bool gated() const { return linears[index_of(site_kind::feed_forward)].names.size() == 2; }
    /// Of a block, in their order: those of attention, then expert by expert.
    [[nodiscard]] std::vector<site> sites_in_block() const;
    [[nodiscard]] std::size_t layers_in_block() const;
    /// Rows and columns of a linear layer: number `part` of those that take their input at a site.
    [[nodiscard]] std::pair<std::size_t, std::size_t> layer_shape(site_kind input, std::size_t part) const;
    /// Features of the inputs at a site.
    [[nodiscard]] std::size_t features(site_kind input) const { return layer_shape(input, 0).second; }
};

/// Reads `config.json` of a model in Hugging Face layout, of any of the architectures in architecture.hpp.
/// Throws nsvd::error naming file, key and value for keys that are missing, make no sense or contradict each
/// other, for other architectures and for variants that the forward pass lacks.
[[nodiscard]] config read_config(const std::filesystem::path& path);

}  // namespace llm
