// SPDX-License-Identifier: MIT
#include "tokenizer.hpp"

#include "sentencepiece.hpp"
#include "token_ids.hpp"
#include "vocabulary.hpp"

#include <nsvd/error.hpp>

#include <fmt/format.h>

#include <algorithm>

namespace llm {

std::vector<token> byte_tokenizer::encode(std::string_view text) const {
    std::vector<token> ids(text.size());
    std::transform(text.begin(), text.end(), ids.begin(),
                   [](char c) { return static_cast<unsigned char>(c); });
    return ids;
}

std::string byte_tokenizer::decode(std::span<const token> ids) const {
    std::string text;
    for (const auto id : ids) {
        if (id > 255) throw nsvd::error(fmt::format("token id {}: the model's tokens are bytes", id));
        text += static_cast<char>(id);
    }
    return text;
}

std::unique_ptr<tokenizer> find_tokenizer(const std::filesystem::path& model_folder) {
    const auto has = [&](const char* name) { return std::filesystem::exists(model_folder / name); };
    if (has("vocabulary.json")) return std::make_unique<vocabulary>(model_folder / "vocabulary.json");
    if (has("tokenizer.model")) return load_sentencepiece(model_folder / "tokenizer.model");
    // Without this a text would be read as bytes, which the model has never seen.
    for (const auto* name : {"tokenizer.json", "vocab.json", "vocab.txt"})
        if (has(name))
            throw nsvd::error(fmt::format("{}: tokenizers of this kind are not supported: {}",
                                          (model_folder / name).string(),
                                          how_to_make_ids(model_folder.string())));
    return std::make_unique<byte_tokenizer>();
}

}  // namespace llm
