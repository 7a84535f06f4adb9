// SPDX-License-Identifier: MIT
#include "generate.hpp"

#include "sample.hpp"
#include "stopwatch.hpp"

#include <nsvd/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <random>

namespace llm {
namespace {

constexpr std::size_t piece = 256;  // tokens: enough for products to run at full speed

}  // namespace

std::size_t pieces_of(std::size_t tokens) {
    return (tokens + piece - 1) / piece;
}

Eigen::VectorXf read_text(const model& m, std::span<const token> text, attention_memory& memory,
                          progress& bar) {
    Eigen::VectorXf last;
    while (!text.empty()) {
        const auto next = text.first(std::min(piece, text.size()));
        last = m.hidden(next, memory).rightCols<1>();
        text = text.subspan(next.size());
        bar.step();
    }
    return m.logits(last);
}

generation generate(const model& m, std::span<const token> prompt, const generation_options& options,
                    const std::function<void(token)>& made, progress& prompt_bar, progress& bar) {
    const auto limit = m.shape().max_position_embeddings;
    if (prompt.empty()) throw nsvd::error("the prompt has no tokens: want one at least");
    if (!(options.temperature >= 0 && std::isfinite(options.temperature)))
        throw nsvd::error(fmt::format("--temperature is {}: want a number, 0 or more", options.temperature));
    if (prompt.size() > limit || options.tokens > limit - prompt.size())
        throw nsvd::error(fmt::format(
            "{}: a prompt of {} tokens and {} more are beyond max_position_embeddings, which is {}",
            (m.folder() / "config.json").string(), prompt.size(), options.tokens, limit));
    const auto capacity = prompt.size() + options.tokens;
    attention_memory memory(m, 1, capacity, options.latent_memory);
    generation result;
    result.cache_bytes = memory.bytes();
    result.feature_cache_bytes = feature_bytes(m.shape(), capacity);
    stopwatch watch;
    Eigen::VectorXf logits = read_text(m, prompt, memory, prompt_bar);
    result.prompt_seconds = watch.seconds();
    std::mt19937_64 random(options.seed);
    watch = {};
    while (result.ids.size() < options.tokens) {
        const auto id = draw(logits, options.temperature, random);
        result.ids.push_back(id);
        made(id);
        bar.step();
        if (result.ids.size() < options.tokens) logits = m.logits(m.hidden({&id, 1}, memory));
    }
    result.seconds = watch.seconds();
    return result;
}

}  // namespace llm
