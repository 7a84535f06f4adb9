// SPDX-License-Identifier: MIT
/// From files to token ids, and from token ids to windows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace llm {

using token = std::uint32_t;

/// SentencePiece byte-pair encoding read from `vocabulary.json`: {"pieces": [[piece, score], ...]} by token
/// id. Pieces <0x00> … <0xFF> are the raw bytes of characters that are no piece.
class vocabulary {
public:
    /// Throws nsvd::error naming the file for anything but the above.
    explicit vocabulary(const std::filesystem::path& path);

    /// Ids of " " + text: starts from its UTF-8 characters and merges the adjacent pair of the best score,
    /// the leftmost among equals, until no pair is a piece. O(n log n). Throws nsvd::error for a byte without
    /// piece.
    [[nodiscard]] std::vector<token> encode(std::string_view text) const;

private:
    [[nodiscard]] std::vector<token> characters(std::string_view text) const;
    [[nodiscard]] std::optional<token> merged(token left, token right) const;

    std::filesystem::path path_;
    std::unordered_map<std::string, token> ids_;
    std::unordered_map<std::uint64_t, token> merges_;
    std::vector<double> scores_;
    std::vector<std::optional<token>> bytes_ = std::vector<std::optional<token>>(256);
};

/// Reads token ids: raw little-endian ids from a `.u16` or `.u32` file; any other file is text, encoded with
/// `vocabulary.json` of the model folder where there is one, else a token a byte.
/// Throws nsvd::error naming the file for odd sizes and for ids that are not below `vocab_size`.
[[nodiscard]] std::vector<token> read_tokens(const std::filesystem::path& path,
                                             const std::filesystem::path& model_folder,
                                             std::size_t vocab_size);

/// Ids of text that is in no file, by the same rules; `name` stands for it in errors.
[[nodiscard]] std::vector<token> encode(const std::string& text, const std::string& name,
                                        const std::filesystem::path& model_folder, std::size_t vocab_size);

/// The non-overlapping windows of `context` tokens; a shorter tail is dropped. Throws nsvd::error, with the
/// name, for fewer tokens than one window.
[[nodiscard]] std::vector<std::span<const token>> windows(std::span<const token> tokens, std::size_t context,
                                                          const std::string& name);

/// At most `at_most` of 0 … available−1 drawn without replacement, in ascending order; the same on every
/// machine.
[[nodiscard]] std::vector<std::size_t> draw_windows(std::size_t available, std::size_t at_most,
                                                    std::uint64_t seed);

}  // namespace llm
