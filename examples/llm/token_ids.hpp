// SPDX-License-Identifier: MIT
/// Files of token ids, for texts that another program's tokenizer has read.
#pragma once

#include "tokens.hpp"

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace llm {

/// The ids in a file, by its ending: `.u16` and `.u32` are raw little-endian numbers; `.safetensors` has a
/// tensor `input_ids` of any integer type with one dimension, or two (windows × tokens, read row after row:
/// there may be no padding). Nothing for any other ending.
/// Throws nsvd::error naming the file for odd sizes, other tensors, and ids outside of 0 … vocab_size − 1.
[[nodiscard]] std::optional<std::vector<token>> read_token_ids(const std::filesystem::path& path,
                                                               std::size_t vocab_size);

/// For errors: what to do about a tokenizer that the program lacks, with a line of Python.
[[nodiscard]] std::string how_to_make_ids(const std::string& model_folder);

}  // namespace llm
