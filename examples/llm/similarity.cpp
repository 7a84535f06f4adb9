// SPDX-License-Identifier: MIT
#include "similarity.hpp"

#include "threads.hpp"

#include <nsvd/similarity.hpp>

#include <algorithm>
#include <cstddef>
#include <utility>

namespace llm {

text_similarity measure_similarity(const model& m, const std::vector<named_windows>& texts, unsigned threads,
                                   progress& bar) {
    text_similarity result;
    std::vector<std::vector<window_pass>> passes(texts.size());
    for (std::size_t t = 0; t < texts.size(); ++t) {
        result.names.push_back(texts[t].name);
        result.windows = std::max(result.windows, static_cast<std::int64_t>(texts[t].text.windows.size()));
        for (const auto& window : texts[t].text.windows)
            passes[t].push_back(m.start(window));
    }
    std::vector<std::pair<std::size_t, std::size_t>> pairs;
    for (std::size_t a = 0; a < texts.size(); ++a) {
        for (std::size_t b = 0; b < a; ++b)
            pairs.emplace_back(a, b);
    }
    std::vector<double> sums(pairs.size(), 0);
    bar.expect(texts.size() * m.shape().blocks);
    for (std::size_t block = 0; block < m.shape().blocks; ++block) {
        const auto layers = m.block(block);
        for (const site where : all_sites) {
            const auto features = static_cast<Eigen::Index>(m.site_features(model::site_index(block, where)));
            std::vector<nsvd::calibration<float>> inputs(texts.size(), nsvd::calibration<float>(features));
            parallel_for(texts.size(), threads, [&](std::size_t t) {
                for (auto& pass : passes[t]) {
                    m.reach(block, where, layers, pass);
                    inputs[t].update(pass.input);
                    m.leave(block, where, layers, pass);
                }
            });
            parallel_for(pairs.size(), threads, [&](std::size_t i) {
                sums[i] += nsvd::similarity(inputs[pairs[i].first], inputs[pairs[i].second]).grams;
            });
        }
        for (std::size_t t = 0; t < texts.size(); ++t)
            bar.step();
    }
    result.values.assign(texts.size(), std::vector<double>(texts.size(), 1));
    for (std::size_t i = 0; i < pairs.size(); ++i) {
        const auto [a, b] = pairs[i];
        result.values[a][b] = result.values[b][a] = sums[i] / static_cast<double>(m.sites());
    }
    return result;
}

}  // namespace llm
