// SPDX-License-Identifier: MIT
#include "perplexity.hpp"

#include "stream.hpp"
#include "threads.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace llm {

namespace {

constexpr std::size_t windows_at_once = 16;  // their residual streams are 0.5 GB at 2048 × 4096
constexpr Eigen::Index chunk = 256;          // logits of a large vocabulary are the largest matrix of all

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

/// Of a window and its hidden states.
double mean_nll(const model& m, std::span<const token> window, const Eigen::MatrixXf& hidden) {
    const Eigen::Index predictions = hidden.cols() - 1;
    double sum = 0;
    for_each_chunk(predictions, [&](Eigen::Index begin, Eigen::Index count) {
        const Eigen::MatrixXf logits = m.logits(hidden.middleCols(begin, count));
        for (Eigen::Index t = 0; t < count; ++t)
            sum += log_sum_exp(logits.col(t)) - static_cast<double>(logits(next_token(window, begin + t), t));
    });
    return sum / static_cast<double>(predictions);
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
    return mean_nll(m, window, m.hidden(window));
}

std::size_t evaluation_steps(const model& m, std::size_t tokens, std::size_t context) {
    return tokens / context * (m.shape().blocks + 1);
}

evaluation evaluate(const model& m, std::span<const token> tokens, std::size_t context,
                    const std::string& name, unsigned threads, progress& bar, const processes& world) {
    const auto all = windows(tokens, context, name);
    evaluation result;
    result.tokens = tokens.size();
    result.windows = all.size();
    result.predictions = all.size() * (context - 1);
    std::vector<std::span<const token>> list;
    for (std::size_t i = world.own(); i < all.size(); i += world.count())
        list.push_back(all[i]);
    std::vector<double> nll(list.size());
    const std::size_t group =
        std::max<std::size_t>(windows_at_once, threads == 0 ? default_threads() : threads);
    for (std::size_t first = 0; first < list.size(); first += group) {
        weighted_windows some;
        for (std::size_t i = first; i < std::min(first + group, list.size()); ++i)
            some.add({{list[i].begin(), list[i].end()}}, 1);
        const journal nothing_kept;
        text_stream stream(m, some, nothing_kept, "text");
        while (stream.block() < m.shape().blocks) {
            std::vector<linear> layers;
            for (const auto& layer : m.block(stream.block()))
                layers.push_back(layer.loaded());
            stream.advance(threads, [&](std::size_t, window_pass& pass) {
                m.pass_through(stream.block(), layers, pass);
                bar.step();
            });
        }
        parallel_for(stream.size(), threads, [&](std::size_t i) {
            nll[first + i] = mean_nll(m, list[first + i], m.finish(m.shape().blocks, stream.take(i)));
            bar.step();
        });
    }
    result.window_nll.resize(all.size());
    for (std::size_t i = 0; i < list.size(); ++i)
        result.window_nll[world.own() + i * world.count()] = nll[i];
    world.sum(result.window_nll);
    result.nll = std::accumulate(result.window_nll.begin(), result.window_nll.end(), 0.0) /
                 static_cast<double>(all.size());
    result.perplexity = std::exp(result.nll);
    return result;
}

}  // namespace llm
