// SPDX-License-Identifier: MIT
// Which tokenizer a model folder has; bytes; what is not supported.
#include "tokenizer.hpp"

#include "llm_support.hpp"
#include "support/catch.hpp"

#include <string>
#include <vector>

using llm_test::error_of;

TEST_CASE("tokenizer: bytes, where a folder has none", "[llm][tokens]") {
    const llm_test::scratch folder;
    const auto bytes = llm::find_tokenizer(folder.path());
    const std::string text("a\xff\0\n", 4);
    CHECK(bytes->encode(text) == std::vector<llm::token>{97, 255, 0, 10});
    CHECK(bytes->decode(bytes->encode(text)) == text);
    CHECK(bytes->decode({}).empty());
    CHECK(error_of([&] { (void)bytes->decode(std::vector<llm::token>{256}); }) ==
          "token id 256: the model's tokens are bytes");
}

TEST_CASE("tokenizer: vocabulary.json goes first; unsupported ones are errors that say what to do",
          "[llm][tokens]") {
    const llm_test::scratch folder;
    for (const auto* name : {"vocab.txt", "vocab.json", "tokenizer.json"}) {
        const auto path = llm_test::write(folder / name, "{}");
        const auto message = error_of([&] { (void)llm::find_tokenizer(folder.path()); });
        CHECK(message.starts_with(path.string() + ": "));
        CHECK(message.find("AutoTokenizer.from_pretrained('" + folder.path().string() + "')") !=
              std::string::npos);
        CHECK(message.find('\n') == std::string::npos);
    }
    // Read by the library or not supported: the file is named in any case.
    const auto model = llm_test::write(folder / "tokenizer.model", "");
    CHECK(error_of([&] { (void)llm::find_tokenizer(folder.path()); }).starts_with(model.string() + ": "));
    llm_test::write(folder / "vocabulary.json", R"({"pieces": [[" ", 0], ["b", 0]]})");
    CHECK(llm::find_tokenizer(folder.path())->encode("b") == std::vector<llm::token>{0, 1});
}
