// SPDX-License-Identifier: MIT
#include "model.hpp"

#include <nsvd/error.hpp>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <utility>

namespace llm {
namespace {

namespace safetensors = nsvd::safetensors;

std::filesystem::path weights_path(const std::filesystem::path& folder) {
    if (!std::filesystem::exists(folder / "model.safetensors") &&
        std::filesystem::exists(folder / "model.safetensors.index.json"))
        throw nsvd::error(fmt::format(
            "{}: models in several files are not supported yet: want model.safetensors", folder.string()));
    return folder / "model.safetensors";
}

[[noreturn]] void fail(const safetensors::file& file, const std::string& tensor, const std::string& what) {
    throw nsvd::error(fmt::format("{}: tensor '{}': {}", file.path().string(), tensor, what));
}

/// The tensor in single precision, its values checked.
Eigen::MatrixXf read_finite(const safetensors::file& file, const std::string& name) {
    const auto& tensor = file.at(name);
    if (tensor.dtype != safetensors::dtype::F16 && tensor.dtype != safetensors::dtype::BF16 &&
        tensor.dtype != safetensors::dtype::F32)
        fail(file, name, fmt::format("dtype {}: want F16, BF16 or F32", safetensors::name_of(tensor.dtype)));
    auto matrix = safetensors::to_matrix<float>(tensor);
    if (!matrix.allFinite()) fail(file, name, "has NaN or infinite values");
    return matrix;
}

void check_shape(const safetensors::file& file, const std::string& name,
                 const std::vector<std::int64_t>& wanted) {
    const auto& shape = file.at(name).shape;
    if (shape != wanted)
        fail(file, name, fmt::format("has the shape {}, config.json wants {}", shape, wanted));
}

}  // namespace

model::model(std::filesystem::path folder)
    : folder_(std::move(folder)),
      config_(read_config(folder_ / "config.json")),
      file_(weights_path(folder_)) {
    const auto& c = config_;
    const auto attention_size = c.heads * c.head_dim;
    const auto key_value_size = c.key_value_heads * c.head_dim;
    const std::array<std::pair<std::size_t, std::size_t>, 7> shapes{{{attention_size, c.hidden_size},
                                                                     {key_value_size, c.hidden_size},
                                                                     {key_value_size, c.hidden_size},
                                                                     {c.hidden_size, attention_size},
                                                                     {c.intermediate_size, c.hidden_size},
                                                                     {c.intermediate_size, c.hidden_size},
                                                                     {c.hidden_size, c.intermediate_size}}};
    embedding_ = read("model.embed_tokens.weight", c.vocab_size, c.hidden_size);
    if (!c.tied_embeddings) head_ = read("lm_head.weight", c.vocab_size, c.hidden_size);
    last_norm_ = read("model.norm.weight", c.hidden_size);
    if (const auto next = fmt::format("model.layers.{}.input_layernorm.weight", c.blocks);
        file_.contains(next))
        fail(file_, next, fmt::format("num_hidden_layers is {} in config.json", c.blocks));
    for (std::size_t block = 0; block < c.blocks; ++block) {
        const auto prefix = fmt::format("model.layers.{}.", block);
        norms_.push_back({read(prefix + "input_layernorm.weight", c.hidden_size),
                          read(prefix + "post_attention_layernorm.weight", c.hidden_size)});
        for (const auto& [rows, cols] : shapes) {
            const auto name = layer_name(layers_.size());
            layers_.push_back(read_linear(name, rows, cols));
            const auto stored = layers_.back().dense() ? name + ".weight" : name + ".left.weight";
            layer_dtypes_.push_back(file_.at(stored).dtype);
        }
    }
}

std::string model::layer_name(std::size_t i) const {
    return fmt::format("model.layers.{}.{}", i / projection_names.size(),
                       projection_names[i % projection_names.size()]);
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

Eigen::MatrixXf model::read(const std::string& name, std::size_t rows, std::size_t cols) const {
    check_shape(file_, name, {static_cast<std::int64_t>(rows), static_cast<std::int64_t>(cols)});
    return read_finite(file_, name);
}

Eigen::VectorXf model::read(const std::string& name, std::size_t size) const {
    check_shape(file_, name, {static_cast<std::int64_t>(size)});
    return read_finite(file_, name);
}

linear model::read_linear(const std::string& name, std::size_t rows, std::size_t cols) const {
    if (file_.contains(name + ".bias")) fail(file_, name + ".bias", "biases are not supported yet");
    const auto left = name + ".left.weight";
    if (!file_.contains(left)) return linear(read(name + ".weight", rows, cols));
    if (file_.contains(name + ".weight")) fail(file_, left, "the layer is stored dense as well");
    const auto& shape = file_.at(left).shape;
    const auto rank = shape.size() == 2 ? static_cast<std::size_t>(shape[1]) : 0;
    if (rank == 0) fail(file_, left, "want a matrix of rank 1 or more");
    return linear(nsvd::low_rank<float>{read(left, rows, rank), read(name + ".right.weight", rank, cols)});
}

}  // namespace llm
