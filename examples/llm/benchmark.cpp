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
#include <functional>
#include <optional>
#include <random>
#include <span>
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
class contestant {
public:
    contestant(const model& m, bool latent_memory) : model_(m), latent_memory_(latent_memory) {}

    void read(std::span<const token> prompt, std::size_t tokens, progress& bar) {
        memory_.emplace(model_, 1, prompt.size() + tokens, latent_memory_);
        const stopwatch watch;
        next_ = likeliest(read_text(model_, prompt, *memory_, bar));
        prefill.push_back(watch.seconds() / static_cast<double>(prompt.size()));
    }

    /// One more token.
    void step() {
        const stopwatch watch;
        next_ = likeliest(model_.logits(model_.hidden({&next_, 1}, *memory_)));
        decode.push_back(watch.seconds());
    }

    [[nodiscard]] model_figures figures(const benchmark_options& options, double bandwidth) const {
        model_figures f{.prefill = 1 / median(prefill),
                        .decode = 1 / median(decode),
                        .weight_bytes = llm::weight_bytes(model_),
                        .cache_bytes = memory_->bytes()};
        const auto prompt = static_cast<double>(options.prompt_tokens);
        const auto tokens = static_cast<double>(options.tokens);
        const double filled = (prompt + tokens / 2) / (prompt + tokens);
        f.bytes_per_token = weight_bytes_per_token(model_) +
                            static_cast<std::int64_t>(filled * static_cast<double>(f.cache_bytes));
        f.bandwidth_share = static_cast<double>(f.bytes_per_token) * f.decode / bandwidth;
        return f;
    }

    std::vector<double> prefill, decode;  // seconds a token

private:
    static token likeliest(const Eigen::VectorXf& logits) {
        std::mt19937_64 unused;
        return draw(logits, 0, unused);
    }

    const model& model_;
    bool latent_memory_;
    std::optional<attention_memory> memory_;
    token next_ = 0;
};

std::vector<double> quotients(std::span<const double> a, std::span<const double> b) {
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
    std::array<contestant, 2> both{contestant(dense, false), contestant(compressed, options.latent_memory)};
    std::vector<double> bandwidths;
    const bandwidth_meter meter(options.threads);
    benchmark_result result;
    for (std::size_t i = 0; i < options.repetitions; ++i) {
        bandwidths.push_back(meter.measure());
        for (const std::size_t turn : {i % 2, 1 - i % 2})
            both[turn].read(prompt, options.tokens, bar);
        for (std::size_t t = 0; t < options.tokens; ++t) {
            for (const std::size_t turn : {t % 2, 1 - t % 2}) {
                both[turn].step();
                bar.step();
            }
        }
        bandwidths.push_back(meter.measure());
        const auto of_this = [&](const contestant& c) { return std::span(c.decode).last(options.tokens); };
        result.decode_ratios.push_back(median(quotients(of_this(both[0]), of_this(both[1]))));
    }
    result.bandwidth = median(bandwidths);
    result.dense = both[0].figures(options, result.bandwidth);
    result.compressed = both[1].figures(options, result.bandwidth);
    result.decode_ratio = median(quotients(both[0].decode, both[1].decode));
    result.prefill_ratio = median(quotients(both[0].prefill, both[1].prefill));
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
