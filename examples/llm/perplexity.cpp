// SPDX-License-Identifier: MIT
#include "perplexity.hpp"

#include "threads.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace llm {

namespace {

constexpr Eigen::Index chunk = 256;  // logits of a large vocabulary are the largest matrix of all

/// log Σ exp of a column, in double.
double log_sum_exp(const Eigen::Ref<const Eigen::VectorXf>& logits) {
    const float max = logits.maxCoeff();
    return std::log((logits.array() - max).exp().cast<double>().sum()) + static_cast<double>(max);
}

/// Calls `visit(first, count)` for the positions that predict something, some at a time.
template <class Visit>
void for_each_chunk(Eigen::Index predictions, const Visit& visit) {
    for (Eigen::Index begin = 0; begin < predictions; begin += chunk)
        visit(begin, std::min(chunk, predictions - begin));
}

Eigen::Index next_token(std::span<const token> window, Eigen::Index position) {
    return static_cast<Eigen::Index>(window[static_cast<std::size_t>(position + 1)]);
}

}  // namespace

prediction_change compare_predictions(const model& m, std::span<const token> window,
                                      const Eigen::MatrixXf& before, const Eigen::MatrixXf& after) {
    const Eigen::Index predictions = after.cols() - 1;
    prediction_change sum;
    for_each_chunk(predictions, [&](Eigen::Index begin, Eigen::Index count) {
        const Eigen::MatrixXf p = m.logits(before.middleCols(begin, count));
        const Eigen::MatrixXf q = m.logits(after.middleCols(begin, count));
        for (Eigen::Index t = 0; t < count; ++t) {
            const double p_scale = log_sum_exp(p.col(t));
            const double q_scale = log_sum_exp(q.col(t));
            const auto log_p = p.col(t).cast<double>().array() - p_scale;
            const auto log_q = q.col(t).cast<double>().array() - q_scale;
            sum.divergence += (log_p.exp() * (log_p - log_q)).sum();
            sum.nll += q_scale - static_cast<double>(q(next_token(window, begin + t), t));
        }
    });
    const double n = static_cast<double>(predictions);
    return {sum.divergence / n, sum.nll / n};
}

double window_nll(const model& m, std::span<const token> window) {
    const Eigen::MatrixXf hidden = m.hidden(window);
    const Eigen::Index predictions = hidden.cols() - 1;
    double sum = 0;
    for_each_chunk(predictions, [&](Eigen::Index begin, Eigen::Index count) {
        const Eigen::MatrixXf logits = m.logits(hidden.middleCols(begin, count));
        for (Eigen::Index t = 0; t < count; ++t)
            sum += log_sum_exp(logits.col(t)) - static_cast<double>(logits(next_token(window, begin + t), t));
    });
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
