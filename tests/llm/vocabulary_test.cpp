// SPDX-License-Identifier: MIT
// Byte-pair encoding by a JSON file.
#include "vocabulary.hpp"

#include "llm_support.hpp"
#include "support/catch.hpp"
#include "support/shared.hpp"

#include <chrono>
#include <map>
#include <random>
#include <set>
#include <string>
#include <utility>
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

TEST_CASE("vocabulary: byte-pair encoding", "[llm][tokens]") {
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

TEST_CASE("vocabulary: byte-pair encoding agrees with the naive algorithm", "[llm][tokens]") {
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

TEST_CASE("vocabulary: stories260K's vocabulary encodes 400 KB in under a second", "[llm][tokens]") {
    const auto folder = support::shared_folder("models/stories260K");
    const auto text = support::shared_folder("texts/tinystories.calibration.txt");
    if (folder.empty() || text.empty()) return;
    const auto start = std::chrono::steady_clock::now();
    const auto tokens = llm::vocabulary(folder / "vocabulary.json").encode(llm_test::read(text));
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    CHECK(tokens.size() > 200000);
    CHECK(tokens.size() < 210000);
#if defined(NDEBUG)
    CHECK(elapsed.count() < 1);
#else
    CHECK(elapsed.count() < 20);
#endif
}

TEST_CASE("vocabulary: decoding", "[llm][tokens]") {
    const llm_test::scratch folder;
    const auto path = llm_test::write(folder / "vocabulary.json",
                                      R"({"pieces": [["<unk>", 0], ["\n<s>\n", 0], ["</s>", 0], ["<0xC3>", 0],
                                         ["<0xA9>", 0], [" ", -9], ["a", -9], [" a", -2], ["é", -9]]})");
    const llm::vocabulary v(path);
    // Not even text that looks like one becomes a control piece.
    llm_test::write(folder / "tags.json",
                    R"({"pieces": [["</s>", 9], [" ", -1], ["<", -1], ["/", -1], ["s", -1], [">", -1],
                        ["</", 1], ["s>", 1]]})");
    const llm::vocabulary tags(folder / "tags.json");
    CHECK(tags.decode(tags.encode("</s>")) == "</s>");
    for (const auto* text : {"", "a", " a", "aa a", "é", "\xc3", "\xa9\xc3", " "})
        CHECK(v.decode(v.encode(text)) == text);
    using tokens = std::vector<llm::token>;
    CHECK(v.decode(tokens{1, 7, 0, 6, 3, 4, 2}) == "aaé");
    CHECK(error_of([&] { (void)v.decode(tokens{6, 9}); }) == path.string() + ": no piece has the id 9");
    const auto stories = support::shared_folder("models/stories260K");
    const auto text = support::shared_folder("texts/tinystories.calibration.txt");
    if (stories.empty() || text.empty()) return;
    const auto all = llm_test::read(text);
    const llm::vocabulary real(stories / "vocabulary.json");
    CHECK(real.decode(real.encode(all)) == all);
}
