// SPDX-License-Identifier: MIT
/// From token ids to text.
#pragma once

#include "tokenizer.hpp"

#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace llm {

/// Text of tokens as they come. A token that the tokenizer does not know is its id in angle brackets:
/// "<4711>", as every token is without a tokenizer.
class detokenizer {
public:
    /// The tokens follow those given here; the tokenizer has to stay as long as this.
    explicit detokenizer(const tokenizer* words, std::span<const token> before = {});

    /// The characters that this token completes.
    [[nodiscard]] std::string add(token id);
    /// The bytes of a character that was not completed.
    [[nodiscard]] std::string rest() const { return text_.substr(said_); }

private:
    const tokenizer* words_;
    std::vector<token> ids_;
    std::string text_;  // of all ids: what a token stands for may depend on those before it
    std::size_t said_ = 0;
};

}  // namespace llm
