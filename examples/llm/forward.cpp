// SPDX-License-Identifier: MIT
#include "latent.hpp"
#include "model.hpp"
#include "product.hpp"

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

/// What q, k and v of a block are made of: three layers, or one.
class attention_source {
public:
    struct result {
        MatrixXf q, k, v;  ///< features, or latents where asked for; no v where its latents are those of k
    };

    attention_source(block_layers layers, Index query_rows, Index key_value_rows)
        : layers_(layers), queries_(query_rows), features_(key_value_rows) {}

    [[nodiscard]] result parts(const MatrixXf& input, bool latent_keys, bool latent_values) const {
        if (fused() && latent_keys) {
            MatrixXf z = latents(layers_[0], input);
            MatrixXf q = latent_rows(layers_[0], 0, queries_).apply(z);
            return {std::move(q), std::move(z), {}};
        }
        if (fused()) {
            auto all = apply_together(layers_, input, {queries_, features_, features_});
            return {std::move(all[0]), std::move(all[1]), std::move(all[2])};
        }
        const auto part = [&](const linear& layer, bool latent) {
            return latent ? latents(layer, input) : layer.apply(input);
        };
        return {layers_[0].apply(input), part(layers_[1], latent_keys), part(layers_[2], latent_values)};
    }

    // What makes features of latents, those from `row` on.
    [[nodiscard]] latent_rows keys(Index row, Index count) const {
        return fused() ? latent_rows(layers_[0], queries_ + row, count) : latent_rows(layers_[1], row, count);
    }
    [[nodiscard]] latent_rows values(Index row, Index count) const {
        return fused() ? latent_rows(layers_[0], queries_ + features_ + row, count)
                       : latent_rows(layers_[2], row, count);
    }

private:
    [[nodiscard]] bool fused() const { return layers_.back().cols() == 0; }

    block_layers layers_;
    Index queries_, features_;
};

}  // namespace

MatrixXf model::attention(std::size_t block, block_layers layers, const window_pass& pass) const {
    constexpr Index queries = 64;  // in one step: keeps the scores small, and skips most of the masked half
    const auto dim = static_cast<Index>(config_.head_dim);
    const auto group = static_cast<Index>(config_.heads / config_.key_value_heads);
    const auto rows = [&](std::size_t heads) { return static_cast<Index>(heads) * dim; };
    const Index features = rows(config_.key_value_heads);
    attention_memory* memory = pass.memory;
    auto* kept = memory != nullptr ? &memory->blocks[block] : nullptr;
    const auto own = layers_of(site::attention, layers);
    const auto source = attention_source(own, rows(config_.heads), features);
    auto [q, k, v] = kept != nullptr ? source.parts(pass.input, kept->latent_keys, kept->latent_values)
                                     : source.parts(pass.input, false, false);
    const bool latent_keys = kept != nullptr && kept->latent_keys;
    const bool latent_values = kept != nullptr && kept->latent_values;
    if (pass.rotation) {
        rotate(q, *pass.rotation);
        if (!latent_keys) rotate(k, *pass.rotation);
    }
    q *= 1 / std::sqrt(static_cast<float>(dim));

    const Index sequences = memory != nullptr ? memory->sequences : 1;
    const Index before = memory != nullptr ? memory->length : 0;
    const Index length = q.cols() / sequences;
    const auto window = static_cast<Index>(config_.attention_window[block]);
    // The first token that the one at `position` sees.
    const auto first_seen = [&](Index position) {
        return window == 0 ? 0 : std::max<Index>(0, position - window + 1);
    };
    // Features of all tokens from latents, or latents through attention: whichever is less work. Rotation
    // stands between the latents of k and attention.
    const bool many = length * group > dim;
    const bool rebuilt_keys = latent_keys && (many || pass.rotation);
    const bool rebuilt_values = latent_values && many;

    MatrixXf result(q.rows(), q.cols());
    MatrixXf scores;
    for (Index sequence = 0; sequence < sequences; ++sequence) {
        const Index column = sequence * length;  // of the sequence's first token here
        // Where the keys and values of all tokens are, and the column of the one at position 0.
        const MatrixXf *all_keys = &k, *all_values = &v;
        Index first_key = column, first_value = column;
        MatrixXf made_keys, made_values;
        if (kept != nullptr) {
            const Index first = sequence * memory->capacity;
            kept->keys.middleCols(first + before, length) = k.middleCols(column, length);
            auto& values = kept->values.size() != 0 ? kept->values : kept->keys;
            if (kept->values.size() != 0)
                values.middleCols(first + before, length) = v.middleCols(column, length);
            all_keys = &kept->keys;
            all_values = &values;
            first_key = first_value = first;
            const Index low = first_seen(before), seen = before + length - low;
            if (rebuilt_keys) {
                made_keys = source.keys(0, features).apply(all_keys->middleCols(first + low, seen));
                if (pass.rotation) rotate(made_keys, memory->rotation.middleCols(low, seen));
                all_keys = &made_keys;
                first_key = -low;
            }
            if (rebuilt_values) {
                made_values = source.values(0, features).apply(all_values->middleCols(first + low, seen));
                all_values = &made_values;
                first_value = -low;
            }
        }
        const bool through_keys = latent_keys && !rebuilt_keys;
        const bool through_values = latent_values && !rebuilt_values;
        for (Index head = 0; head * dim < q.rows(); ++head) {
            const Index row = head / group * dim;
            const auto keys =
                through_keys ? all_keys->middleRows(0, all_keys->rows()) : all_keys->middleRows(row, dim);
            const auto values = through_values ? all_values->middleRows(0, all_values->rows())
                                               : all_values->middleRows(row, dim);
            // (L z + b)ᵀ q = zᵀ (Lᵀ q) + bᵀ q, and softmax takes away what is the same for all tokens.
            MatrixXf query = q.block(head * dim, column, dim, length);
            if (through_keys) query = source.keys(row, dim).apply_transposed(query);
            for (Index begin = 0; begin < length; begin += queries) {
                const Index count = std::min(queries, length - begin);
                const Index low = first_seen(before + begin);
                const Index seen = before + begin + count - low;
                scores.noalias() =
                    keys.middleCols(first_key + low, seen).transpose() * query.middleCols(begin, count);
                for (Index t = 0; t < count; ++t) {
                    const Index hidden = first_seen(before + begin + t) - low;
                    scores.col(t).head(hidden).setZero();
                    softmax(scores.col(t).segment(hidden, seen - count + t + 1 - hidden));
                    scores.col(t).tail(count - t - 1).setZero();
                }
                auto seen_values = result.block(head * dim, column + begin, dim, count);
                if (through_values)  // the scores of a token add up to 1, and so does what they take of b
                    seen_values =
                        source.values(row, dim).apply(values.middleCols(first_value + low, seen) * scores);
                else
                    seen_values.noalias() = values.middleCols(first_value + low, seen) * scores;
            }
        }
    }
    return result;
}

