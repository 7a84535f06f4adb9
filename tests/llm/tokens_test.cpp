// SPDX-License-Identifier: MIT
// Token files, windows and the draw of windows.
#include "tokens.hpp"

#include "llm_support.hpp"
#include "support/catch.hpp"
#include "support/shared.hpp"

#include <chrono>
#include <map>
#include <numeric>
#include <random>
#include <set>
#include <string>
#include <vector>

using llm_test::error_of;

namespace {

/// Byte-pair encoding the slow way: in every step look at all pairs, merge the leftmost best.
std::vector<llm::token> encode_naively(const std::vector<std::pair<std::string, double>>& pieces,
                                       const std::string& ascii) {
    std::map<std::string, llm::token> ids;
    for (std::size_t i = 0; i < pieces.size(); ++i)
        ids.emplace(pieces[i].first, static_cast<llm::token>(i));
    std::vector<std::string> parts;
    parts.emplace_back(" ");
    for (const char c : ascii)
        parts.emplace_back(1, c);
    while (true) {
        std::size_t best = parts.size();
        double score = 0;
        for (std::size_t i = 0; i + 1 < parts.size(); ++i) {
            const auto found = ids.find(parts[i] + parts[i + 1]);
            if (found == ids.end() || (best < parts.size() && pieces[found->second].second <= score))
                continue;
            best = i;
            score = pieces[found->second].second;
        }
        if (best == parts.size()) break;
        parts[best] += parts[best + 1];
        parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(best) + 1);
    }
    std::vector<llm::token> result;
    for (const auto& part : parts)
        result.push_back(ids.at(part));
    return result;
}

}  // namespace

TEST_CASE("tokens: bytes and raw ids", "[llm]") {
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
    llm_test::write(folder / "tokenizer.json", "{}");
    CHECK_FALSE(error_of([&] { (void)llm::read_tokens(text, folder.path(), 256); }).empty());
}

TEST_CASE("tokens: byte-pair encoding", "[llm]") {
    const llm_test::scratch folder;
    const auto path = folder / "vocabulary.json";
    llm_test::write(path, R"({"pieces": [["<0xC3>", 0], ["<0xA9>", 0], ["<0x21>", 0], [" ", -9], ["a", -9],
                              ["b", -9], ["ab", -1], [" a", -2], ["aa", -2], ["é", -9], ["abab", -0.5]]})");
    using tokens = std::vector<llm::token>;
    const llm::vocabulary v(path);
    CHECK(v.encode("").empty());
    CHECK(v.encode("ab") == tokens{3, 6});
    CHECK(v.encode("aaa") == tokens{7, 8});  // " a" and "aa" score the same: leftmost first
    CHECK(v.encode("baabab!") == tokens{3, 5, 4, 10, 2});
    CHECK(v.encode("é") == tokens{3, 9});
    CHECK(v.encode("\xc3") == tokens{3, 0});  // half a character
    CHECK_FALSE(error_of([&] { (void)v.encode("c"); }).empty());
    for (const auto* bad :
         {"", "[]", "{}", R"({"pieces": 1})", R"({"pieces": [["a"]]})", R"({"pieces": [[1, 2]]})"}) {
        llm_test::write(path, bad);
        CHECK(error_of([&] { llm::vocabulary{path}; }).starts_with(path.string()));
    }
}

TEST_CASE("tokens: byte-pair encoding agrees with the naive algorithm", "[llm]") {
    const llm_test::scratch folder;
    std::mt19937 random(7);
    for (int round = 0; round < 20; ++round) {
        std::vector<std::pair<std::string, double>> pieces{{" ", -99}, {"a", -99}, {"b", -99}, {"c", -99}};
        std::set<std::string> known{" ", "a", "b", "c"};
        while (pieces.size() < 24) {
            const auto piece =
                pieces[random() % pieces.size()].first + pieces[random() % pieces.size()].first;
            if (known.insert(piece).second) pieces.emplace_back(piece, -static_cast<double>(random() % 12));
        }
        std::string json = R"({"pieces": [)";
        for (const auto& [piece, score] : pieces)
            json += "[\"" + piece + "\"," + std::to_string(score) + "],";
        json.back() = ']';
        const llm::vocabulary v(llm_test::write(folder / "vocabulary.json", json + "}"));
        std::string text;
        for (int i = 0; i < 200; ++i)
            text += " abc"[random() % 4];
        CHECK(v.encode(text) == encode_naively(pieces, text));
    }
}

TEST_CASE("tokens: stories260K's vocabulary encodes 400 KB in under a second", "[llm]") {
    const auto folder = support::shared_folder("models/stories260K");
    const auto text = support::shared_folder("texts/tinystories.calibration.txt");
    if (folder.empty() || text.empty()) return;
    const auto start = std::chrono::steady_clock::now();
    const auto tokens = llm::read_tokens(text, folder, 512);
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    CHECK(tokens.size() > 200000);
    CHECK(tokens.size() < 210000);
#if defined(NDEBUG)
    CHECK(elapsed.count() < 1);
#else
    CHECK(elapsed.count() < 20);
#endif
}

TEST_CASE("tokens: windows", "[llm]") {
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

TEST_CASE("tokens: drawn windows are ascending, without repetition, fixed by the seed", "[llm]") {
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
