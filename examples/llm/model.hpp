// SPDX-License-Identifier: MIT
/// A LLaMA language model: reading a model folder, and the forward pass.
#pragma once

#include "config.hpp"
#include "linear.hpp"
#include "tokens.hpp"

#include <nsvd/ext/safetensors.hpp>

#include <Eigen/Core>

#include <array>
#include <cstddef>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace llm {

/// The seven linear layers of a block, in the order in which they are counted.
enum class projection { q, k, v, o, gate, up, down };
inline constexpr std::array<std::string_view, 7> projection_names{
    "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
    "mlp.gate_proj",    "mlp.up_proj",      "mlp.down_proj"};

/// The four places of a block where linear layers take their input: q, k and v share one, gate and up
/// another.
enum class site { attention, attention_output, feed_forward, feed_forward_output };
inline constexpr std::size_t sites_per_block = 4;

/// Where a linear layer takes its input.
[[nodiscard]] constexpr site input_site(projection which) {
    switch (which) {
        case projection::o:
            return site::attention_output;
        case projection::gate:
        case projection::up:
            return site::feed_forward;
        case projection::down:
            return site::feed_forward_output;
        default:
            return site::attention;
    }
}

inline constexpr std::array<site, sites_per_block> all_sites{site::attention, site::attention_output,
                                                             site::feed_forward, site::feed_forward_output};

/// The seven linear layers of a block, in the order of `projection`: the model's own or others in their
/// place.
using block_layers = std::span<const linear>;

/// The keys and values of tokens that have passed (a KV cache), for several sequences of equal length: what
/// follows them needs to pass alone.
struct attention_memory {
    /// Room for `capacity` tokens of each sequence.
    attention_memory(const config& shape, std::size_t sequences, std::size_t capacity);

    Eigen::Index sequences, length = 0;
    std::vector<Eigen::MatrixXf> keys, values;  ///< of each block: features × (sequences · capacity)
};

/// Tokens on their way through the model: a window at positions 0, 1, …, or the next tokens of the sequences
/// in a memory, one sequence after the other.
struct window_pass {
    Eigen::MatrixXf residual;                         ///< hidden_size × T: the stream that layers add to
    Eigen::MatrixXf input;                            ///< features × T: of the site that was reached last
    std::shared_ptr<const Eigen::MatrixXf> rotation;  ///< rotary positions, head_dim × T
    attention_memory* memory = nullptr;
};

/// Called with the inputs of a site (features × tokens) while a window passes through block `block`.
using observer = std::function<void(std::size_t block, site where, const Eigen::MatrixXf& x)>;

class model {
public:
    /// Maps and checks a folder in Hugging Face layout: `config.json` and `model.safetensors` with F16, BF16
    /// or F32 weights; linear layers as in stored_layer.hpp. Throws nsvd::error naming file and tensor for
    /// what is missing, misshapen, not finite or not supported.
    explicit model(std::filesystem::path folder);

    [[nodiscard]] const std::filesystem::path& folder() const { return folder_; }
    [[nodiscard]] const config& shape() const { return config_; }
    [[nodiscard]] const nsvd::safetensors::file& file() const { return file_; }

    /// Linear layers are counted block by block; layer i has the input of calibration site `site_index(i)`.
    [[nodiscard]] std::size_t layers() const { return layers_.size(); }
    [[nodiscard]] const linear& layer(std::size_t i) const { return layers_[i]; }
    [[nodiscard]] linear& layer(std::size_t i) { return layers_[i]; }
    [[nodiscard]] block_layers block(std::size_t i) const {
        return block_layers(layers_).subspan(i * projection_names.size(), projection_names.size());
    }
    /// Name of layer i without ".weight", for example "model.layers.0.self_attn.q_proj".
    [[nodiscard]] std::string layer_name(std::size_t i) const;
    /// The type in which the file stores layer i.
    [[nodiscard]] nsvd::safetensors::dtype layer_dtype(std::size_t i) const { return layer_dtypes_[i]; }

    [[nodiscard]] std::size_t sites() const { return config_.blocks * sites_per_block; }
    [[nodiscard]] static std::size_t site_index(std::size_t block, site where) {
        return block * sites_per_block + static_cast<std::size_t>(where);
    }
    [[nodiscard]] std::size_t site_index(std::size_t layer) const {
        return site_index(layer / projection_names.size(),
                          input_site(static_cast<projection>(layer % projection_names.size())));
    }
    /// Features of calibration site `i`.
    [[nodiscard]] std::size_t site_features(std::size_t i) const;

    // A window passes a block site by site: `reach` gives the input of the site's linear layers, `leave` adds
    // what they write to the residual stream. `layers` are those of the block.
    [[nodiscard]] window_pass start(std::span<const token> window) const;
    void reach(std::size_t block, site where, block_layers layers, window_pass& pass) const;
    void leave(site where, block_layers layers, window_pass& pass) const;
    /// Takes a window that stands before block `first` through the rest of the model: hidden_size × T.
    [[nodiscard]] Eigen::MatrixXf finish(std::size_t first, window_pass pass,
                                         const observer& observe = {}) const;

    /// Passes a window of tokens, at positions 0, 1, …, through all blocks and the last norm: hidden_size ×
    /// T.
    [[nodiscard]] Eigen::MatrixXf hidden(std::span<const token> window, const observer& observe = {}) const {
        return finish(0, start(window), observe);
    }
    /// The same for the next tokens, equally many for each sequence and one sequence after the other; they
    /// are added to `memory`. Throws nsvd::error where that has no room.
    [[nodiscard]] Eigen::MatrixXf hidden(std::span<const token> next, attention_memory& memory) const;
    /// Logits (vocab_size × T) of hidden states.
    [[nodiscard]] Eigen::MatrixXf logits(const Eigen::Ref<const Eigen::MatrixXf>& hidden) const;
    /// logits(hidden(window)).
    [[nodiscard]] Eigen::MatrixXf forward(std::span<const token> window, const observer& observe = {}) const {
        return logits(hidden(window, observe));
    }

private:
    struct block_norms {
        Eigen::VectorXf attention, feed_forward;
    };

    [[nodiscard]] Eigen::MatrixXf attention(std::size_t block, block_layers layers,
                                            const window_pass& pass) const;
    [[nodiscard]] Eigen::MatrixXf embed(std::span<const token> tokens) const;

    std::filesystem::path folder_;
    config config_;
    nsvd::safetensors::file file_;
    Eigen::MatrixXf embedding_;            // vocab_size × hidden_size
    std::optional<Eigen::MatrixXf> head_;  // the same shape, unless tied
    std::vector<block_norms> norms_;
    Eigen::VectorXf last_norm_;
    std::vector<linear> layers_;
    std::vector<nsvd::safetensors::dtype> layer_dtypes_;
};

}  // namespace llm
