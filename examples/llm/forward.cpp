// SPDX-License-Identifier: MIT
#include "model.hpp"

#include <nsvd/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace llm {
namespace {

using Eigen::Index;
using Eigen::MatrixXf;
using Eigen::VectorXf;

/// x / √(mean(x²) + eps) · weight for every column; the mean in double, for outlier channels.
MatrixXf rms_norm(const MatrixXf& x, const VectorXf& weight, double eps) {
    MatrixXf result(x.rows(), x.cols());
    for (Index t = 0; t < x.cols(); ++t) {
        const double mean = x.col(t).cast<double>().squaredNorm() / static_cast<double>(x.rows());
        result.col(t) = x.col(t).cwiseProduct(weight) * static_cast<float>(1 / std::sqrt(mean + eps));
    }
    return result;
}

/// cos (first half of the rows) and sin (second half) of position·theta^(−2i/d), i < d/2, for `count`
/// positions from `first` on, repeated for each sequence: d × (count · sequences).
MatrixXf rotation_table(const config& shape, Index first, Index count, Index sequences = 1) {
    const auto half = static_cast<Index>(shape.head_dim / 2);
    MatrixXf table(2 * half, count);
    for (Index i = 0; i < half; ++i) {
        const double frequency =
            std::pow(shape.rope_theta, -static_cast<double>(i) / static_cast<double>(half));
        for (Index t = 0; t < count; ++t) {
            const double angle = static_cast<double>(first + t) * frequency;
            table(i, t) = static_cast<float>(std::cos(angle));
            table(half + i, t) = static_cast<float>(std::sin(angle));
        }
    }
    return table.replicate(1, sequences);
}

/// Rotary positions in place, in Hugging Face's convention: row i of a head is paired with row i + d/2.
void rotate(MatrixXf& x, const MatrixXf& table) {
    const Index half = table.rows() / 2;
    const auto cosine = table.topRows(half).array();
    const auto sine = table.bottomRows(half).array();
    for (Index head = 0; head < x.rows(); head += 2 * half) {
        auto first = x.middleRows(head, half).array();
        auto second = x.middleRows(head + half, half).array();
        const Eigen::ArrayXXf old = first;
        first = old * cosine - second * sine;
        second = second * cosine + old * sine;
    }
}

/// Softmax of a column in place.
template <class Column>
void softmax(Column&& scores) {
    scores = (scores.array() - scores.maxCoeff()).exp();
    scores /= scores.sum();
}

MatrixXf silu_times(const MatrixXf& gate, const MatrixXf& up) {
    return gate.array() / (1 + (-gate.array()).exp()) * up.array();
}

}  // namespace

attention_memory::attention_memory(const config& shape, std::size_t sequences_, std::size_t capacity)
    : sequences(static_cast<Index>(sequences_)) {
    const auto features = static_cast<Index>(shape.key_value_heads * shape.head_dim);
    for (std::size_t block = 0; block < shape.blocks; ++block)
        for (auto* part : {&keys, &values})
            part->emplace_back(features, sequences * static_cast<Index>(capacity));
}

