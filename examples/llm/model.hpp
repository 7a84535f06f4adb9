// SPDX-License-Identifier: MIT
/// A language model: reading a model folder, and the forward pass. What differs between architectures is in
/// the config; here is what they share.
#pragma once

#include "attention_memory.hpp"
#include "checkpoint.hpp"
#include "config.hpp"
#include "experts.hpp"
#include "linear.hpp"
#include "norm.hpp"
#include "progress.hpp"
#include "site.hpp"
#include "tokens.hpp"

#include <nsvd/ext/safetensors.hpp>

#include <Eigen/Core>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace llm {

/// The linear layers of a block, in the order of `config::linears`: the model's own or others in their place.
using block_layers = std::span<const linear>;

/// Tokens on their way through the model: a window at positions 0, 1, …, or the next tokens of the sequences
/// in a memory, one sequence after the other.
struct window_pass {
    Eigen::MatrixXf residual;                         ///< hidden_size × T: the stream that layers add to
    Eigen::MatrixXf input;                            ///< features × T: of the site that was reached last
    std::shared_ptr<const Eigen::MatrixXf> rotation;  ///< rotary positions, head_dim × T; or none
    attention_memory* memory = nullptr;

    // In a block with experts: what they all take, which of them take which of its columns, and the sum of
    // what they have made of them so far.
    Eigen::MatrixXf common_input, mixed;
    std::shared_ptr<const routing> routes;
    std::shared_ptr<const routing> given_routes = nullptr;  ///< in place of those the router would choose

    /// How much each column of the input of a site that was reached counts in the residual stream: 1, but for
    /// experts the square of the weight that what they make of it is added with.
    [[nodiscard]] Eigen::VectorXd input_weights(const site& where) const;
};

/// Called with the inputs of a site (features × tokens) while a window passes through block `block`; without
/// columns where an expert gets no token.
using observer = std::function<void(std::size_t block, site where, const Eigen::MatrixXf& x)>;
/// Called when a site is reached.
using site_visitor = std::function<void(const site& where)>;

/// Where the linear layers of a model are kept.
enum class residence : std::uint8_t { in_memory, in_file };

class model {
public:
    /// Maps and checks a folder in Hugging Face layout: `config.json` and a checkpoint with F16, BF16 or F32
    /// weights; linear layers as in stored_layer.hpp, some of them fused. Where the layers stay `in_file`,
    /// each use of one reads it anew, and its numbers are checked then. Throws nsvd::error naming file and
    /// tensor for what is missing, misshapen, not finite or not supported. One progress step a block.
    explicit model(std::filesystem::path folder, residence layers = residence::in_memory,
                   progress* bar = nullptr);
    /// A model of a shape, in no folder: linear layer i (m×n) as `make(i, m, n)` gives it, embeddings and the
    /// head of random numbers, norms that multiply by 1 (random_model.cpp).
    model(config shape, const std::function<linear(std::size_t, Eigen::Index, Eigen::Index)>& make);

    [[nodiscard]] const std::filesystem::path& folder() const { return folder_; }
    [[nodiscard]] const config& shape() const { return config_; }
    [[nodiscard]] const checkpoint& weights() const { return *weights_; }

