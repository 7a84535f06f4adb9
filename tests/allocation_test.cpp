// SPDX-License-Identifier: MIT
// Allocation against all combinations of ranks on small cases, and what each rule promises.
#include "support/catch.hpp"
#include "support/expect_error.hpp"
#include "support/generate.hpp"

#include <nsvd/allocation.hpp>
#include <nsvd/rank/compression.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace {

using Eigen::Index;
using nsvd::allocate;
using nsvd::allocation;
using nsvd::allocation_rule;
using nsvd::layer_profile;
using nsvd::storage;
using nsvd::storage_budget;
using support::generator;

constexpr allocation_rule rules[] = {allocation_rule::uniform, allocation_rule::greedy,
                                     allocation_rule::effective_rank, allocation_rule::loss_group};

/// Layers, and the spectra that they only refer to.
struct model {
    std::vector<std::vector<double>> spectra;
    std::vector<layer_profile> layers;

    void add(Index rows, Index cols, std::vector<double> values, storage how) {
        spectra.push_back(std::move(values));
        layers.push_back(
            {.name = "layer " + std::to_string(layers.size()), .shape = {rows, cols}, .storage = how});
    }
    /// Once nothing moves any more.
    void link() {
        for (std::size_t l = 0; l < layers.size(); ++l)
            layers[l].spectrum = {.leading = spectra[l]};
    }
};

model random_model(generator& g, int count, Index largest, storage how) {
    model m;
    for (int l = 0; l < count; ++l) {
        const Index rows = g.integer(1, largest);
        const Index cols = g.integer(1, largest);
        std::vector<double> values(static_cast<std::size_t>(std::min(rows, cols)));
        const double decay = 1.0 + 4.0 * g.uniform();
        double value = 1.0 + 100.0 * g.uniform();
        for (double& v : values)
            v = value /= g.uniform() < 0.2 ? 1.0 : decay * (0.5 + 0.5 * g.uniform()) + 0.5;
        m.add(rows, cols, std::move(values), how);
        m.layers.back().weight = 0.5 + g.uniform();
    }
    m.link();
    return m;
}

double loss_of(const layer_profile& l, std::optional<Index> k) {
    if (!k) return 0.0;
    double rest = 0.0;
    double total = 0.0;
    for (std::size_t i = l.spectrum.size(); i-- > 0;) {
        total += l.spectrum[i];
        if (i >= static_cast<std::size_t>(*k)) rest += l.spectrum[i];
    }
    return total > 0.0 ? l.weight * rest / total : 0.0;
}

/// What every combination of ranks costs and loses.
std::vector<std::pair<std::int64_t, double>> all_combinations(const model& m, const storage_budget& b) {
    std::vector<std::pair<std::int64_t, double>> all;
    const std::function<void(std::size_t, std::int64_t, double)> go = [&](std::size_t l, std::int64_t cost,
                                                                          double loss) {
        if (l == m.layers.size()) {
            all.emplace_back(cost, loss);
            return;
        }
        const layer_profile& layer = m.layers[l];
        const Index top = layer.ceiling.value_or(layer.shape.full_rank());
        for (Index k = layer.floor; k <= top; ++k)
            if (k % layer.multiple == 0 || k == top)
                go(l + 1, cost + b.cost(layer, k), loss + loss_of(layer, k));
        go(l + 1, cost + b.cost(layer, {}), loss);
    };
    go(0, 0, 0.0);
    return all;
}

storage_budget with_amount(storage_budget b, std::int64_t amount) {
    b.amount = amount;
    return b;
}

}  // namespace