MatrixXf model::attention(std::size_t block, block_layers layers, const window_pass& pass) const {
    constexpr Index queries = 64;  // in one step: keeps the scores small, and skips most of the masked half
    const auto dim = static_cast<Index>(config_.head_dim);
    const auto group = static_cast<Index>(config_.heads / config_.key_value_heads);
    const auto apply = [&](projection which) -> MatrixXf {
        return layers[static_cast<std::size_t>(which)].apply(pass.input);
    };
    MatrixXf q = apply(projection::q);
    MatrixXf k = apply(projection::k);
    MatrixXf v = apply(projection::v);
    rotate(q, *pass.rotation);
    rotate(k, *pass.rotation);
    q *= 1 / std::sqrt(static_cast<float>(dim));

    attention_memory* memory = pass.memory;
    const Index sequences = memory != nullptr ? memory->sequences : 1;
    const Index before = memory != nullptr ? memory->length : 0;
    const Index length = q.cols() / sequences;
    MatrixXf result(q.rows(), q.cols());
    MatrixXf scores;
    for (Index sequence = 0; sequence < sequences; ++sequence) {
        const Index column = sequence * length;  // of the sequence's first token here
        Index first = column;                    // of its first key
        if (memory != nullptr) {
            first = sequence * (memory->keys[block].cols() / sequences);
            memory->keys[block].middleCols(first + before, length) = k.middleCols(column, length);
            memory->values[block].middleCols(first + before, length) = v.middleCols(column, length);
        }
        const MatrixXf& all_keys = memory != nullptr ? memory->keys[block] : k;
        const MatrixXf& all_values = memory != nullptr ? memory->values[block] : v;
        for (Index head = 0; head * dim < q.rows(); ++head) {
            const auto keys = all_keys.middleRows(head / group * dim, dim);
            const auto values = all_values.middleRows(head / group * dim, dim);
            for (Index begin = 0; begin < length; begin += queries) {
                const Index count = std::min(queries, length - begin);
                const Index seen = before + begin + count;
                scores.noalias() = keys.middleCols(first, seen).transpose() *
                                   q.block(head * dim, column + begin, dim, count);
                for (Index t = 0; t < count; ++t) {
                    softmax(scores.col(t).head(seen - count + t + 1));
                    scores.col(t).tail(count - t - 1).setZero();
                }
                result.block(head * dim, column + begin, dim, count).noalias() =
                    values.middleCols(first, seen) * scores;
            }
        }
    }
    return result;
}

MatrixXf model::embed(std::span<const token> tokens) const {
    MatrixXf x(embedding_.cols(), static_cast<Index>(tokens.size()));
    for (Index t = 0; t < x.cols(); ++t)
        x.col(t) = embedding_.row(static_cast<Index>(tokens[static_cast<std::size_t>(t)])).transpose();
    return x;
}

window_pass model::start(std::span<const token> window) const {
    return {embed(window),
            {},
            std::make_shared<MatrixXf>(rotation_table(config_, 0, static_cast<Index>(window.size())))};
}

void model::reach(std::size_t block, site where, block_layers layers, window_pass& pass) const {
    const auto apply = [&](projection which) -> MatrixXf {
        return layers[static_cast<std::size_t>(which)].apply(pass.input);
    };
    switch (where) {
        case site::attention:
            pass.input = rms_norm(pass.residual, norms_[block].attention, config_.rms_norm_eps);
            return;
        case site::attention_output:
            pass.input = attention(block, layers, pass);
            return;
        case site::feed_forward:
            pass.input = rms_norm(pass.residual, norms_[block].feed_forward, config_.rms_norm_eps);
            return;
        case site::feed_forward_output:
            pass.input = silu_times(apply(projection::gate), apply(projection::up));
            return;
    }
}

void model::leave(site where, block_layers layers, window_pass& pass) const {
    const auto add = [&](projection which) {
        pass.residual += layers[static_cast<std::size_t>(which)].apply(pass.input);
    };
    if (where == site::attention_output) add(projection::o);
    if (where == site::feed_forward_output) add(projection::down);
}

MatrixXf model::finish(std::size_t first, window_pass pass, const observer& observe) const {
    for (std::size_t i = first; i < config_.blocks; ++i) {
        for (const site where : all_sites) {
            reach(i, where, block(i), pass);
            if (observe) observe(i, where, pass.input);
            leave(where, block(i), pass);
        }
    }
    return rms_norm(pass.residual, last_norm_, config_.rms_norm_eps);
}

MatrixXf model::hidden(std::span<const token> next, attention_memory& memory) const {
    const auto count = static_cast<Index>(next.size()) / memory.sequences;
    const Index capacity = memory.keys.front().cols() / memory.sequences;
    if (static_cast<Index>(next.size()) != count * memory.sequences || memory.length + count > capacity)
        throw nsvd::error(fmt::format("{} more tokens for {} sequences of {} in a memory for {} each",
                                      next.size(), memory.sequences, memory.length, capacity));
    const auto rotation =
        std::make_shared<MatrixXf>(rotation_table(config_, memory.length, count, memory.sequences));
    MatrixXf result = finish(0, {embed(next), {}, rotation, &memory});
    memory.length += count;
    return result;
}

MatrixXf model::logits(const Eigen::Ref<const MatrixXf>& hidden) const {
    return (head_ ? *head_ : embedding_) * hidden;
}

}  // namespace llm
