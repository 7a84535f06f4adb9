// SPDX-License-Identifier: MIT
// Weighted windows, and what is gathered from them, against sums written out.
#include "calibrate.hpp"

#include "small_model.hpp"
#include "support/catch.hpp"

#include <algorithm>

namespace {

const llm::journal none;

/// Windows 0, 1, … of `length` tokens that say which they are.
std::vector<std::vector<llm::token>> numbered(std::size_t count, std::size_t length, llm::token from = 0) {
    std::vector<std::vector<llm::token>> list;
    for (std::size_t i = 0; i < count; ++i)
        list.emplace_back(length, from + static_cast<llm::token>(i));
    return list;
}

std::vector<llm::token> ids(const std::vector<std::vector<llm::token>>& list) {
    std::vector<llm::token> result;
    for (const auto& window : list)
        result.push_back(window.front());
    return result;
}

}  // namespace

TEST_CASE("weighted windows: weights are those of all tokens together", "[llm]") {
    llm::weighted_windows all;
    CHECK(all.weight() == 0);
    all.add(numbered(4, 10), 40);
    CHECK(all.weights == std::vector<double>(4, 1.0));
    all.add(numbered(5, 3, 100), 20);
    CHECK(all.weight() == Approx(60).epsilon(1e-14));
    REQUIRE(all.windows.size() == 9);
    CHECK(all.windows[4] == std::vector<llm::token>(3, 100));
    CHECK(all.weights[8] == Approx(20.0 / 15));
    all.add({{1}, {2, 3, 4}}, 8);
    CHECK(all.weights[9] == 2);
    CHECK(all.weights[10] == 2);
    CHECK(all.weight() == Approx(68).epsilon(1e-14));
}

TEST_CASE("weighted windows are spread over the weight", "[llm]") {
    using list = std::vector<llm::token>;
    llm::weighted_windows all;
    all.add(numbered(12, 5), 60);
    CHECK(ids(all.spread(12)) == ids(all.windows));
    CHECK(ids(all.spread(100)) == ids(all.windows));
    CHECK(ids(all.spread(1)) == list{5});
    CHECK(ids(all.spread(3)) == list{1, 5, 9});
    for (std::size_t count = 1; count < 20; ++count)
        CHECK(all.spread(count).size() == std::min<std::size_t>(count, 12));
    // Half of the weight in few windows: half of those chosen.
    llm::weighted_windows uneven;
    uneven.add(numbered(8, 10), 30);
    uneven.add(numbered(64, 2, 100), 30);
    const auto chosen = ids(uneven.spread(16));
    CHECK(std::ranges::count_if(chosen, [](llm::token id) { return id < 100; }) == 8);
    CHECK(std::ranges::count_if(chosen, [](llm::token id) { return id >= 100; }) == 8);
    // One that counts for nothing is never chosen, one that counts for nearly all is chosen once.
    llm::weighted_windows extreme;
    extreme.add(numbered(1, 10), 0);
    extreme.add(numbered(1, 10, 1), 1000);
    extreme.add(numbered(3, 10, 2), 0.003);
    CHECK(ids(extreme.spread(4)) == list{1});
}

TEST_CASE("calibration: weights and moments of windows, against direct sums", "[llm]") {
    const llm_test::small_model where;
    const llm::model model(where.path());
    llm::weighted_windows all;
    all.add(where.windows(5, 20), 100);
    all.add(where.windows(7, 9), 31.5);
    std::vector<Eigen::MatrixXd> gram(model.sites());
    std::vector<Eigen::VectorXd> sum(model.sites());
    for (std::size_t i = 0; i < all.windows.size(); ++i)
        (void)model.hidden(all.windows[i], [&](std::size_t block, llm::site at, const Eigen::MatrixXf& x) {
            const auto site = model.site_index(block, at);
            if (gram[site].size() == 0) gram[site].setZero(x.rows(), x.rows());
            if (sum[site].size() == 0) sum[site].setZero(x.rows());
            const double weight = i < 5 ? 1.0 : 0.5;
            gram[site] += weight * x.cast<double>() * x.cast<double>().transpose();
            sum[site] += weight * x.cast<double>().rowwise().sum();
        });
    llm::progress silent;
    for (const auto about : {nsvd::moments::raw, nsvd::moments::central}) {
        const auto found = llm::gather(model, all, about, 1, silent);
        const auto threads = llm::gather(model, all, about, 3, silent);
        REQUIRE(found.size() == model.sites());
        for (std::size_t i = 0; i < found.size(); ++i) {
            CAPTURE(i);
            CHECK(found[i].about() == about);
            CHECK(found[i].weight() == Approx(131.5).epsilon(1e-14));
            CHECK(found[i].tokens() == 163);
            CHECK((found[i].gram() - gram[i]).norm() <= 1e-12 * gram[i].norm());
            CHECK((found[i].mean() - sum[i] / 131.5).norm() <= 1e-12 * sum[i].norm());
            CHECK(found[i].gram() == threads[i].gram());
            if (about == nsvd::moments::raw) continue;
            const Eigen::MatrixXd central = gram[i] - sum[i] * sum[i].transpose() / 131.5;
            CHECK((found[i].central_gram() - central).norm() <= 1e-12 * gram[i].norm());
        }
    }
}

TEST_CASE("calibration: text of the model's own counts half as much for each kind", "[llm]") {
    const llm_test::small_model where;
    const llm::model model(where.path());
    llm::progress silent;
    const auto tokens = where.source().tokens(640);
    auto all = llm::draw_text(tokens, {.context = 20, .windows = 30, .seed = 3}, "text");
    CHECK(all.weight() == 600);
    CHECK(all.weights == std::vector<double>(30, 1.0));
    const auto text = all.windows;
    llm::add_own_text(all, model, 7, 2, none, silent);
    REQUIRE(all.windows.size() == 30 + 64 + 64);
    CHECK(std::equal(text.begin(), text.end(), all.windows.begin()));
    CHECK(all.weight() == Approx(1200).epsilon(1e-13));
    double written = 0, random = 0;
    for (std::size_t i = 30; i < all.windows.size(); ++i) {
        CHECK(all.windows[i].size() == 20);
        CHECK(std::ranges::all_of(all.windows[i], [](llm::token id) { return id < 50; }));
        (i < 94 ? written : random) += all.weights[i] * 20;
    }
    CHECK(written == Approx(300).epsilon(1e-13));
    CHECK(random == Approx(300).epsilon(1e-13));
    // No longer than 256, and the same again.
    auto longer = llm::draw_text(where.source().tokens(900), {.context = 300}, "text");
    auto again = longer;
    llm::add_own_text(longer, model, 7, 1, none, silent);
    llm::add_own_text(again, model, 7, 3, none, silent);
    CHECK(longer.windows[3].size() == 256);
    CHECK(longer.windows.back().size() == 256);
    CHECK(longer.weight() == Approx(1800).epsilon(1e-13));
    CHECK(longer.windows == again.windows);
}