TEST_CASE("allocation: greedy against all combinations", "[allocation]") {
    for (const storage how : {storage::plain, storage::pivoted})
        for (std::uint64_t seed = 1; seed <= 60; ++seed) {
            generator g(seed);
            model m = random_model(g, 1 + static_cast<int>(seed % 3), 8, how);
            if (seed % 4 == 0)
                for (layer_profile& l : m.layers)
                    l.multiple = 2;
            const storage_budget unit = seed % 2 == 0 ? storage_budget{0, 1, 0} : storage_budget{0, 2, 4};
            auto all = all_combinations(m, unit);
            std::sort(all.begin(), all.end());
            // The lower convex hull of all of them, by its definition: from each vertex the steepest way
            // down.
            std::size_t at = 0;
            double last_step = 0.0;
            while (true) {
                CAPTURE(static_cast<int>(how), seed, all[at].first, all[at].second);
                const allocation found = allocate(m.layers, with_amount(unit, all[at].first));
                CHECK(found.cost <= all[at].first);
                CHECK(found.loss <= all[at].second + 1e-12);
                std::size_t next = at;
                double steepest = 0.0;
                for (std::size_t i = 0; i < all.size(); ++i)
                    if (all[i].first > all[at].first && all[i].second < all[at].second - 1e-13) {
                        const double slope = (all[at].second - all[i].second) /
                                             static_cast<double>(all[i].first - all[at].first);
                        if (slope > steepest) {
                            steepest = slope;
                            next = i;
                        }
                    }
                if (next == at) break;
                last_step = all[at].second - all[next].second;
                // Between two vertices: within the step that is cut.
                for (std::int64_t amount = all[at].first + 1; amount < all[next].first; ++amount) {
                    double best = std::numeric_limits<double>::infinity();
                    for (const auto& [cost, loss] : all)
                        if (cost <= amount) best = std::min(best, loss);
                    const allocation between = allocate(m.layers, with_amount(unit, amount));
                    CAPTURE(amount, best, last_step);
                    CHECK(between.cost <= amount);
                    CHECK(between.loss >= best - 1e-12);
                    CHECK(between.loss <= best + last_step + 1e-12);
                }
                at = next;
            }
        }
}

TEST_CASE("allocation: every rule keeps the budget and the bounds, and says what it did", "[allocation]") {
    for (const storage how : {storage::plain, storage::pivoted})
        for (std::uint64_t seed = 100; seed < 140; ++seed) {
            generator g(seed);
            model m = random_model(g, 6, 40, how);
            for (layer_profile& l : m.layers) {
                const Index full = l.shape.full_rank();
                l.group = seed % 2 == 0 ? "all" : l.name;
                l.floor = g.integer(1, (full + 2) / 3);
                if (g.uniform() < 0.3) l.ceiling = g.integer(l.floor, full);
                if (g.uniform() < 0.3) l.multiple = g.integer(2, 8);
                l.keep_dense = g.uniform() < 0.15;
            }
            std::int64_t dense = 0;
            for (const layer_profile& l : m.layers)
                dense += l.shape.rows * l.shape.cols;
            for (const allocation_rule rule : rules)
                for (const double part : {0.7, 0.85, 1.0}) {
                    const storage_budget budget{static_cast<std::int64_t>(part * static_cast<double>(dense))};
                    CAPTURE(static_cast<int>(how), seed, static_cast<int>(rule), part);
                    allocation found;
                    try {
                        found = allocate(m.layers, budget, rule);
                    } catch (const nsvd::error& e) {
                        CHECK(std::string(e.what()).find("the smallest ranks") != std::string::npos);
                        continue;
                    }
                    std::int64_t cost = 0;
                    double loss = 0.0;
                    REQUIRE(found.ranks.size() == m.layers.size());
                    for (std::size_t l = 0; l < m.layers.size(); ++l) {
                        const layer_profile& layer = m.layers[l];
                        const auto k = found.ranks[l];
                        cost += budget.cost(layer, k);
                        loss += loss_of(layer, k);
                        if (layer.keep_dense) CHECK_FALSE(k.has_value());
                        if (!k) continue;
                        const Index top = layer.ceiling.value_or(layer.shape.full_rank());
                        CHECK(*k >= layer.floor);
                        CHECK(*k <= top);
                        CHECK((*k % layer.multiple == 0 || *k == top));
                        // Factors that take as much as the matrix are not worth it.
                        CHECK(nsvd::stored_numbers(how, layer.shape, *k) <
                              layer.shape.rows * layer.shape.cols);
                    }
                    CHECK(found.cost == cost);
                    CHECK(found.cost <= budget.amount);
                    CHECK(found.loss == Approx(loss).margin(1e-12));
                }
        }
}

