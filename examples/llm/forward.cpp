// SPDX-License-Identifier: MIT
#include "model.hpp"

#include <nsvd/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>
#include <vector>

namespace llm {
namespace {

using Eigen::Index;
using Eigen::MatrixXf;

/// Softmax of a column in place.
template <class Column>
void softmax(Column&& scores) {
    scores = (scores.array() - scores.maxCoeff()).exp();
    scores /= scores.sum();
}

/// What layers make of their common input: one by one, or the first of them for all, with the rows that each
/// has.
std::vector<MatrixXf> apply_together(block_layers layers, const MatrixXf& input,
                                     const std::vector<Index>& rows) {
    std::vector<MatrixXf> results;
    if (layers.back().cols() != 0) {
        for (const auto& layer : layers)
            results.push_back(layer.apply(input));
        return results;
    }
    const MatrixXf all = layers.front().apply(input);
    Index row = 0;
    for (const auto count : rows) {
        results.emplace_back(all.middleRows(row, count));
        row += count;
    }
    return results;
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
    const auto rows = [&](std::size_t heads) { return static_cast<Index>(heads) * dim; };
    auto parts =
        apply_together(layers_of(site::attention, layers), pass.input,
                       {rows(config_.heads), rows(config_.key_value_heads), rows(config_.key_value_heads)});
    auto &q = parts[0], &k = parts[1], &v = parts[2];
    if (pass.rotation) {
        rotate(q, *pass.rotation);
        rotate(k, *pass.rotation);
    }
    q *= 1 / std::sqrt(static_cast<float>(dim));

    attention_memory* memory = pass.memory;
    const Index sequences = memory != nullptr ? memory->sequences : 1;
    const Index before = memory != nullptr ? memory->length : 0;
    const Index length = q.cols() / sequences;
    const auto window = static_cast<Index>(config_.attention_window[block]);
    // The first token that the one at `position` sees.
    const auto first_seen = [&](Index position) {
        return window == 0 ? 0 : std::max<Index>(0, position - window + 1);
    };
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
                const Index low = first_seen(before + begin);
                const Index seen = before + begin + count - low;
                scores.noalias() = keys.middleCols(first + low, seen).transpose() *
                                   q.block(head * dim, column + begin, dim, count);
                for (Index t = 0; t < count; ++t) {
                    const Index hidden = first_seen(before + begin + t) - low;
                    scores.col(t).head(hidden).setZero();
                    softmax(scores.col(t).segment(hidden, seen - count + t + 1 - hidden));
                    scores.col(t).tail(count - t - 1).setZero();
                }
                result.block(head * dim, column + begin, dim, count).noalias() =
                    values.middleCols(first + low, seen) * scores;
            }
        }
    }
    return result;
}

block_layers model::layers_of(site where, block_layers layers) const {
    std::size_t before = 0;
    for (std::size_t i = 0; i < index_of(where); ++i)
        before += layers_at(all_sites[i]);
    return layers.subspan(before, layers_at(where));
}

window_pass model::embed(std::span<const token> tokens, Index sequences, Index first, Index length) const {
    const Index count = static_cast<Index>(tokens.size()) / sequences;
    const auto row = [](const MatrixXf& table, Index i) { return table.row(i).transpose(); };
    MatrixXf x(embedding_.cols(), static_cast<Index>(tokens.size()));
    for (Index t = 0; t < x.cols(); ++t)
        x.col(t) = row(embedding_, static_cast<Index>(tokens[static_cast<std::size_t>(t)]));
    window_pass pass{project_in_ ? MatrixXf(*project_in_ * x) : std::move(x), {}, nullptr};
    if (positions_) {
        const auto start = static_cast<Index>(config_.first_position) + first;
        if (start + count > positions_->rows())
            throw nsvd::error(fmt::format("{}: a text of {} tokens, max_position_embeddings is {}",
                                          (folder_ / "config.json").string(), first + count,
                                          config_.max_position_embeddings));
        for (Index t = 0; t < pass.residual.cols(); ++t)
            pass.residual.col(t) += row(*positions_, start + t % count);
    }
    pass.rotation = rotation(first, count, length, sequences);
    return pass;
}

