// SPDX-License-Identifier: MIT
/// The statistics of every linear layer's inputs, gathered in one pass.
#pragma once

#include "model.hpp"
#include "progress.hpp"

#include <nsvd/calibration.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace llm {

/// Which windows a calibration sees: at most `windows` of `context` tokens, drawn with `seed`.
struct sampling {
    std::size_t context = 0;
    std::size_t windows = 256;
    std::uint64_t seed = 0;
};

/// Runs the windows drawn from `tokens` through the model; result by model::site_index. Every calibration
/// takes the windows in their order in the text, so it doesn't depend on `threads` (0: one a processor).
[[nodiscard]] std::vector<nsvd::calibration<float>> gather(const model& m, std::span<const token> tokens,
                                                           const sampling& sample, const std::string& name,
                                                           unsigned threads, progress& bar);

}  // namespace llm