block_layers model::layers_of(const site& where, block_layers layers) const {
    std::size_t before = 0;
    for (const auto kind : site_kinds) {
        const bool earlier = index_of(kind) < index_of(where.kind);
        before += layers_at(kind) * ((earlier ? 1 : 0) + (is_of_experts(kind) ? where.expert : 0));
    }
    return layers.subspan(before, layers_at(where.kind));
}

window_pass model::embed(std::span<const token> tokens, Index sequences, Index first, Index length) const {
    const Index count = static_cast<Index>(tokens.size()) / sequences;
    const auto row = [](const MatrixXf& table, Index i) { return table.row(i).transpose(); };
    MatrixXf x(embedding_.cols(), static_cast<Index>(tokens.size()));
    for (Index t = 0; t < x.cols(); ++t)
        x.col(t) = row(embedding_, static_cast<Index>(tokens[static_cast<std::size_t>(t)]));
    window_pass pass;
    pass.residual = project_in_ ? MatrixXf(*project_in_ * x) : std::move(x);
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
    window_pass pass;
    pass.residual = std::move(residual);
    pass.rotation = rotation(0, length, length, 1);
    return pass;
}

window_pass model::start(std::span<const token> window) const {
    return embed(window, 1, 0, static_cast<Index>(window.size()));
}

void model::reach(std::size_t block, const site& where, block_layers layers, window_pass& pass) const {
    const auto normalized = [&](const norm& n) {
        return config_.norm_before ? n.apply(pass.residual) : pass.residual;
    };
    switch (where.kind) {
        case site_kind::attention:
            pass.input = normalized(norms_[block].attention);
            return;
        case site_kind::attention_output:
            pass.input = attention(block, layers, pass);
            return;
        case site_kind::feed_forward:
            if (where.expert == 0) pass.input = normalized(norms_[block].feed_forward);
            if (config_.experts > 0) reach_expert(block, where.expert, pass);
            return;
        case site_kind::feed_forward_output: {
            if (pass.input.cols() == 0) {
                pass.input.resize(static_cast<Index>(config_.intermediate_size), 0);
                return;
            }
            const auto own = layers_of({site_kind::feed_forward, where.expert}, layers);
            const auto size = static_cast<Index>(config_.intermediate_size);
            const auto parts = apply_together(own, pass.input, std::vector<Index>(own.size(), size));
            pass.input = activated(config_.act, parts[0]);
            if (config_.gated()) pass.input.array() *= parts[1].array();
            return;
        }
    }
}

