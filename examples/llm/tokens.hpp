// SPDX-License-Identifier: MIT
/// From files to token ids, and from token ids to windows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace llm {

using token = std::uint32_t;

/// The token ids of a text: those in a `.u16`, `.u32` or `.safetensors` file (token_ids.hpp); any other file
/// is text, read by the tokenizer of the model folder (tokenizer.hpp). Throws nsvd::error naming the file for
/// odd sizes, ids that are not below `vocab_size`, and no tokens.
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
