// SPDX-License-Identifier: MIT
/// Text of the model's own: windows of tokens that need no text at all.
#pragma once

#include "model.hpp"
#include "processes.hpp"
#include "progress.hpp"

#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

namespace llm {

/// The next token: drawn from softmax(logits / temperature), the likeliest one (the first of equals) at
/// temperature 0; the same on every machine but for rounding.
[[nodiscard]] token draw(const Eigen::Ref<const Eigen::VectorXf>& logits, double temperature,
                         std::mt19937_64& random);

/// `count` windows of `length` tokens, each drawn uniformly from the vocabulary, with `seed`.
[[nodiscard]] std::vector<std::vector<token>> uniform_windows(const model& m, std::size_t count,
                                                              std::size_t length, std::uint64_t seed);

/// `count` windows of `length` tokens that the model writes itself: the first token is drawn uniformly from
/// the vocabulary, every other from softmax(logits / temperature) (self-calibration, 2410.17170). The result
/// does not depend on `threads` (0: one a processor), nor on how many processes write it. One progress step
/// a window that this one writes.
[[nodiscard]] std::vector<std::vector<token>> self_written_windows(const model& m, std::size_t count,
                                                                   std::size_t length, double temperature,
                                                                   std::uint64_t seed, unsigned threads,
                                                                   progress& bar,
                                                                   const processes& world = {});

}  // namespace llm
