// SPDX-License-Identifier: MIT
/// What became of the linear layers of a model, as reports have it.
#pragma once

#include "json_reader.hpp"
#include "sampled_spectrum.hpp"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <string>

namespace llm {

/// A linear layer (m×n), or several that are one now.
struct layer_result {
    std::string name;  ///< "model.layers.0.self_attn.q_proj"
    std::int64_t block = 0;
    std::string kind;  ///< within the block: "self_attn.q_proj"
    std::int64_t m = 0, n = 0;
    std::int64_t rank = 0, full_rank = 0;
    std::int64_t parameters = 0;
    std::int64_t bytes = 0, dense_bytes = 0;
    double weighted_error = 0, plain_error = 0;
    double seconds = 0;
    std::string status{};  ///< "dense" where it was left as it was
    /// Squared singular values of W in the metric of the first stage; empty where none were found.
    sampled_spectrum spectrum{};

    [[nodiscard]] bool dense() const { return status == "dense"; }
};

/// Figures that aren't finite are null.
[[nodiscard]] nlohmann::ordered_json to_json(const layer_result& layer);

/// Throws nsvd::error naming the key for what is missing, of another type, or makes no sense.
[[nodiscard]] layer_result read_layer_result(const json_reader& from);

}  // namespace llm
