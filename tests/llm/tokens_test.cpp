// SPDX-License-Identifier: MIT
// Token files, windows and the draw of windows.
#include "tokens.hpp"

#include "llm_support.hpp"
#include "support/catch.hpp"

#include <algorithm>
#include <numeric>
#include <set>
#include <string>
#include <vector>

using llm_test::error_of;

TEST_CASE("tokens: bytes and raw ids", "[llm][tokens]") {
    const llm_test::scratch folder;
    using tokens = std::vector<llm::token>;
    const auto text = llm_test::write(folder / "a.txt", std::string("a\xff\0b", 4));
    CHECK(llm::read_tokens(text, folder.path(), 256) == tokens{97, 255, 0, 98});
    const auto u16 = llm_test::write(folder / "a.u16", std::string("\x01\x00\x00\x01", 4));
    CHECK(llm::read_tokens(u16, folder.path(), 257) == tokens{1, 256});
    const auto u32 = llm_test::write(folder / "a.u32", std::string("\x01\x00\x01\x00", 4));
    CHECK(llm::read_tokens(u32, folder.path(), 65538) == tokens{65537});

    const auto outside = error_of([&] { (void)llm::read_tokens(u16, folder.path(), 256); });
    CHECK(outside.starts_with(u16.string() + ": token 1 has the id 256"));
    const auto odd = llm_test::write(folder / "b.u16", "abc");
    CHECK(error_of([&] {
              (void)llm::read_tokens(odd, folder.path(), 256);
          }).starts_with(odd.string() + ": 3 bytes"));
    CHECK_FALSE(error_of([&] { (void)llm::read_tokens(folder / "none", folder.path(), 256); }).empty());
    CHECK_FALSE(error_of([&] { (void)llm::read_tokens(folder.path(), folder.path(), 256); }).empty());
    for (const auto* name : {"empty.txt", "empty.u16", "empty.u32"}) {
        const auto empty = llm_test::write(folder / name, "");
        CHECK(error_of([&] {
                  (void)llm::read_tokens(empty, folder.path(), 256);
              }).starts_with(empty.string() + ": is empty"));
    }
    // The ending is case-sensitive: this is text.
    CHECK(llm::read_tokens(llm_test::write(folder / "a.U16", "ab"), folder.path(), 256) == tokens{97, 98});
    CHECK(error_of([&] {
              (void)llm::read_tokens(text, folder.path(), 98);
          }).starts_with(text.string() + ": token 1 has the id 255"));
    // Ids need no tokenizer.
    llm_test::write(folder / "tokenizer.json", "{}");
    CHECK(llm::read_tokens(u16, folder.path(), 257) == tokens{1, 256});
    CHECK(error_of([&] {
              (void)llm::read_tokens(text, folder.path(), 256);
          }).starts_with((folder / "tokenizer.json").string() + ": tokenizers of this kind"));
}

TEST_CASE("tokens: windows", "[llm][tokens]") {
    std::vector<llm::token> tokens(10);
    std::iota(tokens.begin(), tokens.end(), 0U);
    const auto list = llm::windows(tokens, 4, "text");
    REQUIRE(list.size() == 2);
    CHECK(list[1].front() == 4);
    CHECK(list[1].size() == 4);
    CHECK(llm::windows(tokens, 10, "text").size() == 1);
    CHECK(error_of([&] {
              (void)llm::windows(tokens, 11, "text");
          }).starts_with("text: 10 tokens are less than one window of 11"));
}

TEST_CASE("tokens: drawn windows are ascending, without repetition, fixed by the seed", "[llm][tokens]") {
    const auto drawn = llm::draw_windows(1000, 256, 0);
    CHECK(drawn.size() == 256);
    CHECK(std::is_sorted(drawn.begin(), drawn.end()));
    CHECK(std::set(drawn.begin(), drawn.end()).size() == 256);
    CHECK(drawn.back() < 1000);
    CHECK(drawn == llm::draw_windows(1000, 256, 0));
    CHECK(drawn != llm::draw_windows(1000, 256, 1));
    CHECK(llm::draw_windows(3, 256, 5) == std::vector<std::size_t>{0, 1, 2});
    // From the first outputs of mt19937_64 with seed 0, by hand.
    CHECK(llm::draw_windows(10, 3, 0) == std::vector<std::size_t>{3, 4, 6});
}
