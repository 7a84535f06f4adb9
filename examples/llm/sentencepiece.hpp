// SPDX-License-Identifier: MIT
/// SentencePiece models, read by its library: what LLaMA 1 and 2, Vicuna and Mistral have.
#pragma once

#include "tokenizer.hpp"

#include <filesystem>
#include <memory>

namespace llm {

/// Reads a `tokenizer.model`. Like every tokenizer here it puts no begin-of-text in front, whatever
/// `tokenizer_config.json` says of `add_bos_token`. Throws nsvd::error naming the file if it is no such
/// model, and always if the program is built without the library (NSVD_LLM_SENTENCEPIECE, with_ and
/// without_sentencepiece.cpp).
[[nodiscard]] std::unique_ptr<tokenizer> load_sentencepiece(const std::filesystem::path& path);

}  // namespace llm
