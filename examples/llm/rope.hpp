// SPDX-License-Identifier: MIT
/// Rotary positions, and the ways to stretch them over longer texts than a model was trained on.
#pragma once

#include "config_reader.hpp"

#include <Eigen/Core>

#include <cstddef>

namespace llm {

/// Pair i < d/2 of a head of d features turns by position·f_i, f_i = theta^(−2i/d), changed as Hugging Face's
/// transformers do (`rope_type`):
/// - linear: f_i / factor.
/// - dynamic: theta·(factor·L/max − (factor − 1))^(d/(d − 2)) for theta, L = max(tokens, max) with the
///   longest text `max` of training.
/// - llama3 (λ_i = 2π/f_i): f_i where λ_i < original/high, f_i / factor where λ_i > original/low, between
/// them
///   (1 − s)·f_i/factor + s·f_i with s = (original/λ_i − low)/(high − low).
/// - yarn (2309.00071): (1 − r_i)·f_i + r_i·f_i/factor with r_i rising from 0 to 1 between the pairs that
/// turn
///   beta_fast and beta_slow times over the `original` length; cos and sin times an attention factor.
struct rope {
    enum class scaling { none, linear, dynamic, llama3, yarn };

    scaling how = scaling::none;
    double theta = 10000, factor = 1;
    double max_length = 0;       ///< of dynamic: max_position_embeddings
    double original_length = 0;  ///< of llama3 and yarn
    double low_frequency = 1, high_frequency = 4;
    double beta_fast = 32, beta_slow = 1;
    bool whole_pairs = true;  ///< yarn: r_i starts and ends at whole i
    double attention_factor = 1;

    bool operator==(const rope&) const = default;

    /// f_i for a text of `tokens` in all.
    [[nodiscard]] Eigen::VectorXd frequencies(Eigen::Index dim, Eigen::Index tokens) const;
    /// cos (first half of the rows) and sin (second half), times the attention factor, for `count` positions
    /// from `first` on in a text of `tokens`: dim × count.
    [[nodiscard]] Eigen::MatrixXf table(Eigen::Index dim, Eigen::Index first, Eigen::Index count,
                                        Eigen::Index tokens) const;
};

/// From `rope_theta` and `rope_scaling`, or `rope_parameters` as newer transformers write them. Throws
/// nsvd::error naming file and key: unknown types, missing numbers, contradictions, blocks that differ.
[[nodiscard]] rope read_rope(const config_reader& json, std::size_t head_dim, std::size_t max_positions);

/// Turns the heads of every column in place, in Hugging Face's convention: row i of a head is paired with
/// row i + d/2.
void rotate(Eigen::MatrixXf& x, const Eigen::MatrixXf& table);

}  // namespace llm
