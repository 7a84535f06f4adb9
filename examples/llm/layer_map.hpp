// SPDX-License-Identifier: MIT
/// Maps of a model's layers: a row for each block, a column for each kind.
#pragma once

#include "layer_result.hpp"

#include <string>
#include <vector>

namespace llm {

/// The largest figures of a map, so that several maps have one scale.
struct layer_scale {
    double weighted_error = 0;
    double plain_error = 0;

    void cover(const std::vector<layer_result>& layers);
};

/// Kinds in the order of their first layers.
[[nodiscard]] std::vector<std::string> kinds_of(const std::vector<layer_result>& layers);

/// "q" of "self_attn.q_proj", or the kind itself where that would name two of `kinds`.
[[nodiscard]] std::string short_kind(const std::string& kind, const std::vector<std::string>& kinds);

/// Rank as a share of the full one, weighted error and plain error, as one `<div>` of heat maps.
[[nodiscard]] std::string layer_maps(const std::vector<layer_result>& layers, const layer_scale& scale);

/// All figures of all layers, as a table.
[[nodiscard]] std::string layer_table(const std::vector<layer_result>& layers);

}  // namespace llm
