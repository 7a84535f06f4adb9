// SPDX-License-Identifier: MIT
/// From text to token ids and back, the way a model wants it.
#pragma once

#include "tokens.hpp"

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace llm {

class tokenizer {
public:
    tokenizer() = default;
    tokenizer(const tokenizer&) = delete;
    tokenizer& operator=(const tokenizer&) = delete;
    virtual ~tokenizer() = default;

    /// Ids of the text alone, no begin-of-text in front. Throws nsvd::error for text that has none.
    [[nodiscard]] virtual std::vector<token> encode(std::string_view text) const = 0;

    /// The text of the ids; ids that stand for no text (begin and end of text) give none. It is UTF-8 only if
    /// the ids are those of whole characters. Throws nsvd::error for ids that there are not.
    [[nodiscard]] virtual std::string decode(std::span<const token> ids) const = 0;
};

/// A token a byte, whose id is its value.
class byte_tokenizer final : public tokenizer {
public:
    [[nodiscard]] std::vector<token> encode(std::string_view text) const override;
    [[nodiscard]] std::string decode(std::span<const token> ids) const override;
};

/// The tokenizer of a model folder: the first there is of `vocabulary.json` and `tokenizer.model`
/// (SentencePiece, where the program is built with it); bytes where the folder has no tokenizer at all.
/// Throws nsvd::error naming a file that is damaged, or of a kind that is not supported.
[[nodiscard]] std::unique_ptr<tokenizer> find_tokenizer(const std::filesystem::path& model_folder);

}  // namespace llm
