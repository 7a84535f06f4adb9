// SPDX-License-Identifier: MIT
// Ranks of every rule: within the budget, near to it, and what each rule asks for.
#include "ranks.hpp"

#include "calibrate.hpp"
#include "small_model.hpp"
#include "support/catch.hpp"

#include <nsvd/nsvd.hpp>

#include <algorithm>
#include <cmath>

using llm::rank_rule;
using llm_test::error_of;
namespace st = nsvd::safetensors;

namespace {

using rank_list = std::vector<std::optional<Eigen::Index>>;

/// Spectra of random layers, effects made up from them, and how often either was asked for.
struct made_up_evidence {
    std::vector<Eigen::VectorXd> spectra;
    std::vector<llm::unit_effects> effects;
    mutable int spectra_asked = 0, effects_asked = 0;

    made_up_evidence(const std::vector<llm::unit>& units, nsvd::storage how) {
        for (std::size_t i = 0; i < units.size(); ++i) {
            const auto full = units[i].shape.full_rank();
            auto& spectrum = spectra.emplace_back(full);
            for (Eigen::Index k = 0; k < full; ++k)
                spectrum(k) = std::pow(0.5 + 0.03 * static_cast<double>(i), static_cast<double>(k));
            auto& found = effects.emplace_back();
            found.dense_nll = 3;
            for (const auto k : llm::tried_ranks(units[i], how)) {
                const double loss = spectrum.tail(full - k).sum() / spectrum.sum();
                const double divergence = (1 + static_cast<double>(i % 5)) * loss;
                found.effects.push_back({k, divergence, 3 + divergence});
            }
        }
    }
    [[nodiscard]] llm::rank_evidence asked() const {
        return {.spectra = [this]() -> const auto& {return ++spectra_asked, spectra;
    }
    , .effects = [this]() -> const auto& { return ++effects_asked, effects; }
};
}
}
;

/// Bytes by docs/format.md.
std::int64_t bytes_of(const llm::unit& u, std::optional<Eigen::Index> k, nsvd::storage how,
                      std::int64_t item) {
    const auto m = u.shape.rows, n = u.shape.cols;
    if (!k) return item * m * n;
    if (how == nsvd::storage::plain) return item * *k * (m + n);
    return item * *k * (m + n - *k) + (std::max(m, n) + 7) / 8;
}

}  // namespace

TEST_CASE("the budget is what uniform plain factors of each layer take", "[llm]") {
    for (const auto dtype : {st::dtype::F32, st::dtype::F16}) {
        llm_test::random_model source;
        source.dtype = dtype;
        source.biased = dtype == st::dtype::F16;
        const llm_test::small_model where(source);
        const llm::model model(where.path());
        const std::int64_t item = dtype == st::dtype::F32 ? 4 : 2;
        std::int64_t dense = 0, at_30 = 0;
        for (std::size_t i = 0; i < model.layers(); ++i) {
            const auto m = model.layer(i).rows(), n = model.layer(i).cols();
            dense += item * m * n;
            at_30 += item * (7 * m * n / (10 * (m + n))) * (m + n);
        }
        CHECK(llm::byte_budget(model, 0) == dense);
        CHECK(llm::byte_budget(model, 0.3) == at_30);
        CHECK_FALSE(error_of([&] { (void)llm::byte_budget(model, 0.99); }).empty());
    }
}

TEST_CASE("uniform plain ranks are those of nsvd::compression, and nothing is asked for", "[llm]") {
    const llm_test::small_model where;
    const llm::model model(where.path());
    const auto units = llm::units_of(model, false);
    const made_up_evidence evidence(units, nsvd::storage::plain);
    for (const double compression : {0.0, 0.2, 0.3, 0.5, 0.8}) {
        const auto ranks = llm::choose_ranks(model, units, llm_test::recipe_at("nsvd-1", compression),
                                             std::vector<bool>(units.size()), evidence.asked());
        for (std::size_t i = 0; i < units.size(); ++i)
            CHECK(ranks[i] == nsvd::compression{compression}(units[i].shape));
    }
    CHECK(evidence.spectra_asked + evidence.effects_asked == 0);
    // Nor with what asks for no more than a share of the numbers.
    for (const auto* name : {"asvd-1+pivoted", "asvd-1+joint", "asvd-1+bias", "asvd-1+joint+pivoted+bias"}) {
        CAPTURE(name);
        const auto recipe = llm_test::recipe_at(name, 0.3);
        const auto of_recipe = llm::units_of(model, recipe.joint);
        const made_up_evidence other(of_recipe, recipe.storage);
        (void)llm::choose_ranks(model, of_recipe, recipe, std::vector<bool>(of_recipe.size()), other.asked());
        CHECK(other.spectra_asked + other.effects_asked == 0);
    }
}

