// SPDX-License-Identifier: MIT
/// From token ids to text.
#pragma once

#include "tokens.hpp"

#include <filesystem>
#include <string>
#include <vector>

namespace llm {

/// Text of tokens as they come, by the `vocabulary.json` of a model folder where there is one (▁ is a space,
/// <0x0A> a byte), a byte a token where there is no other tokenizer either. A token of which the text is not
/// known is its id in angle brackets: "<4711>".
class detokenizer {
public:
    /// Throws nsvd::error naming the file for a vocabulary that is none.
    explicit detokenizer(const std::filesystem::path& model_folder);

    /// The characters that this token completes.
    [[nodiscard]] std::string add(token id);
    /// The bytes of a character that was not completed.
    [[nodiscard]] std::string rest() const { return pending_; }

private:
    [[nodiscard]] std::string bytes_of(token id) const;

    std::vector<std::string> pieces_;  // bytes of each id
    std::string pending_;
};

}  // namespace llm
