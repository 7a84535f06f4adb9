// SPDX-License-Identifier: MIT
#include "similarity.hpp"

#include "calibrate.hpp"
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
    std::vector<double> sums(pairs.size(), 0), counts(pairs.size(), 0);
    bar.expect(texts.size() * m.shape().blocks);
    for (std::size_t block = 0; block < m.shape().blocks; ++block) {
        const auto layers = m.block(block);
        for (const auto& where : m.block_sites()) {
            const auto features = static_cast<Eigen::Index>(m.site_features(m.site_index(block, where)));
            std::vector<nsvd::calibration<float>> inputs(texts.size(), nsvd::calibration<float>(features));
            parallel_for(texts.size(), threads, [&](std::size_t t) {
                for (auto& pass : passes[t]) {
                    m.reach(block, where, layers, pass);
                    add_input(inputs[t], where, pass, 1.0);
                    m.leave(block, where, layers, pass);
                }
            });
            parallel_for(pairs.size(), threads, [&](std::size_t i) {
                const auto &a = inputs[pairs[i].first], &b = inputs[pairs[i].second];
                if (a.tokens() == 0 || b.tokens() == 0) return;  // of an expert
                sums[i] += nsvd::similarity(a, b).grams;
                ++counts[i];
            });
        }
        for (std::size_t t = 0; t < texts.size(); ++t)
            bar.step();
    }
    result.values.assign(texts.size(), std::vector<double>(texts.size(), 1));
    for (std::size_t i = 0; i < pairs.size(); ++i) {
        const auto [a, b] = pairs[i];
        result.values[a][b] = result.values[b][a] = sums[i] / counts[i];
    }
    return result;
}

}  // namespace llm