TEST_CASE("allocation: uniform is what compression gives to each layer", "[allocation]") {
    for (const storage how : {storage::plain, storage::pivoted}) {
        generator g(7);
        model m;
        for (int l = 0; l < 4; ++l) {
            std::vector<double> values(48);
            for (std::size_t i = 0; i < values.size(); ++i)
                values[i] = 1.0 / static_cast<double>((i + 1) * static_cast<std::size_t>(l + 1));
            m.add(64, 48, values, how);
        }
        m.link();
        const nsvd::compression policy{0.3, how};
        const Index k = policy({64, 48});
        const storage_budget budget{4 * nsvd::stored_numbers(how, {64, 48}, k)};
        for (const auto& rank : allocate(m.layers, budget, allocation_rule::uniform).ranks)
            CHECK(rank == std::optional(k));
        // Equal relative spectra: there is nothing to share out by effective rank or by groups either.
        for (const auto& rank : allocate(m.layers, budget, allocation_rule::effective_rank).ranks)
            CHECK(rank == std::optional(k));
        for (layer_profile& l : m.layers)
            l.group = l.name;
        for (const auto& rank : allocate(m.layers, budget, allocation_rule::loss_group).ranks)
            CHECK(rank == std::optional(k));
    }
}

TEST_CASE("allocation: effective rank and loss groups move ranks the way they should", "[allocation]") {
    model m;
    // One layer of effective rank 16, one of 4: √(16/4) = 2.
    m.add(64, 64, std::vector<double>(64, 0.0), storage::plain);
    m.add(64, 64, std::vector<double>(64, 0.0), storage::plain);
    std::fill_n(m.spectra[0].begin(), 16, 1.0);
    std::fill_n(m.spectra[1].begin(), 4, 9.0);
    m.link();
    CHECK(nsvd::detail::effective_rank(m.layers[0].spectrum) == Approx(16.0));
    CHECK(nsvd::detail::effective_rank(m.layers[1].spectrum) == Approx(4.0));
    const allocation found = allocate(m.layers, {128 * 12}, allocation_rule::effective_rank);
    // Beyond its 4 values the second layer loses nothing and gets no more.
    CHECK(found.ranks[1] == std::optional<Index>(4));

    model falling;
    for (const double decay : {1.02, 1.2}) {
        std::vector<double> values(64);
        for (std::size_t i = 0; i < values.size(); ++i)
            values[i] = std::pow(decay, -static_cast<double>(i));
        falling.add(64, 64, values, storage::plain);
        falling.layers.back().group = "same";
    }
    falling.link();
    for (const auto rule :
         {allocation_rule::loss_group, allocation_rule::effective_rank, allocation_rule::greedy}) {
        CAPTURE(static_cast<int>(rule));
        const allocation a = allocate(falling.layers, {64 * 64}, rule);
        REQUIRE(a.ranks[0].has_value());
        REQUIRE(a.ranks[1].has_value());
        CHECK(*a.ranks[0] > *a.ranks[1]);
    }
    // Not a matter of units.
    for (double& v : falling.spectra[0])
        v *= 1e20;
    for (double& v : falling.spectra[1])
        v *= 1e20;
    const allocation same = allocate(falling.layers, {64 * 64}, allocation_rule::loss_group);
    CHECK(*same.ranks[0] > *same.ranks[1]);
}

