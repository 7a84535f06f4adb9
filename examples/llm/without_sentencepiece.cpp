// SPDX-License-Identifier: MIT
#include "sentencepiece.hpp"
#include "token_ids.hpp"

#include <nsvd/error.hpp>

#include <fmt/format.h>

namespace llm {

std::unique_ptr<tokenizer> load_sentencepiece(const std::filesystem::path& path) {
    throw nsvd::error(
        fmt::format("{}: this program is built without SentencePiece: install its library and configure with "
                    "NSVD_LLM_SENTENCEPIECE=ON, or {}",
                    path.string(), how_to_make_ids(path.parent_path().string())));
}

}  // namespace llm
