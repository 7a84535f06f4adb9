// SPDX-License-Identifier: MIT
// Recipes: names that say what is done, and read back to the same.
#include "recipe.hpp"

#include "llm_support.hpp"
#include "support/catch.hpp"

#include <set>
#include <string>
#include <string_view>
#include <vector>

using llm::parse_recipe;
using llm::rank_rule;
using llm_test::error_of;

namespace {

bool same(const llm::recipe& a, const llm::recipe& b) {
    return a.name == b.name && a.label == b.label && a.how == b.how && a.storage == b.storage &&
           a.ranks == b.ranks && a.anchored == b.anchored && a.bias == b.bias && a.joint == b.joint &&
           a.own_text == b.own_text && a.tuned == b.tuned && a.share == b.share && a.epsilon == b.epsilon &&
           a.compression == b.compression;
}

}  // namespace

TEST_CASE("recipes: each has a name of its own that reads back to it", "[llm]") {
    std::set<std::string> names, labels;
    std::size_t count = 0, wrong = 0;
    for (const auto& how : llm::methods)
        for (const auto storage : {nsvd::storage::plain, nsvd::storage::pivoted})
            for (const auto ranks : {rank_rule::uniform, rank_rule::greedy, rank_rule::effective_rank,
                                     rank_rule::loss_group, rank_rule::sensitivity, rank_rule::measured})
                for (unsigned switches = 0; switches < 32; ++switches) {
                    llm::recipe r;
                    r.how = &how;
                    r.storage = storage;
                    r.ranks = ranks;
                    r.anchored = (switches & 1U) != 0;
                    r.bias = (switches & 2U) != 0;
                    r.joint = (switches & 4U) != 0;
                    r.own_text = (switches & 8U) != 0;
                    r.tuned = (switches & 16U) != 0;
                    r = llm::named(r);
                    names.insert(r.name);
                    labels.insert(r.label);
                    ++count;
                    wrong += same(parse_recipe(r.name), r) ? 0 : 1;
                    const bool starts = r.name.starts_with(how.name) && r.label.starts_with(how.label);
                    wrong += starts || r.name == "best" ? 0 : 1;
                }
    CHECK(wrong == 0);
    CHECK(names.size() == count);
    CHECK(labels.size() == count);
}

TEST_CASE("recipes: features in any order, on top of others", "[llm]") {
    const auto plain = parse_recipe("nsvd-1");
    CHECK(plain.name == "nsvd-1");
    CHECK(plain.label == "NSVD-I");
    CHECK(plain.how == &llm::find_method("nsvd-1"));
    CHECK(plain.storage == nsvd::storage::plain);
    CHECK(plain.ranks == rank_rule::uniform);
    CHECK_FALSE((plain.anchored || plain.bias || plain.joint || plain.own_text || plain.tuned));

    const auto r = parse_recipe("nsvd-1+bias+greedy+pivoted");
    CHECK(r.name == "nsvd-1+pivoted+greedy+bias");
    CHECK(r.label == "NSVD-I + pivoted + greedy + bias");
    CHECK(same(r, parse_recipe("nsvd-1+pivoted+pivoted+greedy+bias")));
    CHECK(parse_recipe("asvd-1+greedy+loss-group").name == "asvd-1+loss-group");
    CHECK(parse_recipe("asvd-1+pivoted+greedy+plain+uniform").name == "asvd-1");

    llm::recipe base;
    base.joint = true;
    base.share = 0.5;
    base.epsilon = 0.25;
    base.compression = 0.4;
    const auto on_top = parse_recipe("nid-2+tuned", base);
    CHECK(on_top.name == "nid-2+joint+tuned");
    CHECK(on_top.share == 0.5);
    CHECK(on_top.epsilon == 0.25);
    CHECK(on_top.compression == 0.4);
}

TEST_CASE("recipes: best", "[llm]") {
    const auto best = parse_recipe("best");
    CHECK(best.name == "best");
    CHECK(best.label == "best");
    CHECK(best.how == &llm::find_method("asvd-1"));
    CHECK(best.storage == nsvd::storage::pivoted);
    CHECK(best.ranks == rank_rule::measured);
    CHECK((best.anchored && best.own_text));
    CHECK_FALSE((best.bias || best.joint || best.tuned));
    CHECK(same(best, parse_recipe(llm::best_recipe)));
    CHECK(same(best, parse_recipe("best+pivoted+anchored")));
    CHECK(parse_recipe("best+bias").name == "asvd-1+pivoted+measured+anchored+bias+own-text");
    CHECK(parse_recipe("best+uniform").name == "asvd-1+pivoted+anchored+own-text");
}

TEST_CASE("recipes: unknown names are errors that say which there are", "[llm]") {
    const auto error = [](std::string_view text) { return error_of([&] { (void)parse_recipe(text); }); };
    CHECK(error("qr+greedy").starts_with("unknown method 'qr'"));
    CHECK(error("").starts_with("unknown method ''"));
    CHECK(error("asvd-1+fast") ==
          "unknown feature 'fast': known are plain, pivoted, uniform, greedy, effective-rank, loss-group, "
          "sensitivity, measured, anchored, bias, joint, own-text, tuned, tuned-once");
    for (const auto* text : {"asvd-1+", "asvd-1++bias", "asvd-1+bias+", "best+"}) {
        CAPTURE(text);
        CHECK(error(text).starts_with("unknown feature ''"));
    }
    CHECK(error("asvd-1+best").starts_with("unknown feature 'best'"));
    CHECK(llm::find_storage("pivoted") == nsvd::storage::pivoted);
    CHECK(error_of([] { (void)llm::find_storage("dense"); }) ==
          "unknown storage 'dense': known are plain, pivoted");
    CHECK(llm::find_rank_rule("measured") == rank_rule::measured);
    CHECK(error_of([] { (void)llm::find_rank_rule("best"); }) ==
          "unknown allocation 'best': known are uniform, greedy, effective-rank, loss-group, sensitivity, "
          "measured");
}