TEST_CASE("allocation: the common factor is found to the last rank", "[allocation]") {
    model m;
    m.add(3000, 2900, std::vector<double>(2900, 1.0), storage::plain);
    m.link();
    for (const Index k : {1, 700, 1001, 1473}) {
        CAPTURE(k);
        const storage_budget exactly{k * 5900};
        CHECK(allocate(m.layers, exactly, allocation_rule::uniform).ranks[0] == std::optional(k));
        CHECK(allocate(m.layers, {k * 5900 - 1 + 5900}, allocation_rule::uniform).ranks[0] ==
              std::optional(k));
    }
    for (const allocation_rule rule : rules) {
        CAPTURE(static_cast<int>(rule));
        CHECK_FALSE(allocate(m.layers, {3000 * 2900}, rule).ranks[0].has_value());
        CHECK(allocate(m.layers, {3000 * 2900 - 1}, rule).ranks[0] == std::optional<Index>(1474));
    }
}

TEST_CASE("allocation: loss groups remove in proportion to 1/log L", "[allocation]") {
    // At rank 150 of 600 each the norms of what is lost are 1 : e², with the least scaled to e: logarithms 1
    // and 3. Half of the numbers go, so 3/4 of the one and 1/4 of the other.
    model m;
    m.add(600, 600, std::vector<double>(600, 1.0), storage::plain);
    m.add(600, 600, std::vector<double>(600, std::exp(4.0)), storage::plain);
    m.link();
    const allocation found = allocate(m.layers, {600 * 600}, allocation_rule::loss_group);
    REQUIRE(found.ranks[0].has_value());
    REQUIRE(found.ranks[1].has_value());
    CHECK(std::abs(*found.ranks[0] - 75) <= 1);
    CHECK(std::abs(*found.ranks[1] - 225) <= 1);
}

TEST_CASE("allocation: an incomplete spectrum, a zero one, no layers", "[allocation]") {
    model m;
    m.add(20, 30, {5.0, 4.0, 3.0}, storage::plain);
    m.add(20, 30, std::vector<double>(20, 0.0), storage::plain);
    m.link();
    m.layers[0].spectrum.rest = 2.0;
    m.layers[0].spectrum.complete = false;
    const allocation found = allocate(m.layers, {400});
    CHECK(found.ranks[0] == std::optional<Index>(3));
    CHECK(found.ranks[1] == std::optional<Index>(1));
    CHECK(found.loss == Approx(2.0 / 14.0));
    // Once it can be paid for the first layer is better dense.
    CHECK_FALSE(allocate(m.layers, {700}).ranks[0].has_value());
    CHECK(allocate({}, {0}).ranks.empty());
}

TEST_CASE("allocation: spectra whose sums leave the range of double", "[allocation]") {
    for (const allocation_rule rule : rules) {
        CAPTURE(static_cast<int>(rule));
        const auto ranks_of = [&](double scale, double last) {
            model m;
            m.add(4, 40, {1.5 * scale, 1.4 * scale, 1.3 * scale, last * scale}, storage::plain);
            m.add(4, 40, {1.5, 0.4, 0.3, 0.2}, storage::plain);
            m.link();
            return allocate(m.layers, {264}, rule);
        };
        for (const double last : {1.2, 1e-300}) {
            const allocation expected = ranks_of(1.0, last);
            for (const double scale : {1e-300, 1e300, 1e308}) {
                CAPTURE(last, scale);
                const allocation found = ranks_of(scale, last);
                CHECK(found.ranks == expected.ranks);
                CHECK(found.loss == Approx(expected.loss));
            }
        }
    }
}

TEST_CASE("allocation: groups of layers at the end of the range", "[allocation]") {
    const auto ranks_at = [](double scale) {
        model m;
        for (const double decay : {1.0, 0.9, 0.5}) {
            std::vector<double> values(8);
            for (std::size_t i = 0; i < values.size(); ++i)
                values[i] = scale * std::pow(decay, static_cast<double>(i));
            m.add(8, 80, std::move(values), storage::plain);
        }
        m.link();
        return allocate(m.layers, {1200}, allocation_rule::loss_group).ranks;
    };
    const auto expected = ranks_at(1.0);
    for (const double scale : {1e-300, 1e290, 1e308})
        CHECK(ranks_at(scale) == expected);
}