    /// Linear layers are counted block by block; layer i has the input of calibration site `site_index(i)`.
    [[nodiscard]] std::size_t layers() const { return layers_.size(); }
    [[nodiscard]] const linear& layer(std::size_t i) const { return layers_[i]; }
    [[nodiscard]] linear& layer(std::size_t i) { return layers_[i]; }
    [[nodiscard]] block_layers block(std::size_t i) const {
        return block_layers(layers_).subspan(i * layers_per_block_, layers_per_block_);
    }
    [[nodiscard]] std::size_t layers_per_block() const { return layers_per_block_; }
    [[nodiscard]] std::size_t block_of(std::size_t layer) const { return layer / layers_per_block_; }
    /// Where layer i takes its input.
    [[nodiscard]] const site& input_site(std::size_t i) const { return place_of(i).input; }
    /// How many layers share the input of layer i and follow it, itself among them: 3 for q, 2 for gate. They
    /// can be one fused layer, their outputs one below the other, which stands in the place of the first, and
    /// empty ones in those of the others. 1 for layers that share it with no other, 0 for those that follow.
    [[nodiscard]] std::size_t fusible(std::size_t i) const;
    /// Rows and columns of layer i, fused or not.
    [[nodiscard]] std::pair<Eigen::Index, Eigen::Index> layer_shape(std::size_t i) const;
    /// Name of layer i within its block, for example "self_attn.q_proj".
    [[nodiscard]] const std::string& layer_kind(std::size_t i) const { return place_of(i).name; }
    /// What layers that do the same in other blocks, and for other experts, share with layer i: its kind,
    /// "{}" in place of an expert's number.
    [[nodiscard]] const std::string& layer_role(std::size_t i) const;
    /// Name of layer i without ".weight", for example "model.layers.0.self_attn.q_proj".
    [[nodiscard]] std::string layer_name(std::size_t i) const;
    /// Name of the fused layer that stands in the place of layer i: "….self_attn.qkv_proj",
    /// "….mlp.gate_up_proj".
    [[nodiscard]] std::string fused_name(std::size_t i) const;
    /// Whether layer i is a fused one, and whether it is part of the fused one before it.
    [[nodiscard]] bool is_fused(std::size_t i) const { return fusible(i) > 1 && layers_[i + 1].cols() == 0; }
    [[nodiscard]] bool is_within_fused(std::size_t i) const { return layers_[i].cols() == 0; }
    /// The type in which layer i is stored: that of the file, or the one that all numbers are to have.
    [[nodiscard]] nsvd::safetensors::dtype layer_dtype(std::size_t i) const {
        return stored_as_.value_or(layer_dtypes_[i]);
    }
    void store_as(nsvd::safetensors::dtype type) { stored_as_ = type; }
    [[nodiscard]] std::optional<nsvd::safetensors::dtype> stored_as() const { return stored_as_; }

    /// The sites of any block, in their order.
    [[nodiscard]] std::span<const site> block_sites() const { return block_sites_; }
    /// The number of a site among them.
    [[nodiscard]] static std::size_t index_in_block(const site& where) {
        return index_of(where.kind) + 2 * where.expert;
    }
    [[nodiscard]] std::size_t sites() const { return config_.blocks * block_sites_.size(); }
    [[nodiscard]] std::size_t site_index(std::size_t block, const site& where) const {
        return block * block_sites_.size() + index_in_block(where);
    }
    [[nodiscard]] std::size_t site_index(std::size_t layer) const {
        return site_index(block_of(layer), input_site(layer));
    }
    /// Features of calibration site `i`.
    [[nodiscard]] std::size_t site_features(std::size_t i) const;

    // A window passes a block site by site: `reach` gives the input of the site's linear layers, `leave` adds
    // what they write to the residual stream, for experts when the last of them is left. `layers` are those
    // of the block. Throws nsvd::error for more tokens than there are learned positions.
    [[nodiscard]] window_pass start(std::span<const token> window) const;
    /// A window whose residual stream has come before some block.
    [[nodiscard]] window_pass start_from(Eigen::MatrixXf residual) const;
    void reach(std::size_t block, const site& where, block_layers layers, window_pass& pass) const;
    void leave(std::size_t block, const site& where, block_layers layers, window_pass& pass) const;
    /// From before a block to its sites of one kind, the residual stream left as it is before what those
    /// write; and through the whole of it.
    void reach_all(std::size_t block, site_kind kind, block_layers layers, window_pass& pass,
                   const site_visitor& visit) const;
    void pass_through(std::size_t block, block_layers layers, window_pass& pass) const;
    /// Takes a window that stands before block `first` through the rest of the model: hidden_size × T.
    [[nodiscard]] Eigen::MatrixXf finish(std::size_t first, window_pass pass,
                                         const observer& observe = {}) const;