TEST_CASE("ranks that are tried: ascending, below the full one", "[llm]") {
    for (const auto how : {nsvd::storage::plain, nsvd::storage::pivoted})
        for (const auto& shape : {nsvd::shape{16, 24}, {24, 16}, {8, 16}, {300, 100}, {2, 3}, {1, 5}}) {
            const auto ranks = llm::tried_ranks({{0}, "x", shape}, how);
            CAPTURE(shape.rows, shape.cols);
            CHECK(ranks.size() <= 9);
            CHECK(std::ranges::adjacent_find(ranks, std::greater_equal{}) == ranks.end());
            for (const auto k : ranks)
                CHECK((k >= 1 && k < shape.full_rank()));
        }
    const auto large = llm::tried_ranks({{0}, "x", {300, 100}}, nsvd::storage::plain);
    CHECK(large == std::vector<Eigen::Index>{7, 15, 22, 30, 37, 45, 52, 60, 67});  // 75 a whole
}

TEST_CASE("ranks of every rule are within the budget", "[llm]") {
    for (const bool biased : {false, true}) {
        llm_test::random_model source;
        source.hidden = 32;
        source.head_dim = 8;
        source.inter = 48;
        source.biased = biased;
        source.dtype = biased ? st::dtype::BF16 : st::dtype::F32;
        const llm_test::small_model where(source);
        const llm::model model(where.path());
        const std::int64_t item = biased ? 2 : 4;
        for (const auto* rule :
             {"uniform", "greedy", "effective-rank", "loss-group", "sensitivity", "measured"})
            for (const auto* features :
                 {"", "+pivoted", "+joint", "+pivoted+joint", "+bias", "+pivoted+bias"})
                for (const double compression : {0.2, 0.3, 0.5}) {
                    const auto recipe =
                        llm_test::recipe_at(std::string("asvd-1+") + rule + features, compression);
                    CAPTURE(recipe.name, compression, biased);
                    const auto units = llm::units_of(model, recipe.joint);
                    const made_up_evidence evidence(units, recipe.storage);
                    std::vector<bool> dense(units.size(), false);
                    const auto budget = llm::byte_budget(model, compression);
                    std::int64_t of_biases = 0;
                    for (std::size_t i = 0; i < model.layers() && recipe.bias && !biased; ++i)
                        of_biases += item * model.layer(i).rows();
                    const auto choose = [&] {
                        return llm::choose_ranks(model, units, recipe, dense, evidence.asked());
                    };
                    const auto total = [&](const rank_list& ranks) {
                        std::int64_t bytes = of_biases;
                        for (std::size_t i = 0; i < units.size(); ++i) {
                            bytes += bytes_of(units[i], ranks[i], recipe.storage, item);
                            if (ranks[i]) CHECK((*ranks[i] >= 1 && *ranks[i] <= units[i].shape.full_rank()));
                        }
                        return bytes;
                    };
                    std::int64_t step = 0;  // the largest that one rank takes
                    for (const auto& u : units)
                        step = std::max(step, item * (u.shape.rows + u.shape.cols));
                    const auto ranks = choose();
                    REQUIRE(ranks.size() == units.size());
                    const auto bytes = total(ranks);
                    CHECK(bytes <= budget);
                    const bool by_gain =
                        recipe.ranks == rank_rule::greedy || recipe.ranks == rank_rule::measured;
                    if (by_gain) CHECK(budget - bytes < step);
                    CHECK(budget - bytes < static_cast<std::int64_t>(units.size()) * step);

                    dense[1] = dense[4] = true;
                    const auto kept = choose();
                    CHECK(total(kept) <= budget);
                    CHECK_FALSE(kept[1]);
                    CHECK_FALSE(kept[4]);
                    CHECK(kept[0]);
                }
    }
}