void model::reach_expert(std::size_t block, std::size_t expert, window_pass& pass) const {
    if (expert == 0) {
        pass.common_input = std::move(pass.input);
        pass.routes = pass.given_routes
                          ? pass.given_routes
                          : std::make_shared<const routing>(route(product(routers_[block], pass.common_input),
                                                                  config_.experts_per_token));
        pass.mixed.setZero(pass.residual.rows(), pass.residual.cols());
    }
    pass.input = pass.common_input(Eigen::all, pass.routes->experts[expert].tokens);
}

void model::leave_expert(std::size_t expert, const linear& layer, window_pass& pass) const {
    const auto& own = pass.routes->experts[expert];
    if (!own.tokens.empty()) {
        const MatrixXf made = layer.apply(pass.input);
        for (Index i = 0; i < made.cols(); ++i)
            pass.mixed.col(own.tokens[static_cast<std::size_t>(i)]) += own.weights(i) * made.col(i);
    }
    if (expert + 1 == config_.experts) pass.residual += pass.mixed;
}

Eigen::VectorXd window_pass::input_weights(const site& where) const {
    if (!routes || !is_of_experts(where.kind)) return Eigen::VectorXd::Ones(input.cols());
    return routes->experts[where.expert].weights.cast<double>().cwiseAbs2();
}

void model::reach_all(std::size_t block, site_kind kind, block_layers layers, window_pass& pass,
                      const site_visitor& visit) const {
    for (const auto& where : block_sites_) {
        // What an expert writes is no input of another.
        if (index_of(where.kind) > index_of(kind)) continue;
        reach(block, where, layers, pass);
        if (where.kind == kind)
            visit(where);
        else
            leave(block, where, layers, pass);
    }
}

void model::pass_through(std::size_t block, block_layers layers, window_pass& pass) const {
    for (const auto& where : block_sites_) {
        reach(block, where, layers, pass);
        leave(block, where, layers, pass);
    }
}

void model::leave(std::size_t block, const site& where, block_layers layers, window_pass& pass) const {
    if (!where.writes()) return;
    const auto& layer = layers_of(where, layers).front();
    if (config_.experts > 0 && is_of_experts(where.kind))
        leave_expert(where.expert, layer, pass);
    else
        pass.residual += layer.apply(pass.input);
    if (config_.norm_before) return;
    const auto& own = norms_[block];
    pass.residual =
        (where.kind == site_kind::attention_output ? own.attention : own.feed_forward).apply(pass.residual);
}

MatrixXf model::finish(std::size_t first, window_pass pass, const observer& observe) const {
    for (std::size_t i = first; i < config_.blocks; ++i) {
        for (const auto& where : block_sites_) {
            reach(i, where, block(i), pass);
            if (observe) observe(i, where, pass.input);
            leave(i, where, block(i), pass);
        }
    }
    return last_norm_ ? last_norm_->apply(pass.residual) : std::move(pass.residual);
}

MatrixXf model::hidden(std::span<const token> next, attention_memory& memory) const {
    const auto count = static_cast<Index>(next.size()) / memory.sequences;
    if (static_cast<Index>(next.size()) != count * memory.sequences ||
        memory.length + count > memory.capacity)
        throw nsvd::error(fmt::format("{} more tokens for {} sequences of {} in a memory for {} each",
                                      next.size(), memory.sequences, memory.length, memory.capacity));
    auto pass = embed(next, memory.sequences, memory.length, memory.capacity);
    pass.memory = &memory;
    MatrixXf result = finish(0, std::move(pass));
    memory.length += count;
    return result;
}

MatrixXf model::logits(const Eigen::Ref<const MatrixXf>& hidden) const {
    const auto& head = head_ ? *head_ : embedding_;
    MatrixXf result = project_out_ ? product(head, product(*project_out_, hidden)) : product(head, hidden);
    if (!result.allFinite())
        throw nsvd::error(folder().string() + ": its output is not finite: weights or config.json are wrong");
    return result;
}

}  // namespace llm
