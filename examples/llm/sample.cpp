// SPDX-License-Identifier: MIT
#include "sample.hpp"

#include "threads.hpp"

#include <algorithm>
#include <cmath>

namespace llm {
namespace {

/// In [0, 1): std::uniform_real_distribution differs between standard libraries.
double uniform(std::mt19937_64& random) {
    return static_cast<double>(random() >> 11U) * 0x1p-53;
}

token uniform_token(const model& m, std::mt19937_64& random) {
    const auto size = m.shape().vocab_size;
    return static_cast<token>(
        std::min(size - 1, static_cast<std::size_t>(uniform(random) * static_cast<double>(size))));
}

}  // namespace

token draw(const Eigen::Ref<const Eigen::VectorXf>& logits, double temperature, std::mt19937_64& random) {
    Eigen::Index id = 0;
    if (temperature == 0) {
        logits.maxCoeff(&id);
        return static_cast<token>(id);
    }
    const Eigen::ArrayXd weights =
        ((logits.cast<double>().array() - static_cast<double>(logits.maxCoeff())) / temperature).exp();
    double left = uniform(random) * weights.sum();
    while (id + 1 < weights.size() && left >= weights(id))
        left -= weights(id++);
    return static_cast<token>(id);
}

std::vector<std::vector<token>> uniform_windows(const model& m, std::size_t count, std::size_t length,
                                                std::uint64_t seed) {
    std::mt19937_64 random(seed);
    std::vector<std::vector<token>> windows(count, std::vector<token>(length));
    for (auto& window : windows)
        std::generate(window.begin(), window.end(), [&] { return uniform_token(m, random); });
    return windows;
}

std::vector<std::vector<token>> self_written_windows(const model& m, std::size_t count, std::size_t length,
                                                     double temperature, std::uint64_t seed, unsigned threads,
                                                     progress& bar, const processes& world) {
    constexpr std::size_t batch = 16;  // sequences that share the reading of the weights
    std::vector<std::vector<token>> windows(count);
    parallel_for((count + batch - 1) / batch, threads, [&](std::size_t job) {
        if (!world.has_turn(job)) return;
        const auto first = job * batch;
        const auto sequences = std::min(batch, count - first);
        attention_memory memory(m.shape(), sequences, length);
        std::vector<std::mt19937_64> random;
        std::vector<token> next;
        for (std::size_t s = 0; s < sequences; ++s) {
            random.emplace_back(seed + first + s);
            next.push_back(uniform_token(m, random.back()));
        }
        for (std::size_t t = 0; t < length; ++t) {
            for (std::size_t s = 0; s < sequences; ++s)
                windows[first + s].push_back(next[s]);
            if (t + 1 == length) break;
            const Eigen::MatrixXf logits = m.logits(m.hidden(next, memory));
            for (std::size_t s = 0; s < sequences; ++s)
                next[s] = draw(logits.col(static_cast<Eigen::Index>(s)), temperature, random[s]);
        }
        for (std::size_t s = 0; s < sequences; ++s)
            bar.step();
    });
    if (world.alone()) return windows;
    // Numbers of tokens are exact in double.
    std::vector<double> all(count * length, 0.0);
    for (std::size_t i = 0; i < count; ++i)
        std::copy(windows[i].begin(), windows[i].end(),
                  all.begin() + static_cast<std::ptrdiff_t>(i * length));
    world.sum(all);
    for (std::size_t i = 0; i < count; ++i) {
        windows[i].resize(length);
        for (std::size_t t = 0; t < length; ++t)
            windows[i][t] = static_cast<token>(all[i * length + t]);
    }
    return windows;
}

}  // namespace llm
