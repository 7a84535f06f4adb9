// SPDX-License-Identifier: MIT
#include "tokens.hpp"

#include "files.hpp"
#include "token_ids.hpp"
#include "tokenizer.hpp"

#include <nsvd/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <random>
#include <utility>

namespace llm {
namespace {

void check_ids(const std::vector<token>& ids, const std::string& name, std::size_t vocab_size) {
    if (ids.empty()) throw nsvd::error(name + ": is empty: give a text");
    const auto outside = std::find_if(ids.begin(), ids.end(), [&](token id) { return id >= vocab_size; });
    if (outside != ids.end())
        throw nsvd::error(
            fmt::format("{}: token {} has the id {}, the model's vocabulary ends at {}: the "
                        "tokenizer is of another model",
                        name, outside - ids.begin(), *outside, vocab_size - 1));
}

}  // namespace

std::vector<token> read_tokens(const std::filesystem::path& path, const std::filesystem::path& model_folder,
                               std::size_t vocab_size) {
    auto given = read_token_ids(path, vocab_size);
    auto ids = given ? std::move(*given) : find_tokenizer(model_folder)->encode(read_file(path));
    check_ids(ids, path.string(), vocab_size);
    return ids;
}

std::vector<token> encode(const std::string& text, const std::string& name,
                          const std::filesystem::path& model_folder, std::size_t vocab_size) {
    auto ids = find_tokenizer(model_folder)->encode(text);
    check_ids(ids, name, vocab_size);
    return ids;
}

std::vector<std::span<const token>> windows(std::span<const token> tokens, std::size_t context,
                                            const std::string& name) {
    if (tokens.size() < context)
        throw nsvd::error(
            fmt::format("{}: {} tokens are less than one window of {}: give a longer text or a "
                        "smaller --context",
                        name, tokens.size(), context));
    std::vector<std::span<const token>> result;
    for (; tokens.size() >= context; tokens = tokens.subspan(context))
        result.push_back(tokens.first(context));
    return result;
}

std::vector<std::size_t> draw_windows(std::size_t available, std::size_t at_most, std::uint64_t seed) {
    std::vector<std::size_t> indices(available);
    std::iota(indices.begin(), indices.end(), std::size_t{0});
    const auto count = std::min(available, at_most);
    // The first `count` steps of a Fisher–Yates shuffle. std::uniform_int_distribution differs between
    // standard libraries; the bias of the remainder is below available / 2^64.
    std::mt19937_64 random(seed);
    for (std::size_t i = 0; i < count; ++i)
        std::swap(indices[i], indices[i + random() % (available - i)]);
    indices.resize(count);
    std::sort(indices.begin(), indices.end());
    return indices;
}

}  // namespace llm
