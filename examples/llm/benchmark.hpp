// SPDX-License-Identifier: MIT
/// A model against its compressed self: speed and memory, measured in one run.
#pragma once

#include "model.hpp"
#include "progress.hpp"

#include <nlohmann/json.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace llm {

struct benchmark_options {
    std::size_t prompt_tokens = 128, tokens = 32, repetitions = 5;
    std::uint64_t seed = 0;      ///< of the prompt
    bool latent_memory = false;  ///< of the compressed model
    unsigned threads = 0;        ///< 0: one a processor
};

struct model_figures {
    double prefill = 0, decode = 0;  ///< tokens a second, from medians of times; decode is a token at a time
    std::int64_t weight_bytes = 0;
    std::int64_t bytes_per_token = 0;  ///< that decode reads: weights, and half of what it adds to the cache
    std::int64_t cache_bytes = 0;      ///< of prompt and tokens
    double bandwidth_share = 0;        ///< bytes_per_token · decode over the bandwidth of memory
};

struct benchmark_result {
    model_figures dense, compressed;
    double prefill_ratio = 0, decode_ratio = 0;  ///< of speeds, medians of those measured in turn
    double bandwidth = 0;                        ///< bytes a second, median
    std::int64_t peak_memory_bytes = 0;          ///< of the whole program
    std::vector<double> decode_ratios;           ///< medians of each repetition
};

/// In every repetition both models pass a random prompt, and then make tokens in turns, one the one and one
/// the other: what else the machine does meanwhile slows both. For models that a cache holds that is no good
/// measure. Throws nsvd::error for vocabularies of different sizes and for more tokens than
/// max_position_embeddings.
[[nodiscard]] benchmark_result benchmark(const model& dense, const model& compressed,
                                         const benchmark_options& options, progress& bar);

/// Progress steps of a benchmark.
[[nodiscard]] std::size_t steps_of(const benchmark_options& options);

[[nodiscard]] nlohmann::ordered_json to_json(const benchmark_result& result);
[[nodiscard]] std::string print_table(const benchmark_result& result);

}  // namespace llm