TEST_CASE("a budget that nothing fits into is an error", "[llm]") {
    const llm_test::small_model where;
    const llm::model model(where.path());
    for (const auto* name : {"svd+greedy", "svd+measured", "svd+sensitivity", "svd+pivoted", "svd"}) {
        CAPTURE(name);
        const auto recipe = llm_test::recipe_at(name, 0.8);
        const auto units = llm::units_of(model, false);
        const made_up_evidence evidence(units, recipe.storage);
        const auto message = error_of([&] {
            (void)llm::choose_ranks(model, units, recipe, std::vector<bool>(units.size(), true),
                                    evidence.asked());
        });
        CHECK_FALSE(message.empty());
    }
    const auto units = llm::units_of(model, false);
    const made_up_evidence evidence(units, nsvd::storage::plain);
    CHECK_FALSE(error_of([&] {
                    (void)llm::choose_ranks(model, units, llm_test::recipe_at("svd+bias", 0.8),
                                            std::vector<bool>(units.size()), evidence.asked());
                }).empty());
}

TEST_CASE("rules take what they say: losses, sensitivities, measured divergences", "[llm]") {
    const llm_test::small_model where;
    const llm::model model(where.path());
    const auto units = llm::units_of(model, false);
    made_up_evidence evidence(units, nsvd::storage::plain);
    const std::vector<bool> none(units.size());
    const auto choose = [&](const char* name) {
        return llm::choose_ranks(model, units, llm_test::recipe_at(name, 0.3), none, evidence.asked());
    };
    const auto greedy = choose("asvd-1+greedy");
    CHECK(evidence.effects_asked == 0);
    const auto measured = choose("asvd-1+measured");
    CHECK(evidence.effects_asked >= 1);
    CHECK(greedy != measured);
    // Effects in proportion to the losses say what the losses say.
    for (std::size_t i = 0; i < units.size(); ++i)
        for (auto& e : evidence.effects[i].effects)
            e.divergence = 7 * evidence.spectra[i].tail(units[i].shape.full_rank() - e.rank).sum() /
                           evidence.spectra[i].sum();
    CHECK(choose("asvd-1+measured") == greedy);
    // A unit that matters a thousand times as much as before loses no rank, and none more matters more.
    const auto compressed = std::ranges::find_if(greedy, [](const auto& k) { return k.has_value(); });
    REQUIRE(compressed != greedy.end());
    const auto one = static_cast<std::size_t>(compressed - greedy.begin());
    for (auto& e : evidence.effects[one].effects)
        e.divergence *= 1000;
    const auto heavy = choose("asvd-1+measured");
    CHECK(heavy[one].value_or(units[one].shape.full_rank()) > **compressed);

    // Sensitivity: what every unit does alone is no more than one bound, and a rank less would be.
    const int asked = evidence.spectra_asked;
    const auto by_bound = choose("asvd-1+sensitivity");
    CHECK(evidence.spectra_asked == asked);
    double bound = 0;
    const auto nll_at = [&](std::size_t i, Eigen::Index k) {
        const auto& effects = evidence.effects[i].effects;
        const auto above = std::ranges::find_if(effects, [&](const auto& e) { return e.rank >= k; });
        const auto high_rank = above == effects.end() ? units[i].shape.full_rank() : above->rank;
        const double high = above == effects.end() ? evidence.effects[i].dense_nll : above->nll;
        if (high_rank == k || above == effects.begin()) return high;
        const auto& low = *std::prev(above);
        const double part = static_cast<double>(k - low.rank) / static_cast<double>(high_rank - low.rank);
        return low.nll + part * (high - low.nll);
    };
    for (std::size_t i = 0; i < units.size(); ++i)
        if (by_bound[i]) bound = std::max(bound, nll_at(i, *by_bound[i]));
    for (std::size_t i = 0; i < units.size(); ++i) {
        CAPTURE(i);
        if (!by_bound[i] || *by_bound[i] == evidence.effects[i].effects.front().rank) continue;
        CHECK(nll_at(i, *by_bound[i] - 1) > bound * (1 - 1e-9));
    }
}
