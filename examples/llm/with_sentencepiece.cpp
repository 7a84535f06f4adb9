// SPDX-License-Identifier: MIT
#include "files.hpp"
#include "sentencepiece.hpp"

#include <nsvd/error.hpp>

#include <fmt/format.h>

#include <sentencepiece_processor.h>
#include <utility>

namespace llm {
namespace {

class sentencepiece_tokenizer final : public tokenizer {
public:
    explicit sentencepiece_tokenizer(std::filesystem::path path) : path_(std::move(path)) {
        const auto bytes = read_file(path_);
        // The library takes no bytes at all for a model without pieces.
        if (bytes.empty() || !processor_.LoadFromSerializedProto(bytes).ok() ||
            processor_.GetPieceSize() == 0)
            throw nsvd::error(path_.string() + ": no SentencePiece model, or damaged: copy it once more");
    }

    [[nodiscard]] std::vector<token> encode(std::string_view text) const override {
        std::vector<int> ids;
        if (!processor_.Encode(text, &ids).ok())
            throw nsvd::error(
                fmt::format("{}: cannot encode a text of {} bytes", path_.string(), text.size()));
        return {ids.begin(), ids.end()};
    }

    [[nodiscard]] std::string decode(std::span<const token> ids) const override {
        std::vector<int> pieces;
        for (const auto id : ids) {
            if (std::cmp_greater_equal(id, processor_.GetPieceSize()))
                throw nsvd::error(fmt::format("{}: no piece has the id {}", path_.string(), id));
            pieces.push_back(static_cast<int>(id));
        }
        std::string text;
        if (!processor_.Decode(pieces, &text).ok())
            throw nsvd::error(fmt::format("{}: cannot decode {} ids", path_.string(), ids.size()));
        return text;
    }

private:
    std::filesystem::path path_;
    sentencepiece::SentencePieceProcessor processor_;
};

}  // namespace

std::unique_ptr<tokenizer> load_sentencepiece(const std::filesystem::path& path) {
    return std::make_unique<sentencepiece_tokenizer>(path);
}

}  // namespace llm
