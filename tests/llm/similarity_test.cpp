// SPDX-License-Identifier: MIT
// How alike texts are, block by block, against the calibrations of all sites at once.
#include "llm/similarity.hpp"

#include "small_model.hpp"
#include "support/catch.hpp"

#include <nsvd/similarity.hpp>

TEST_CASE("similarity of texts is the mean over the sites", "[llm][similarity]") {
    const llm_test::small_model source;
    const llm::model m(source.path());
    std::vector<llm::named_windows> texts{{"a", {}}, {"b", {}}, {"c", {}}};
    texts[0].text.add(source.windows(3, 10), 30);
    texts[1].text.add({std::vector<llm::token>(12, 7), std::vector<llm::token>(12, 9)}, 24);
    texts[2].text = texts[0].text;
    llm::progress bar;
    const auto found = llm::measure_similarity(m, texts, 2, bar);
    CHECK(found.names == std::vector<std::string>{"a", "b", "c"});
    CHECK(found.windows == 3);
    const auto gathered = [&](std::size_t t) {
        return llm::gather(m, texts[t].text, nsvd::moments::raw, 1, bar);
    };
    const auto a = gathered(0), b = gathered(1);
    double mean = 0;
    for (std::size_t i = 0; i < m.sites(); ++i)
        mean += nsvd::similarity(a[i], b[i]).grams / static_cast<double>(m.sites());
    CHECK(mean < 0.95);
    CHECK(found.values[0][1] == Approx(mean).epsilon(1e-12));
    CHECK(found.values[1][0] == found.values[0][1]);
    CHECK(found.values[0][2] == Approx(1).epsilon(1e-12));
    CHECK(found.values[1][1] == 1);
    CHECK(llm::measure_similarity(m, texts, 1, bar).values == found.values);
}
