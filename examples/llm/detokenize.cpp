// SPDX-License-Identifier: MIT
#include "detokenize.hpp"

#include <nsvd/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <string_view>

namespace llm {
namespace {

/// Bytes of `text` up to the end of its last whole character; what is not UTF-8 counts as whole.
std::size_t whole_characters(std::string_view text) {
    for (std::size_t back = 1; back <= std::min<std::size_t>(3, text.size()); ++back) {
        const auto byte = static_cast<unsigned char>(text[text.size() - back]);
        if ((byte & 0xC0U) == 0x80U) continue;
        const std::size_t length = byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : byte >= 0xC0 ? 2 : 1;
        return length > back ? text.size() - back : text.size();
    }
    return text.size();
}

}  // namespace

detokenizer::detokenizer(const tokenizer* words, std::span<const token> before)
    : words_(words), ids_(before.begin(), before.end()) {
    if (before.empty() || words == nullptr) return;
    text_ = words_->decode(ids_);
    said_ = text_.size();
}

std::string detokenizer::add(token id) {
    ids_.push_back(id);
    try {
        if (words_ == nullptr) throw nsvd::error("no tokenizer");
        text_ = words_->decode(ids_);
    } catch (const nsvd::error&) {
        const auto text = rest() + fmt::format("<{}>", id);
        ids_.clear();
        text_.clear();
        said_ = 0;
        return text;
    }
    const auto whole = std::max(said_, whole_characters(text_));
    auto text = text_.substr(std::min(said_, text_.size()), whole - said_);
    said_ = whole;
    return text;
}

}  // namespace llm
