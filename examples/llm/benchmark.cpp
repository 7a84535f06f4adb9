// SPDX-License-Identifier: MIT
#include "benchmark.hpp"

#include "bandwidth.hpp"
#include "cells.hpp"
#include "generate.hpp"
#include "model_size.hpp"
#include "sample.hpp"
#include "stopwatch.hpp"
#include "threads.hpp"

#include <nsvd/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <sys/resource.h>

namespace llm {
namespace {

double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    const auto middle = values.size() / 2;
    return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

/// One of the two models and what was measured of it.
struct contestant {
    const llm::model& model;
    bool latent_memory;
    std::vector<double> prefill = {}, decode = {};  // tokens a second
    std::int64_t cache_bytes = 0;

    void run(std::span<const token> prompt, std::size_t tokens, progress& bar) {
        attention_memory memory(model, 1, prompt.size() + tokens, latent_memory);
        cache_bytes = memory.bytes();
        std::mt19937_64 unused;
        stopwatch watch;
        token id = draw(read_text(model, prompt, memory, bar), 0, unused);
        prefill.push_back(static_cast<double>(prompt.size()) / watch.seconds());
        watch = {};
        for (std::size_t i = 0; i < tokens; ++i) {
            id = draw(model.logits(model.hidden({&id, 1}, memory)), 0, unused);
            bar.step();
        }
        decode.push_back(static_cast<double>(tokens) / watch.seconds());
    }

    [[nodiscard]] model_figures figures(const benchmark_options& options, double bandwidth) const {
        model_figures f{.prefill = median(prefill),
                        .decode = median(decode),
                        .weight_bytes = llm::weight_bytes(model),
                        .cache_bytes = cache_bytes};
        const auto capacity = static_cast<double>(options.prompt_tokens + options.tokens);
        const double filled =
            (static_cast<double>(options.prompt_tokens) + static_cast<double>(options.tokens) / 2) / capacity;
        f.bytes_per_token = weight_bytes_per_token(model) +
                            static_cast<std::int64_t>(filled * static_cast<double>(cache_bytes));
        f.bandwidth_share = static_cast<double>(f.bytes_per_token) * f.decode / bandwidth;
        return f;
    }
};

std::vector<double> quotients(const std::vector<double>& a, const std::vector<double>& b) {
    std::vector<double> q(a.size());
    std::transform(a.begin(), a.end(), b.begin(), q.begin(), std::divides<>());
    return q;
}

void check(const model& m, const benchmark_options& options) {
    const auto limit = m.shape().max_position_embeddings;
    if (options.prompt_tokens + options.tokens > limit)
        throw nsvd::error(fmt::format("--prompt-tokens {} and --tokens {}: max_position_embeddings is {}",
                                      options.prompt_tokens, options.tokens, limit));
}

/// Most that the program has held in memory.
std::int64_t peak_memory() {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return std::int64_t{usage.ru_maxrss} * 1024;
}

nlohmann::ordered_json to_json(const model_figures& f) {
    return {{"decode_tokens_per_second", f.decode}, {"prefill_tokens_per_second", f.prefill},
            {"weight_bytes", f.weight_bytes},       {"bytes_per_token", f.bytes_per_token},
            {"cache_bytes", f.cache_bytes},         {"bandwidth_share", f.bandwidth_share}};
}

}  // namespace

std::size_t steps_of(const benchmark_options& options) {
    return 2 * options.repetitions * (pieces_of(options.prompt_tokens) + options.tokens);
}

benchmark_result benchmark(const model& dense, const model& compressed, const benchmark_options& options,
                           progress& bar) {
    check(dense, options);
    check(compressed, options);
    if (dense.shape().vocab_size != compressed.shape().vocab_size)
        throw nsvd::error(fmt::format("{} has a vocabulary of {} tokens, {} one of {}",
                                      dense.folder().string(), dense.shape().vocab_size,
                                      compressed.folder().string(), compressed.shape().vocab_size));
    const blas_threads guard(options.threads);
    const auto prompt = uniform_windows(dense, 1, options.prompt_tokens, options.seed).front();
    std::array<contestant, 2> both{{{dense, false}, {compressed, options.latent_memory}}};
    std::vector<double> bandwidths;
    const bandwidth_meter meter(options.threads);
    for (std::size_t i = 0; i < options.repetitions; ++i) {
        bandwidths.push_back(meter.measure());
        for (const std::size_t turn : {i % 2, 1 - i % 2})
            both[turn].run(prompt, options.tokens, bar);
    }
    benchmark_result result;
    result.bandwidth = median(bandwidths);
    result.dense = both[0].figures(options, result.bandwidth);
    result.compressed = both[1].figures(options, result.bandwidth);
    result.decode_ratios = quotients(both[1].decode, both[0].decode);
    result.decode_ratio = median(result.decode_ratios);
    result.prefill_ratio = median(quotients(both[1].prefill, both[0].prefill));
    result.peak_memory_bytes = peak_memory();
    return result;
}

nlohmann::ordered_json to_json(const benchmark_result& r) {
    return {{"dense", to_json(r.dense)},
            {"compressed", to_json(r.compressed)},
            {"decode_ratio", r.decode_ratio},
            {"decode_ratios", r.decode_ratios},
            {"prefill_ratio", r.prefill_ratio},
            {"bandwidth_bytes_per_second", r.bandwidth},
            {"peak_memory_bytes", r.peak_memory_bytes}};
}

std::string print_table(const benchmark_result& r) {
    std::string out;
    const auto line = [&](std::string_view name, std::string_view dense, std::string_view compressed,
                          const std::string& ratio) {
        out += fmt::format("{:<28}{:>12}{:>12}{:>8}\n", name, dense, compressed, ratio);
    };
    const auto speeds = [&](std::string_view name, double dense, double compressed, double ratio) {
        line(name, fmt::format("{:.4g}", dense), fmt::format("{:.4g}", compressed),
             fmt::format("{:.2f}", ratio));
    };
    const auto bytes = [&](std::string_view name, std::int64_t dense, std::int64_t compressed) {
        line(name, bytes_text(dense), bytes_text(compressed),
             fmt::format("{:.2f}", static_cast<double>(compressed) / static_cast<double>(dense)));
    };
    line("", "dense", "compressed", "ratio");
    speeds("decode, tokens/s", r.dense.decode, r.compressed.decode, r.decode_ratio);
    speeds("prefill, tokens/s", r.dense.prefill, r.compressed.prefill, r.prefill_ratio);
    bytes("weights", r.dense.weight_bytes, r.compressed.weight_bytes);
    bytes("read for a token", r.dense.bytes_per_token, r.compressed.bytes_per_token);
    bytes("KV cache", r.dense.cache_bytes, r.compressed.cache_bytes);
    line("of the memory's bandwidth", fmt::format("{:.0f} %", 100 * r.dense.bandwidth_share),
         fmt::format("{:.0f} %", 100 * r.compressed.bandwidth_share), "");
    return out;
}

}  // namespace llm
