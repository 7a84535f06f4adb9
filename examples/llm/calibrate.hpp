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

/// Windows of tokens, and what each token of a window counts.
struct weighted_windows {
    std::vector<std::vector<token>> windows;
    std::vector<double> weights;

    /// More windows, whose tokens count `weight` all together.
    void add(std::vector<std::vector<token>> more, double weight);
    /// The weight of all tokens.
    [[nodiscard]] double weight() const;
    /// At most `count` windows, spread evenly over the weight.
    [[nodiscard]] std::vector<std::vector<token>> spread(std::size_t count) const;
};

/// The windows drawn from `tokens`, each token with the weight 1; `name` is the text's in errors.
[[nodiscard]] weighted_windows draw_text(std::span<const token> tokens, const sampling& sample,
                                         const std::string& name);

/// Adds what the model knows beside one text: up to 64 windows of at most 256 tokens that it writes itself
/// and as many of random tokens (sample.hpp), each kind with half the weight that was there before.
void add_own_text(weighted_windows& all, const model& m, std::uint64_t seed, unsigned threads, progress& bar);

/// Runs the windows through the model; result by model::site_index. Every calibration takes the windows in
/// their order, so it doesn't depend on `threads` (0: one a processor).
[[nodiscard]] std::vector<nsvd::calibration<float>> gather(const model& m, const weighted_windows& windows,
                                                           nsvd::moments about, unsigned threads,
                                                           progress& bar);

/// The same for the windows drawn from `tokens`.
[[nodiscard]] std::vector<nsvd::calibration<float>> gather(const model& m, std::span<const token> tokens,
                                                           const sampling& sample, const std::string& name,
                                                           unsigned threads, progress& bar);

}  // namespace llm