TEST_CASE("allocation: multiples beyond the full rank", "[allocation]") {
    model m;
    m.add(20, 30, std::vector<double>(20, 1.0), storage::plain);
    m.link();
    m.layers[0].floor = 2;
    m.layers[0].ceiling = 5;
    for (const Index multiple : {Index{21}, std::numeric_limits<Index>::max()}) {
        m.layers[0].multiple = multiple;
        CHECK(allocate(m.layers, {400}).ranks[0] == std::optional<Index>(5));
    }
}

TEST_CASE("allocation: measured losses take the place of the spectrum's", "[allocation]") {
    for (const storage how : {storage::plain, storage::pivoted})
        for (std::uint64_t seed = 1; seed <= 40; ++seed) {
            generator g(seed);
            // Spectra that say the opposite of what was measured.
            model m = random_model(g, 3, 5, how);
            for (layer_profile& l : m.layers) {
                l.weight = 0.5 + g.uniform();
                double loss = 0.0;
                l.losses.assign(static_cast<std::size_t>(l.shape.full_rank()) + 1, 0.0);
                for (std::size_t k = l.losses.size() - 1; k-- > 0;)
                    l.losses[k] = loss += g.uniform() < 0.2 ? 0.0 : g.uniform();
            }
            CAPTURE(seed, how == storage::plain);
            const storage_budget unlimited{.amount = 1'000'000, .per_eight_lines = 2};
            const std::function<double(std::size_t, std::optional<Index>)> measured =
                [&](std::size_t l, std::optional<Index> k) {
                    return k ? m.layers[l].weight * m.layers[l].losses[static_cast<std::size_t>(*k)] : 0.0;
                };
            std::vector<std::pair<std::int64_t, double>> all{{0, 0.0}};
            for (std::size_t l = 0; l < m.layers.size(); ++l) {
                std::vector<std::pair<std::int64_t, double>> more;
                for (const auto& [cost, loss] : all) {
                    for (Index k = 1; k <= m.layers[l].shape.full_rank(); ++k)
                        more.emplace_back(cost + unlimited.cost(m.layers[l], k), loss + measured(l, k));
                    more.emplace_back(cost + unlimited.cost(m.layers[l], {}), loss);
                }
                all = std::move(more);
            }
            for (const auto& [cost, ignored] : all) {
                const allocation a = allocate(m.layers, with_amount(unlimited, cost));
                double loss = 0.0;
                double step = 0.0;  // one segment of a hull loses no more than the whole of a layer
                for (std::size_t l = 0; l < m.layers.size(); ++l) {
                    loss += measured(l, a.ranks[l]);
                    step = std::max(step, m.layers[l].weight * m.layers[l].losses[1]);
                }
                double best = std::numeric_limits<double>::infinity();
                for (const auto& [other, value] : all)
                    if (other <= cost) best = std::min(best, value);
                REQUIRE(a.cost <= cost);
                REQUIRE(a.loss == Approx(loss).margin(1e-12));
                REQUIRE(loss >= best - 1e-12);
                REQUIRE(loss <= best + step + 1e-12);
            }
        }
}

TEST_CASE("allocation: the mask of pivoted storage is paid for once a layer", "[allocation]") {
    const layer_profile pivoted{.shape = {20, 9}, .storage = storage::pivoted};
    const layer_profile plain{.shape = {20, 9}};
    const storage_budget b{.per_number = 2, .per_eight_lines = 1};
    CHECK(b.cost(pivoted, 4) == 2 * 4 * (20 + 9 - 4) + 3);
    const storage_budget indices{.per_number = 2, .per_index = 3};
    CHECK(indices.cost(pivoted, 4) == 2 * 4 * (20 + 9 - 4) + 3 * 4);
    CHECK(indices.cost(plain, 4) == 2 * 4 * (20 + 9));
    CHECK(b.cost(pivoted, {}) == 2 * 20 * 9);
    CHECK(b.cost(plain, 4) == 2 * 4 * (20 + 9));
}