    /// Passes a window of tokens, at positions 0, 1, …, through all blocks and the last norm: hidden_size ×
    /// T.
    [[nodiscard]] Eigen::MatrixXf hidden(std::span<const token> window, const observer& observe = {}) const {
        return finish(0, start(window), observe);
    }
    /// The same for the next tokens, equally many for each sequence and one sequence after the other; they
    /// are added to `memory`. Throws nsvd::error where that, or the learned positions, have no room.
    [[nodiscard]] Eigen::MatrixXf hidden(std::span<const token> next, attention_memory& memory) const;
    /// Logits (vocab_size × T) of hidden states.
    [[nodiscard]] Eigen::MatrixXf logits(const Eigen::Ref<const Eigen::MatrixXf>& hidden) const;
    /// logits(hidden(window)).
    [[nodiscard]] Eigen::MatrixXf forward(std::span<const token> window, const observer& observe = {}) const {
        return logits(hidden(window, observe));
    }

private:
    /// Rotary positions first, first + 1, … of texts of `length` in all; none where there are no such.
    [[nodiscard]] std::shared_ptr<const Eigen::MatrixXf> rotation(Eigen::Index first, Eigen::Index count,
                                                                  Eigen::Index length,
                                                                  Eigen::Index sequences) const;
    /// Of a linear layer within its block.
    struct place {
        site input;
        std::size_t part;  // counted among those of the same input
        std::string name;
    };
    [[nodiscard]] const place& place_of(std::size_t layer) const {
        return places_[layer % layers_per_block_];
    }
    struct block_norms {
        norm attention, feed_forward;
    };

    [[nodiscard]] std::size_t layers_at(site_kind kind) const {
        return config_.linears[index_of(kind)].names.size();
    }
    void list_places();
    void read_blocks(progress& bar);
    /// The layers of a site of the next block, one by one or as one.
    void read_linears(const site& where);
    /// Throws where the file has experts beyond those of config.json.
    void check_experts(const std::string& block_prefix) const;
    void read_linear(const std::string& name, Eigen::Index rows, Eigen::Index cols,
                     const std::string& bias_key);
    [[nodiscard]] norm read_norm(const std::string& name) const;
    [[nodiscard]] block_layers layers_of(const site& where, block_layers layers) const;
    /// The input of an expert; that of the first asks the router.
    void reach_expert(std::size_t block, std::size_t expert, window_pass& pass) const;
    void leave_expert(std::size_t expert, const linear& layer, window_pass& pass) const;
    [[nodiscard]] Eigen::MatrixXf attention(std::size_t block, block_layers layers,
                                            const window_pass& pass) const;
    /// The tokens of each sequence from position `first` on, in texts of `length` in all.
    [[nodiscard]] window_pass embed(std::span<const token> tokens, Eigen::Index sequences, Eigen::Index first,
                                    Eigen::Index length) const;

    std::filesystem::path folder_;
    config config_;
    std::shared_ptr<const checkpoint> weights_;
    residence residence_ = residence::in_memory;
    std::vector<site> block_sites_;
    std::vector<place> places_;  // of the layers of a block
    std::size_t layers_per_block_ = 0;
    Eigen::MatrixXf embedding_;                 // vocab_size × embedding_size
    std::optional<Eigen::MatrixXf> head_;       // the same shape, unless tied
    std::optional<Eigen::MatrixXf> positions_;  // a row each
    std::optional<Eigen::MatrixXf> project_in_, project_out_;
    std::vector<block_norms> norms_;
    std::vector<Eigen::MatrixXf> routers_;  // experts × hidden_size, where there are experts
    std::optional<norm> last_norm_;
    std::vector<linear> layers_;
    std::vector<nsvd::safetensors::dtype> layer_dtypes_;
    std::optional<nsvd::safetensors::dtype> stored_as_;
};

/// A model as its constructor makes it, with a progress bar.
[[nodiscard]] model read_model(const std::filesystem::path& folder, residence layers = residence::in_memory);

}  // namespace llm
