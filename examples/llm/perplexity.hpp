// SPDX-License-Identifier: MIT
/// Perplexity of a model on a text.
#pragma once

#include "model.hpp"
#include "processes.hpp"
#include "progress.hpp"

#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace llm {

struct evaluation {
    double nll = 0;          // mean over all predictions, in nats
    double perplexity = 0;   // exp(nll)
    std::size_t tokens = 0;  // read, the dropped tail included
    std::size_t windows = 0;
    std::size_t predictions = 0;     // windows · (context − 1)
    std::vector<double> window_nll;  // mean over the predictions of each window
};

/// Means over the predictions of tokens 1 … N−1 of a window, in nats.
struct prediction_change {
    double divergence = 0;  ///< Kullback–Leibler, from the predictions of `before` to those of `after`
    double nll = 0;         ///< negative log likelihood of the window under `after`
};

/// Compares what two hidden states (hidden_size × N, after the last norm) of a window predict.
[[nodiscard]] prediction_change compare_predictions(const model& m, std::span<const token> window,
                                                    const Eigen::MatrixXf& before,
                                                    const Eigen::MatrixXf& after);

/// Mean negative log likelihood of tokens 1 … N−1 of a window, each given those before it.
[[nodiscard]] double window_nll(const model& m, std::span<const token> window);

/// Progress steps of `evaluate` for so many tokens: one a window and block, and one a window at the end.
[[nodiscard]] std::size_t evaluation_steps(const model& m, std::size_t tokens, std::size_t context);

/// Evaluates non-overlapping windows of `context` ≥ 2 tokens, a shorter tail dropped; `name` is the text's in
/// errors. The result does not depend on `threads` (0: one a processor), nor on how many processes share the
/// windows. A block that stays in a file is read once for several windows. Progress: `evaluation_steps`, of
/// all processes.
[[nodiscard]] evaluation evaluate(const model& m, std::span<const token> tokens, std::size_t context,
                                  const std::string& name, unsigned threads, progress& bar,
                                  const processes& world = {});

}  // namespace llm
