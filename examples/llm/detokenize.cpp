// SPDX-License-Identifier: MIT
#include "detokenize.hpp"

#include "files.hpp"

#include <nsvd/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <string_view>

namespace llm {
namespace {

constexpr std::string_view space_mark = "\u2581";

/// What a piece of SentencePiece stands for.
std::string text_of(std::string_view piece) {
    constexpr std::string_view digits = "0123456789ABCDEF";
    if (piece.size() == 6 && piece.starts_with("<0x") && piece[5] == '>') {
        const auto high = digits.find(piece[3]), low = digits.find(piece[4]);
        if (high != digits.npos && low != digits.npos)
            return {static_cast<char>(static_cast<unsigned char>(16 * high + low))};
    }
    std::string text;
    for (std::size_t at = 0; at < piece.size();) {
        const bool space = piece.substr(at).starts_with(space_mark);
        text += space ? ' ' : piece[at];
        at += space ? space_mark.size() : 1;
    }
    return text;
}

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

detokenizer::detokenizer(const std::filesystem::path& model_folder) {
    const auto path = model_folder / "vocabulary.json";
    if (std::filesystem::exists(path)) {
        const auto json = read_json(path);
        const auto list = json.find("pieces");
        if (list == json.end() || !list->is_array())
            throw nsvd::error(path.string() + ": key 'pieces' is not an array");
        for (const auto& entry : *list) {
            if (!entry.is_array() || entry.empty() || !entry[0].is_string())
                throw nsvd::error(
                    fmt::format("{}: piece {} is not [piece, score]", path.string(), pieces_.size()));
            pieces_.push_back(text_of(entry[0].get_ref<const std::string&>()));
        }
    } else if (!std::filesystem::exists(model_folder / "tokenizer.json") &&
               !std::filesystem::exists(model_folder / "tokenizer.model")) {
        for (unsigned byte = 0; byte < 256; ++byte)
            pieces_.emplace_back(1, static_cast<char>(byte));
    }
}

std::string detokenizer::bytes_of(token id) const {
    return id < pieces_.size() ? pieces_[id] : fmt::format("<{}>", id);
}

std::string detokenizer::add(token id) {
    pending_ += bytes_of(id);
    const auto whole = whole_characters(pending_);
    std::string text = pending_.substr(0, whole);
    pending_.erase(0, whole);
    return text;
}

}  // namespace llm
