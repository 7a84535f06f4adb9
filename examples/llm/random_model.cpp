// SPDX-License-Identifier: MIT
#include "random_model.hpp"

#include <nsvd/error.hpp>

#include <fmt/format.h>

#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

namespace llm {
namespace {

using Eigen::Index;
using Eigen::MatrixXf;

/// Uniform of variance `scale`² around 0. A hash of the position: a generator would take as long as reading
/// a model of this size.
MatrixXf random_numbers(Index rows, Index cols, double scale, std::uint64_t seed) {
    MatrixXf a(rows, cols);
    const auto key = static_cast<std::uint32_t>(seed * 0x9E3779B97F4A7C15U >> 32U);
    const auto factor = static_cast<float>(scale * std::sqrt(3.0) * 0x1p-31);
    float* numbers = a.data();
    for (Index i = 0; i < a.size(); ++i) {
        auto x = static_cast<std::uint32_t>(i) ^ key;
        x = (x ^ x >> 16U) * 0x7FEB352DU;
        x = (x ^ x >> 15U) * 0x846CA68BU;
        numbers[i] = factor * static_cast<float>(static_cast<std::int32_t>(x ^ x >> 16U));
    }
    return a;
}

/// Of weights whose products with inputs of variance 1 have variance 1.
double scale_for(Index inputs) {
    return 1 / std::sqrt(static_cast<double>(inputs));
}

linear random_linear(std::size_t i, Index m, Index n, const std::optional<nsvd::compression>& compression) {
    const auto seed = 2 * i + 100;
    if (!compression) return linear(random_numbers(m, n, scale_for(n), seed));
    const Index k = (*compression)({m, n});
    if (compression->storage == nsvd::storage::plain)
        return linear(nsvd::low_rank<float>{random_numbers(m, k, scale_for(k), seed),
                                            random_numbers(k, n, scale_for(n), seed + 1)});
    std::vector<Index> kept;  // spread evenly
    for (Index j = 0; j < k; ++j)
        kept.push_back(j * m / k);
    return linear(nsvd::pivoted_low_rank<float>{nsvd::lines::rows, std::move(kept),
                                                random_numbers(m - k, k, scale_for(k), seed),
                                                random_numbers(k, n, scale_for(n), seed + 1)});
}

}  // namespace

model::model(config shape, const std::function<linear(std::size_t, Index, Index)>& make)
    : config_(std::move(shape)) {
    const auto& c = config_;
    list_places();
    const auto index = [](std::size_t size) { return static_cast<Index>(size); };
    const auto vocabulary = index(c.vocab_size), hidden = index(c.hidden_size);
    const auto features = index(c.embedding_size);
    const auto between = [&](Index rows, Index cols, std::uint64_t seed) {
        return random_numbers(rows, cols, scale_for(cols), seed);
    };
    embedding_ = between(vocabulary, features, 1);
    if (!c.tied_embeddings) head_ = between(vocabulary, features, 2);
    if (!c.names.positions.empty())
        positions_ = between(index(c.first_position + c.max_position_embeddings), hidden, 3);
    if (!c.names.project_in.empty()) project_in_ = between(hidden, features, 4);
    if (!c.names.project_out.empty()) project_out_ = between(features, hidden, 5);
    const norm ones{c.norms, c.norm_eps, {}, {}};
    if (!c.names.last_norm.empty()) last_norm_ = ones;
    norms_.assign(c.blocks, {ones, ones});
    for (std::size_t i = 0; c.experts > 0 && i < c.blocks; ++i)
        routers_.push_back(between(index(c.experts), hidden, 6 + i));
    for (std::size_t i = 0; i < c.blocks * layers_per_block_; ++i) {
        const auto [rows, cols] = layer_shape(i);
        layers_.push_back(make(i, rows, cols));
        layer_dtypes_.push_back(nsvd::safetensors::dtype::F32);
    }
}

model random_model(const config& shape, const std::optional<nsvd::compression>& compression, progress& bar) {
    return {shape, [&](std::size_t i, Index m, Index n) {
                bar.step();
                try {
                    return random_linear(i, m, n, compression);
                } catch (const nsvd::error& e) {
                    throw nsvd::error(fmt::format("layer {}: {}", i, e.what()));
                }
            }};
}

}  // namespace llm
