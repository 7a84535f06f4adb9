// SPDX-License-Identifier: MIT
#include "ranks.hpp"

#include <nsvd/error.hpp>
#include <nsvd/rank/compression.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace llm {
namespace {

std::int64_t item_size(const model& m, std::size_t layer) {
    return static_cast<std::int64_t>(nsvd::safetensors::size_of(m.layer_dtype(layer)));
}

nsvd::shape shape_of(const model& m, std::size_t layer) {
    const auto [rows, cols] = m.layer_shape(layer);
    return {rows, cols};
}

/// Bytes of a bias for each layer that has none.
std::int64_t bias_bytes(const model& m) {
    std::int64_t bytes = 0;
    for (std::size_t i = 0; i < m.layers(); ++i)
        if (m.layer(i).bias().size() == 0) bytes += item_size(m, i) * shape_of(m, i).rows;
    return bytes;
}

/// The rank of nsvd::compression, with the layer's name in front of its errors.
Eigen::Index uniform_rank(const std::string& name, const nsvd::shape& shape, double compression) {
    try {
        return nsvd::compression{compression}(shape);
    } catch (const nsvd::error& e) {
        throw nsvd::error(fmt::format("layer {}: {}", name, e.what()));
    }
}

/// Perplexity against rank, between measured ranks by straight lines.
class sensitivity_curve {
public:
    sensitivity_curve(const unit_effects& measured, Eigen::Index full) {
        for (const auto& e : measured.effects)
            points_.push_back({e.rank, e.nll});
        points_.push_back({full, measured.dense_nll});
        // What a larger rank does worse, a smaller one does as well.
        for (std::size_t i = points_.size() - 1; i-- > 0;)
            points_[i].nll = std::max(points_[i].nll, points_[i + 1].nll);
    }

    /// The least rank at which the nll is no more than `bound`; the full one where none is.
    [[nodiscard]] Eigen::Index least_rank(double bound) const {
        if (points_.front().nll <= bound) return points_.front().rank;
        for (std::size_t i = 1; i < points_.size(); ++i) {
            const auto& [low, high_nll] = points_[i - 1];
            const auto& [high, low_nll] = points_[i];
            if (low_nll > bound) continue;
            const double part = (high_nll - bound) / (high_nll - low_nll);
            return low + static_cast<Eigen::Index>(std::ceil(part * static_cast<double>(high - low)));
        }
        return points_.back().rank;
    }

    [[nodiscard]] double worst() const { return points_.front().nll; }
    [[nodiscard]] double best() const { return points_.back().nll; }

private:
    struct point {
        Eigen::Index rank;
        double nll;
    };
    std::vector<point> points_;
};

/// ASVD's search (2312.05821, STRS): every unit gets the least rank at which the model, that unit alone
/// compressed, has a nll no more than one bound for all; the bound by bisection. Ranks between those measured
/// by interpolation, so that the budget is met.
std::vector<std::optional<Eigen::Index>> by_sensitivity(const std::vector<nsvd::layer_profile>& layers,
                                                        const nsvd::storage_budget& budget,
                                                        const std::vector<unit_effects>& effects) {
    std::vector<sensitivity_curve> curves;
    double low = std::numeric_limits<double>::infinity(), high = -low;
    for (std::size_t i = 0; i < layers.size(); ++i) {
        curves.emplace_back(effects[i], layers[i].shape.full_rank());
        low = std::min(low, curves.back().best());
        high = std::max(high, curves.back().worst());
    }
    const auto at = [&](double bound) {
        std::vector<std::optional<Eigen::Index>> ranks(layers.size());
        std::int64_t cost = 0;
        for (std::size_t i = 0; i < layers.size(); ++i) {
            const auto dense = budget.cost(layers[i], {});
            const auto k = curves[i].least_rank(bound);
            if (!layers[i].keep_dense && budget.cost(layers[i], k) < dense) ranks[i] = k;
            cost += budget.cost(layers[i], ranks[i]);
        }
        return std::pair(ranks, cost);
    };
    auto best = at(high);
    if (best.second > budget.amount)
        throw nsvd::error(fmt::format("the least ranks that were tried take {} bytes, there are {}",
                                      best.second, budget.amount));
    for (int step = 0; step < 60; ++step) {
        const double middle = low + (high - low) / 2;
        auto found = at(middle);
        const bool fits = found.second <= budget.amount;
        (fits ? high : low) = middle;
        if (fits) best = std::move(found);
    }
    return best.first;
}

nsvd::allocation_rule rule_of(rank_rule rule) {
    switch (rule) {
        case rank_rule::effective_rank:
            return nsvd::allocation_rule::effective_rank;
        case rank_rule::loss_group:
            return nsvd::allocation_rule::loss_group;
        case rank_rule::uniform:
            return nsvd::allocation_rule::uniform;
        default:
            return nsvd::allocation_rule::greedy;
    }
}

}  // namespace

