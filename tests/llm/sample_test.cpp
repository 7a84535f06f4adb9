// SPDX-License-Identifier: MIT
// Text that a model writes itself, against the distributions it is drawn from.
#include "sample.hpp"

#include "small_model.hpp"
#include "support/catch.hpp"

#include <algorithm>
#include <cmath>

namespace {

std::vector<double> softmax(const std::vector<double>& logits, double temperature) {
    const double most = *std::max_element(logits.begin(), logits.end());
    std::vector<double> p;
    double sum = 0;
    for (const double x : logits)
        sum += p.emplace_back(std::exp((x - most) / temperature));
    for (double& x : p)
        x /= sum;
    return p;
}

/// Pearson's χ² of counts.
double chi_squared(const std::vector<double>& counts, const std::vector<double>& probabilities) {
    double total = 0, result = 0;
    for (const double c : counts)
        total += c;
    for (std::size_t i = 0; i < counts.size(); ++i) {
        const double expected = total * probabilities[i];
        result += (counts[i] - expected) * (counts[i] - expected) / expected;
    }
    return result;
}

}  // namespace

TEST_CASE("random windows are uniform over the vocabulary", "[llm]") {
    const llm_test::small_model where;
    const llm::model model(where.path());
    const auto list = llm::uniform_windows(model, 100, 200, 3);
    REQUIRE(list.size() == 100);
    std::vector<double> counts(50, 0.0);
    for (const auto& window : list) {
        REQUIRE(window.size() == 200);
        for (const auto id : window) {
            REQUIRE(id < 50);
            ++counts[id];
        }
    }
    CHECK(chi_squared(counts, std::vector<double>(50, 1.0 / 50)) < 100);  // 49 ± 10
    CHECK(llm::uniform_windows(model, 100, 200, 3) == list);
    CHECK(llm::uniform_windows(model, 100, 200, 4) != list);
}

TEST_CASE("self-written windows depend on the seed, not on the threads", "[llm]") {
    const llm_test::small_model where;
    const llm::model model(where.path());
    llm::progress silent;
    const auto list = llm::self_written_windows(model, 37, 12, 1.0, 5, 1, silent);
    REQUIRE(list.size() == 37);
    for (const auto& window : list) {
        CHECK(window.size() == 12);
        CHECK(std::ranges::all_of(window, [](llm::token id) { return id < 50; }));
    }
    CHECK(llm::self_written_windows(model, 37, 12, 1.0, 5, 4, silent) == list);
    CHECK(llm::self_written_windows(model, 37, 12, 1.0, 6, 1, silent) != list);
    CHECK(llm::self_written_windows(model, 3, 1, 1.0, 5, 1, silent)[2].size() == 1);
    for (std::size_t i = 1; i < list.size(); ++i)
        CHECK(list[i] != list[0]);
}

TEST_CASE("self-written windows: at no temperature the likeliest token follows", "[llm]") {
    const llm_test::small_model where;
    const llm::model model(where.path());
    llm::progress silent;
    for (const auto& window : llm::self_written_windows(model, 18, 24, 1e-6, 1, 2, silent)) {
        const auto logits = llm_test::naive_forward(where.source(), where.path(), window);
        for (std::size_t t = 0; t + 1 < window.size(); ++t) {
            const auto likeliest = std::max_element(logits[t].begin(), logits[t].end());
            CHECK(*likeliest - logits[t][window[t + 1]] < 1e-4);
        }
    }
}

TEST_CASE("self-written windows follow softmax(logits / temperature)", "[llm]") {
    llm_test::random_model source;
    source.vocab = 4;
    const llm_test::small_model where(source);
    const llm::model model(where.path());
    llm::progress silent;
    for (const double temperature : {1.0, 2.5}) {
        CAPTURE(temperature);
        const auto list = llm::self_written_windows(model, 6000, 3, temperature, 2, 2, silent);
        std::vector<double> first(4, 0.0);
        std::vector<std::vector<double>> second(4, first), third(16, first);
        for (const auto& w : list) {
            ++first[w[0]];
            ++second[w[0]][w[1]];
            ++third[4 * w[0] + w[1]][w[2]];
        }
        CHECK(chi_squared(first, std::vector<double>(4, 0.25)) < 22);  // one in 10⁴ is above
        double of_second = 0, of_third = 0;
        for (llm::token a = 0; a < 4; ++a) {
            const auto p = softmax(llm_test::naive_forward(source, where.path(), {a}).back(), temperature);
            of_second += chi_squared(second[a], p);
            for (llm::token b = 0; b < 4; ++b)
                if (second[a][b] > 0)
                    of_third += chi_squared(
                        third[4 * a + b],
                        softmax(llm_test::naive_forward(source, where.path(), {a, b}).back(), temperature));
        }
        CHECK(of_second < 40);  // 12 degrees of freedom: one in 10⁴ is above
        CHECK(of_third < 110);  // 48, some of them rare
    }
}
