// SPDX-License-Identifier: MIT
/// The statistics of every linear layer's inputs, gathered in one pass.
#pragma once

#include "model.hpp"
#include "processes.hpp"
#include "progress.hpp"
#include "stream.hpp"
#include "windows.hpp"

#include <nsvd/calibration.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace llm {

/// Adds what the model knows beside one text: up to 64 windows of at most 256 tokens that it writes itself
/// and as many of random tokens (sample.hpp), each kind with half the weight that was there before.
/// The windows are kept in the journal.
void add_own_text(weighted_windows& all, const model& m, std::uint64_t seed, unsigned threads,
                  const journal& kept, progress& bar, const processes& world = {});

/// Adds the input of a site that a window has reached, each column as often as it counts there times
/// `weight`; nothing where there are none.
void add_input(nsvd::calibration<float>& inputs, const site& where, const window_pass& pass, double weight);

/// Takes the stream through its block, whose linear layers are `own`: the calibrations of the block's sites.
/// Every one takes the windows in their order, so it doesn't depend on `threads` (0: one a processor). A step
/// of progress a window.
[[nodiscard]] std::vector<nsvd::calibration<float>> gather_block(const model& m, block_layers own,
                                                                 text_stream& stream, nsvd::moments about,
                                                                 unsigned threads, progress& bar);

/// Runs the windows through the model; result by model::site_index.
[[nodiscard]] std::vector<nsvd::calibration<float>> gather(const model& m, const weighted_windows& windows,
                                                           nsvd::moments about, unsigned threads,
                                                           progress& bar);

/// The same for the windows drawn from `tokens`.
[[nodiscard]] std::vector<nsvd::calibration<float>> gather(const model& m, std::span<const token> tokens,
                                                           const sampling& sample, const std::string& name,
                                                           unsigned threads, progress& bar);

}  // namespace llm