TEST_CASE("allocation: layers and units whose costs leave the range", "[allocation]") {
    layer_profile dense;
    dense.shape = {std::int64_t{1} << 31, std::int64_t{1} << 31};
    dense.keep_dense = true;
    const std::vector<layer_profile> three(3, dense);
    support::expect_error([&] { (void)allocate(three, {100}); }, {"allocate", "2^62"});
    model m;
    m.add(4, 3, {3.0, 2.0, 1.0}, storage::plain);
    m.link();
    for (const storage_budget& budget :
         {storage_budget{10, std::int64_t{1} << 61, 0, 0}, storage_budget{10, 1, std::int64_t{1} << 61, 0},
          storage_budget{10, 1, 0, std::int64_t{1} << 62}})
        support::expect_error([&] { (void)allocate(m.layers, budget); }, {"allocate", "2^62"});
    // As large as it may be.
    const std::int64_t unit = std::int64_t{1} << 57;
    CHECK(allocate(m.layers, {12 * unit, unit}).cost == 12 * unit);
}

TEST_CASE("allocation: misuse", "[allocation]") {
    model m;
    m.add(4, 3, {3.0, 2.0, 1.0}, storage::plain);
    m.link();
    const auto with = [&](auto&& change) {
        std::vector<layer_profile> layers = m.layers;
        change(layers[0]);
        return [layers] { (void)allocate(layers, {12}); };
    };
    support::expect_error([&] { (void)allocate(m.layers, {6}); },
                          {"smallest ranks", "take 7", "budget is 6"});
    support::expect_error(with([](layer_profile& l) { l.shape = {0, 3}; }), {"layer 0", "0×3"});
    support::expect_error(with([](layer_profile& l) { l.weight = -1.0; }), {"layer 0", "weight = -1"});
    support::expect_error(with([](layer_profile& l) { l.floor = 4; }), {"layer 0", "4 to 3"});
    support::expect_error(with([](layer_profile& l) { l.ceiling = 5; }), {"layer 0", "1 to 5"});
    support::expect_error(with([](layer_profile& l) { l.multiple = 0; }), {"layer 0", "multiple = 0"});
    const std::vector<double> rising{1.0, 2.0, 3.0};
    support::expect_error(with([&](layer_profile& l) { l.spectrum.leading = rising; }),
                          {"layer 0", "2 after 1"});
    const std::vector<double> bad{3.0, 2.0, std::numeric_limits<double>::quiet_NaN()};
    support::expect_error(with([&](layer_profile& l) { l.spectrum.leading = bad; }), {"layer 0", "nan"});
    support::expect_error(with([&](layer_profile& l) { l.spectrum.leading = l.spectrum.leading.first(2); }),
                          {"layer 0", "2 values", "3"});
    for (const double rest : {-1.0, std::numeric_limits<double>::quiet_NaN()})
        support::expect_error(with([&](layer_profile& l) { l.spectrum.rest = rest; }),
                              {"layer 0", "the rest of its spectrum is"});
    support::expect_error(with([](layer_profile& l) {
                              l.losses = {1.0, 0.5};
                          }),
                          {"layer 0", "2 losses", "3"});
    support::expect_error(with([](layer_profile& l) {
                              l.losses = {1.0, 0.5, -0.25, 0.0};
                          }),
                          {"layer 0", "-0.25"});
    layer_profile measured = m.layers[0];
    measured.losses = {1.0, 0.5, 0.25, 0.0};
    support::expect_error(
        [&] {
            (void)allocate({&measured, 1}, {12}, allocation_rule::effective_rank);
        },
        {"layer 0", "measured losses", "spectrum"});
}