std::shared_ptr<const MatrixXf> model::rotation(Index first, Index count, Index length,
                                                Index sequences) const {
    if (!config_.rotary) return nullptr;
    const auto dim = static_cast<Index>(config_.head_dim);
    return std::make_shared<const MatrixXf>(
        config_.rotary->table(dim, first, count, length).replicate(1, sequences));
}

window_pass model::start_from(MatrixXf residual) const {
    const Index length = residual.cols();
    return {std::move(residual), {}, rotation(0, length, length, 1), nullptr};
}

window_pass model::start(std::span<const token> window) const {
    return embed(window, 1, 0, static_cast<Index>(window.size()));
}

void model::reach(std::size_t block, site where, block_layers layers, window_pass& pass) const {
    const auto normalized = [&](const norm& n) {
        return config_.norm_before ? n.apply(pass.residual) : pass.residual;
    };
    switch (where) {
        case site::attention:
            pass.input = normalized(norms_[block].attention);
            return;
        case site::attention_output:
            pass.input = attention(block, layers, pass);
            return;
        case site::feed_forward:
            pass.input = normalized(norms_[block].feed_forward);
            return;
        case site::feed_forward_output: {
            const auto own = layers_of(site::feed_forward, layers);
            const auto size = static_cast<Index>(config_.intermediate_size);
            const auto parts = apply_together(own, pass.input, std::vector<Index>(own.size(), size));
            pass.input = activated(config_.act, parts[0]);
            if (config_.gated()) pass.input.array() *= parts[1].array();
            return;
        }
    }
}

void model::reach_from_start(std::size_t block, site where, block_layers layers, window_pass& pass) const {
    for (const auto before : all_sites) {
        reach(block, before, layers, pass);
        if (before == where) return;
        leave(block, before, layers, pass);
    }
}

void model::pass_through(std::size_t block, block_layers layers, window_pass& pass) const {
    reach_from_start(block, site::feed_forward_output, layers, pass);
    leave(block, site::feed_forward_output, layers, pass);
}

void model::leave(std::size_t block, site where, block_layers layers, window_pass& pass) const {
    if (where != site::attention_output && where != site::feed_forward_output) return;
    pass.residual += layers_of(where, layers).front().apply(pass.input);
    if (config_.norm_before) return;
    const auto& own = norms_[block];
    pass.residual = (where == site::attention_output ? own.attention : own.feed_forward).apply(pass.residual);
}

MatrixXf model::finish(std::size_t first, window_pass pass, const observer& observe) const {
    for (std::size_t i = first; i < config_.blocks; ++i) {
        for (const site where : all_sites) {
            reach(i, where, block(i), pass);
            if (observe) observe(i, where, pass.input);
            leave(i, where, block(i), pass);
        }
    }
    return last_norm_ ? last_norm_->apply(pass.residual) : std::move(pass.residual);
}

MatrixXf model::hidden(std::span<const token> next, attention_memory& memory) const {
    const auto count = static_cast<Index>(next.size()) / memory.sequences;
    const Index capacity = memory.keys.front().cols() / memory.sequences;
    if (static_cast<Index>(next.size()) != count * memory.sequences || memory.length + count > capacity)
        throw nsvd::error(fmt::format("{} more tokens for {} sequences of {} in a memory for {} each",
                                      next.size(), memory.sequences, memory.length, capacity));
    auto pass = embed(next, memory.sequences, memory.length, capacity);
    pass.memory = &memory;
    MatrixXf result = finish(0, std::move(pass));
    memory.length += count;
    return result;
}

MatrixXf model::logits(const Eigen::Ref<const MatrixXf>& hidden) const {
    const auto& head = head_ ? *head_ : embedding_;
    if (project_out_) return head * (*project_out_ * hidden);
    return head * hidden;
}

}  // namespace llm
