// SPDX-License-Identifier: MIT
/// Byte-pair encoding as SentencePiece does it, from a JSON file.
#pragma once

#include "tokenizer.hpp"

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace llm {

/// SentencePiece byte-pair encoding read from `vocabulary.json`: {"pieces": [[piece, score], ...]} by token
/// id. Pieces <0x00> … <0xFF> are the raw bytes of characters that are no piece; <unk>, <s> and </s>, which
/// newlines may surround, stand for no text.
class vocabulary final : public tokenizer {
public:
    /// Throws nsvd::error naming the file for anything but the above.
    explicit vocabulary(const std::filesystem::path& path);

    /// Ids of " " + text: starts from its UTF-8 characters and merges the adjacent pair of the best score,
    /// the leftmost among equals, until no pair is a piece. O(n log n). Throws nsvd::error for a byte without
    /// piece.
    [[nodiscard]] std::vector<token> encode(std::string_view text) const override;

    /// The pieces one after the other, without the space that `encode` puts in front.
    [[nodiscard]] std::string decode(std::span<const token> ids) const override;

private:
    [[nodiscard]] std::vector<token> characters(std::string_view text) const;
    [[nodiscard]] std::optional<token> merged(token left, token right) const;

    std::filesystem::path path_;
    std::vector<std::string> texts_;  // of the ids
    std::vector<double> scores_;
    std::unordered_map<std::string, token> ids_;
    std::unordered_map<std::uint64_t, token> merges_;
    std::vector<std::optional<token>> bytes_ = std::vector<std::optional<token>>(256);
};

}  // namespace llm
