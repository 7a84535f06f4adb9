// SPDX-License-Identifier: MIT
#include "perplexity.hpp"

#include "threads.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace llm {

double window_nll(const model& m, std::span<const token> window) {
    constexpr Eigen::Index chunk = 256;  // logits of a large vocabulary are the largest matrix of all
    const Eigen::MatrixXf hidden = m.hidden(window);
    const Eigen::Index predictions = hidden.cols() - 1;
    double sum = 0;
    for (Eigen::Index begin = 0; begin < predictions; begin += chunk) {
        const Eigen::MatrixXf logits =
            m.logits(hidden.middleCols(begin, std::min(chunk, predictions - begin)));
        for (Eigen::Index t = 0; t < logits.cols(); ++t) {
            const float max = logits.col(t).maxCoeff();
            const double total = (logits.col(t).array() - max).exp().cast<double>().sum();
            const auto next = window[static_cast<std::size_t>(begin + t + 1)];
            sum += std::log(total) + max - logits(static_cast<Eigen::Index>(next), t);
        }
    }
    return sum / static_cast<double>(predictions);
}

evaluation evaluate(const model& m, std::span<const token> tokens, std::size_t context,
                    const std::string& name, unsigned threads, progress& bar) {
    const auto list = windows(tokens, context, name);
    evaluation result;
    result.tokens = tokens.size();
    result.windows = list.size();
    result.predictions = list.size() * (context - 1);
    result.window_nll.resize(list.size());
    parallel_for(list.size(), threads, [&](std::size_t i) {
        result.window_nll[i] = window_nll(m, list[i]);
        bar.step();
    });
    result.nll = std::accumulate(result.window_nll.begin(), result.window_nll.end(), 0.0) /
                 static_cast<double>(list.size());
    result.perplexity = std::exp(result.nll);
    return result;
}

}  // namespace llm
