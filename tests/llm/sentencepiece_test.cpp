// SPDX-License-Identifier: MIT
// A SentencePiece model, trained here, read by its library. Only in builds that have the library.
#include "sentencepiece.hpp"

#include "llm_support.hpp"
#include "support/catch.hpp"

#include <random>
#include <sentencepiece_trainer.h>
#include <string>
#include <unordered_map>
#include <vector>

using llm_test::error_of;

namespace {

std::string sentences(std::size_t count, unsigned seed) {
    const std::vector<std::string> words{"the", "cat",   "dog", "sat", "slept",
                                         "on",  "under", "a",   "mat", "tree"};
    std::mt19937 random(seed);
    std::string text;
    for (std::size_t i = 0; i < count; ++i) {
        for (int word = 0; word < 6; ++word)
            text += (word > 0 ? " " : "") + words[random() % words.size()];
        text += ".\n";
    }
    return text;
}

/// Trains FOLDER/tokenizer.model with the settings of LLaMA's, and writes the pieces to tokenizer.vocab.
std::filesystem::path train(const llm_test::scratch& folder) {
    const auto text = llm_test::write(folder / "sentences.txt", sentences(200, 1));
    const auto status = sentencepiece::SentencePieceTrainer::Train(
        std::unordered_map<std::string, std::string>{{"input", text.string()},
                                                     {"model_prefix", (folder / "tokenizer").string()},
                                                     {"model_type", "bpe"},
                                                     {"vocab_size", "310"},
                                                     {"byte_fallback", "true"},
                                                     {"normalization_rule_name", "identity"},
                                                     {"remove_extra_whitespaces", "false"},
                                                     {"minloglevel", "3"}});
    REQUIRE(status.ok());
    return folder / "tokenizer.model";
}

}  // namespace

TEST_CASE("SentencePiece: encoding and back", "[llm][tokens]") {
    const llm_test::scratch folder;
    (void)train(folder);
    const auto pieces = llm::find_tokenizer(folder.path());
    // As many lines as ids: unk, bos, eos, the bytes, the pieces learnt.
    std::vector<std::string> names;
    for (std::ifstream in(folder / "tokenizer.vocab"); in;) {
        std::string line;
        std::getline(in, line);
        if (!line.empty()) names.push_back(line.substr(0, line.find('\t')));
    }
    REQUIRE(names.size() == 310);
    CHECK(names[1] == "<s>");

    const auto text = sentences(50, 2);
    const auto ids = pieces->encode(text);
    CHECK(ids.size() < text.size() / 2);
    CHECK(pieces->decode(ids) == text);
    // The ids are those of the pieces: their names, put together by hand, are the text.
    std::string by_hand;
    for (const auto id : ids) {
        REQUIRE(id < names.size());
        CHECK(id > 2);  // no begin-of-text, nothing unknown
        by_hand += names[id] == "<0x0A>" ? "\n" : names[id];
    }
    const std::string space = "\xe2\x96\x81";
    for (auto at = by_hand.find(space); at != std::string::npos; at = by_hand.find(space, at))
        by_hand.replace(at, space.size(), " ");
    CHECK(by_hand == " " + text);

    for (const auto* other : {"", "x", "  two  spaces ", "\xc3\xa9 \xe6\x97\xa5\xe6\x9c\xac\n\n"})
        CHECK(pieces->decode(pieces->encode(other)) == other);
    std::vector<llm::token> framed{1};
    framed.insert(framed.end(), ids.begin(), ids.end());
    framed.push_back(2);
    CHECK(pieces->decode(framed) == text);
    CHECK(error_of([&] {
              (void)pieces->decode(std::vector<llm::token>{310});
          }).ends_with("tokenizer.model: no piece has the id 310"));
    CHECK_FALSE(error_of([&] { (void)pieces->decode(std::vector<llm::token>{0xffffffff}); }).empty());
}

TEST_CASE("SentencePiece: a damaged model is an error that names the file", "[llm][tokens]") {
    const llm_test::scratch folder;
    const auto path = train(folder);
    const auto whole = llm_test::read(path);
    const auto message = [&](const std::string& bytes) {
        llm_test::write(path, bytes);
        return error_of([&] { (void)llm::load_sentencepiece(path); });
    };
    CHECK(message(whole).empty());
    for (const std::size_t size :
         {std::size_t{0}, std::size_t{1}, std::size_t{100}, whole.size() / 2, whole.size() - 1})
        CHECK(message(whole.substr(0, size)).starts_with(path.string() + ": no SentencePiece model"));
    CHECK(message("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 499723\n")
              .starts_with(path.string() + ": no SentencePiece model"));
}