std::int64_t byte_budget(const model& m, double compression) {
    std::int64_t bytes = 0;
    for (std::size_t i = 0; i < m.layers(); ++i) {
        const auto shape = shape_of(m, i);
        const auto numbers = compression == 0
                                 ? shape.rows * shape.cols
                                 : nsvd::stored_numbers(nsvd::storage::plain, shape,
                                                        uniform_rank(m.layer_name(i), shape, compression));
        bytes += item_size(m, i) * numbers;
    }
    return bytes;
}

std::vector<Eigen::Index> tried_ranks(const unit& u, nsvd::storage how) {
    std::vector<Eigen::Index> ranks;
    for (int tenths = 1; tenths < 10; ++tenths) {
        const auto k = std::max<Eigen::Index>(
            1, nsvd::largest_rank(how, u.shape, u.shape.rows * u.shape.cols * tenths / 10));
        if (k < u.shape.full_rank() && (ranks.empty() || k > ranks.back())) ranks.push_back(k);
    }
    return ranks;
}

std::vector<std::optional<Eigen::Index>> choose_ranks(const model& m, const std::vector<unit>& units,
                                                      const recipe& r, const std::vector<bool>& keep_dense,
                                                      const rank_evidence& evidence) {
    const bool any_dense = std::find(keep_dense.begin(), keep_dense.end(), true) != keep_dense.end();
    std::vector<std::optional<Eigen::Index>> ranks(units.size());
    if (r.ranks == rank_rule::uniform && r.storage == nsvd::storage::plain && !r.joint && !r.bias &&
        !any_dense) {
        for (std::size_t i = 0; i < units.size(); ++i)
            ranks[i] = uniform_rank(units[i].name, units[i].shape, r.compression);
        return ranks;
    }
    const bool pivoted = r.storage == nsvd::storage::pivoted;
    const auto item = item_size(m, 0);
    const nsvd::storage_budget budget{.amount = byte_budget(m, r.compression) - (r.bias ? bias_bytes(m) : 0),
                                      .per_number = item,
                                      .per_eight_lines = pivoted ? 1 : 0};
    std::vector<nsvd::layer_profile> layers;
    for (std::size_t i = 0; i < units.size(); ++i) {
        if (item_size(m, units[i].layers.front()) != item)
            throw nsvd::error("layers of different types: only uniform plain factors are possible");
        layers.push_back({.name = units[i].name,
                          .shape = units[i].shape,
                          .storage = r.storage,
                          .keep_dense = keep_dense[i],
                          .group = m.layer_role(units[i].layers.front())});
    }
    if (r.ranks == rank_rule::sensitivity) return by_sensitivity(layers, budget, evidence.effects());
    if (r.ranks == rank_rule::uniform) {
        // Any losses that descend: the rule goes by numbers alone.
        for (auto& layer : layers)
            for (auto k = layer.shape.full_rank(); k >= 0; --k)
                layer.losses.push_back(static_cast<double>(k));
        return nsvd::allocate(layers, budget, rule_of(r.ranks)).ranks;
    }
    const auto& spectra = evidence.spectra();
    for (std::size_t i = 0; i < units.size(); ++i) {
        layers[i].spectrum = {.leading = {spectra[i].data(), static_cast<std::size_t>(spectra[i].size())}};
        if (r.ranks == rank_rule::measured)
            layers[i].losses = divergence_curve(evidence.effects()[i].effects, spectra[i]);
    }
    return nsvd::allocate(layers, budget, rule_of(r.ranks)).ranks;
}

}  // namespace llm
