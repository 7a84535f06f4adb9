// SPDX-License-Identifier: MIT
/// One budget for many layers: which rank each of them gets.
#pragma once

#include "progress.hpp"
#include "rank/policy.hpp"
#include "storage.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <queue>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace nsvd::inline NSVD_ABI {

/// What an allocation knows of a layer.
struct layer_profile {
    std::string name = {};  ///< for messages
    nsvd::shape shape;      ///< m×n of the layer
    /// σ² in the metric of the layer's first stage (`info.spectrum` of a decomposition whose rank policy
    /// looks at the spectrum). Its scale does not matter: losses are relative to its total.
    nsvd::spectrum spectrum = {};
    nsvd::storage storage = nsvd::storage::plain;  ///< how its factors will be stored
    /// What a relative loss of this layer counts, against those of others: a measured sensitivity, say.
    double weight = 1.0;
    index floor = 1;                    ///< the smallest rank it may get
    std::optional<index> ceiling = {};  ///< the largest; min(m, n) if not given
    index multiple = 1;                 ///< ranks are multiples of this, or the ceiling
    bool keep_dense = false;            ///< protected: it is not compressed, but counts in the budget
    std::string group = {};  ///< layers of one kind (`q_proj`, say), for `allocation_rule::loss_group`
    /// Losses at the ranks 0, 1, …, min(m, n), measured in any way, for `allocation_rule::greedy` to go by in
    /// place of the spectrum. Their scale counts: it is what the layer's loss is worth. Need not descend; a
    /// rank that loses no less than a smaller one is not taken.
    std::vector<double> losses = {};
};

/// What may be stored, and what it is counted in: numbers, or bytes of numbers and of what says which lines
/// pivoted storage keeps.
struct storage_budget {
    std::int64_t amount = 0;      ///< what may be stored in all
    std::int64_t per_number = 1;  ///< 2 for bytes of half precision
    std::int64_t per_index = 0;   ///< for each kept line
    std::int64_t per_eight_lines =
        0;  ///< for each eight of a mask over all rows or columns, the more of them

    /// What a layer takes at rank k; at none, dense.
    [[nodiscard]] constexpr std::int64_t cost(const layer_profile& l, std::optional<index> k) const noexcept {
        if (!k) return per_number * l.shape.rows * l.shape.cols;
        if (l.storage == storage::plain) return per_number * stored_numbers(l.storage, l.shape, *k);
        return per_number * stored_numbers(l.storage, l.shape, *k) + per_index * *k +
               per_eight_lines * ((std::max(l.shape.rows, l.shape.cols) + 7) / 8);
    }
};

/// How a budget is shared out.
enum class allocation_rule : std::uint8_t {
    /// The same fraction of its numbers for each layer.
    uniform,
    /// Least sum of weighted relative losses, `Σ w_l Σ_{i>k_l} σ_{l,i}² / Σ_i σ_{l,i}²`, or of weighted
    /// measured ones: greedily along the
    /// lower convex hull of each layer's curve of loss against cost. Optimal at the budgets where a step of
    /// the hull ends, within one such step elsewhere.
    greedy,
    /// D-Rank (2509.25622): ranks in proportion to `√(R/ω)`, which makes `Σ R_l/k_l` least; R is the
    /// effective rank `exp(−Σ p_i log p_i)`, `p_i = σ_i²/Σσ²`, and ω = m + n the numbers one rank takes.
    effective_rank,
    /// SVD-LLM V2 (2503.12340): within each group the fraction of numbers that is removed is in proportion to
    /// `1/log L_l`, L the norm of what uniform compression would lose, scaled so that the least of a
    /// group is e (as published, it depends on the unit of L).
    loss_group,
};

/// Options of `allocate`.
struct allocation_options {
    nsvd::progress_callback progress = {};  ///< told how far the call is (progress.hpp)
    nsvd::cancel_token cancel = {};         ///< asked whether it is to stop
};

/// Ranks for the layers of an allocation, in their order.
struct allocation {
    std::vector<std::optional<index>> ranks;  ///< none: the layer stays dense
    std::int64_t cost = 0;                    ///< in the unit of the budget, at most its amount
    double loss = 0.0;                        ///< Σ of weighted relative losses
};

namespace detail {

/// What values are divided by before they are added up, since their sum may exceed the range of double: an
/// even power of two, that rounds neither them nor square roots.
[[nodiscard]] inline double unit_of(const spectrum& values) {
    double largest = values.rest;
    for (const double value : values)
        largest = std::max(largest, value);
    return std::ldexp(1.0, (binary_exponent(largest) - 1) / 2 * 2);
}

/// `Σ_{i>k} σ_i² / unit`, from the smallest up.
[[nodiscard]] inline double rest_in(double unit, const spectrum& values, std::size_t k) {
    double sum = values.rest / unit;
    for (std::size_t i = values.size(); i > k; --i)
        sum += values[i - 1] / unit;
    return sum;
}

/// The ranks a layer may get, by ascending cost, and what it loses with them.
struct allocation_curve {
    struct point {
        std::optional<index> rank;
        std::int64_t cost = 0;
        double loss = 0.0;
    };
    std::vector<point> points;  ///< costs ascend, losses descend strictly

    allocation_curve(const layer_profile& l, const storage_budget& b) {
        const point dense{{}, b.cost(l, {}), 0.0};
        if (l.keep_dense) {
            points = {dense};
            return;
        }
        const index full = l.shape.full_rank();
        const index top = std::min(full, l.ceiling.value_or(full));
        // Σ_{i>k} σ² relative to the whole, from the smallest up.
        const double unit = unit_of(l.spectrum);
        std::vector<double> rest(static_cast<std::size_t>(full) + 1, l.spectrum.rest / unit);
        for (std::size_t k = rest.size() - 1; k-- > 0;)
            rest[k] = rest[k + 1] + (k < l.spectrum.size() ? l.spectrum[k] / unit : 0.0);
        if (const double total = rest[0]; total > 0.0)
            for (double& r : rest)
                r /= total;
        if (!l.losses.empty()) rest = l.losses;
        const auto add = [&](const point& p) {
            // Never more for the same loss, nor for more than the layer takes as it is.
            if (points.empty() || (p.loss < points.back().loss && p.cost > points.back().cost))
                points.push_back(p);
        };
        const index multiple = std::min(l.multiple, full);
        for (index k = std::min(top, (l.floor + multiple - 1) / multiple * multiple); k <= top;
             k = k < top ? std::min(top, k + multiple) : top + 1) {
            const point p{k, b.cost(l, k), l.weight * rest[static_cast<std::size_t>(k)]};
            if (p.cost >= dense.cost) break;
            add(p);
        }
        if (!l.ceiling || points.empty()) add(dense);
    }

    /// The last point that costs no more; the first if there is none.
    [[nodiscard]] std::size_t affordable(std::int64_t cost) const {
        std::size_t i = 0;
        while (i + 1 < points.size() && points[i + 1].cost <= cost)
            ++i;
        return i;
    }
};

/// The chosen point of each layer for the largest factor in [0, 1] whose choice costs no more than the
/// amount; costs grow with the factor. The cheapest points where none does.
template <class Choose>
std::vector<std::size_t> by_common_factor(const std::vector<allocation_curve>& curves, std::int64_t amount,
                                          observer& watch, Choose&& choose) {
    std::vector<std::size_t> best(curves.size(), 0);
    const auto fits = [&](double factor) {
        std::vector<std::size_t> chosen(curves.size());
        std::int64_t cost = 0;
        for (std::size_t l = 0; l < curves.size(); ++l) {
            chosen[l] = curves[l].affordable(choose(l, factor));
            cost += curves[l].points[chosen[l]].cost;
        }
        if (cost > amount) return false;
        best = std::move(chosen);
        return true;
    };
    double low = 0.0;
    double high = 1.0;
    if (fits(high)) return best;
    for (int step = 0; step < 60; ++step) {
        watch.step(1.0 / 60.0, 1.0);
        const double middle = 0.5 * (low + high);
        (fits(middle) ? low : high) = middle;
    }
    return best;
}

/// Down the lower convex hulls of all curves, steepest step first, as far as the budget goes; what is left
/// then is spent on the steepest steps to any point that still fit.
inline std::vector<std::size_t> along_hulls(const std::vector<allocation_curve>& curves, std::int64_t amount,
                                            observer& watch) {
    struct step {
        double gain = 0.0;  ///< loss removed per cost
        std::size_t layer = 0;
        std::size_t to = 0;
        bool operator<(const step& other) const {
            return gain != other.gain ? gain < other.gain : layer > other.layer;
        }
    };
    std::vector<std::size_t> at(curves.size(), 0);
    std::int64_t left = amount;
    for (const allocation_curve& curve : curves)
        left -= curve.points.front().cost;
    const auto gain_of = [&](std::size_t l, std::size_t from, std::size_t to) {
        const auto& points = curves[l].points;
        return (points[from].loss - points[to].loss) /
               static_cast<double>(points[to].cost - points[from].cost);
    };

    std::vector<std::vector<std::size_t>> hulls(curves.size());
    std::priority_queue<step> open;
    const auto offer_hull = [&](std::size_t l) {
        auto& hull = hulls[l];  // what of it is ahead, the next last
        if (hull.empty()) return;
        open.push({gain_of(l, at[l], hull.back()), l, hull.back()});
        hull.pop_back();
    };
    for (std::size_t l = 0; l < curves.size(); ++l) {
        watch.step(0.5 / static_cast<double>(curves.size()), 0.5);
        auto& hull = hulls[l];
        for (std::size_t i = curves[l].points.size(); i-- > 0;) {
            // From the far end: a vertex goes once the next one is reached more steeply without it.
            while (hull.size() > 1 &&
                   gain_of(l, i, hull.back()) <= gain_of(l, hull.back(), hull[hull.size() - 2]))
                hull.pop_back();
            hull.push_back(i);
        }
        hull.pop_back();  // where it starts
        offer_hull(l);
    }
    const auto take = [&](const step& s) {
        const auto& points = curves[s.layer].points;
        left -= points[s.to].cost - points[at[s.layer]].cost;
        at[s.layer] = s.to;
    };
    const auto fits = [&](const step& s) {
        const auto& points = curves[s.layer].points;
        return points[s.to].cost - points[at[s.layer]].cost <= left;
    };
    while (!open.empty()) {
        watch.poll();
        const step best = open.top();
        open.pop();
        if (!fits(best)) break;
        take(best);
        offer_hull(best.layer);
    }

    open = {};
    const auto offer_any = [&](std::size_t l) {
        step best{0.0, l, at[l]};
        for (std::size_t i = at[l] + 1; i < curves[l].points.size() && fits({0.0, l, i}); ++i)
            if (const double gain = gain_of(l, at[l], i); gain >= best.gain) best = {gain, l, i};
        if (best.to != at[l]) open.push(best);
    };
    for (std::size_t l = 0; l < curves.size(); ++l)
        offer_any(l);
    watch.at(0.75);
    while (!open.empty()) {
        watch.poll();
        const step best = open.top();
        open.pop();
        if (fits(best)) take(best);
        offer_any(best.layer);
    }
    return at;
}

/// exp of the entropy of σ²/Σσ², what is not shown of a spectrum taken for one value; 1 for a zero one.
[[nodiscard]] inline double effective_rank(const spectrum& values) {
    const double unit = unit_of(values);
    const double total = rest_in(unit, values, 0);
    if (!(total > 0.0)) return 1.0;
    double entropy = 0.0;
    const auto add = [&](double value) {
        if (const double part = value / unit / total; part > 0.0) entropy -= part * std::log(part);
    };
    for (const double value : values)
        add(value);
    add(values.rest);
    return std::exp(entropy);
}

/// For `allocation_rule::loss_group`: the part of the numbers that is removed from each layer, where 1 is
/// removed on average within a group. The losses of a group are scaled so that the least is e: `1/log L` then
/// depends on no unit, and is at most 1.
[[nodiscard]] inline std::vector<double> removed_by_group(std::span<const layer_profile> layers,
                                                          const std::vector<double>& losses) {
    struct sums {
        double least = std::numeric_limits<double>::infinity();
        double inverse_logs = 0.0;
        double count = 0.0;
    };
    std::map<std::string, sums> groups;
    for (std::size_t l = 0; l < layers.size(); ++l)
        if (losses[l] > 0.0) {
            sums& s = groups[layers[l].group];
            s.least = std::min(s.least, losses[l]);
        }
    const auto inverse_log = [&](std::size_t l) {
        const double least = groups[layers[l].group].least;
        return losses[l] > least ? 1.0 / (1.0 + std::log(losses[l] / least)) : 1.0;
    };
    for (std::size_t l = 0; l < layers.size(); ++l) {
        const double x = inverse_log(l);
        groups[layers[l].group].inverse_logs += x;
        groups[layers[l].group].count += 1.0;
    }
    std::vector<double> removed(layers.size());
    for (std::size_t l = 0; l < layers.size(); ++l) {
        const sums& s = groups[layers[l].group];
        removed[l] = s.count * inverse_log(l) / s.inverse_logs;
    }
    return removed;
}

inline void check_budget(const storage_budget& b) {
    const auto check = [](const char* name, std::int64_t value, std::int64_t least) {
        if (value < least)
            throw error("allocate: budget." + std::string(name) + " = " + std::to_string(value) +
                        " must be at least " + std::to_string(least));
    };
    check("per_number", b.per_number, 1);
    check("per_index", b.per_index, 0);
    check("per_eight_lines", b.per_eight_lines, 0);
}

/// No rank of such a layer takes more.
inline double largest_cost(const storage_budget& b, const shape& s) {
    const auto rows = static_cast<double>(s.rows);
    const auto cols = static_cast<double>(s.cols);
    return 2.0 * static_cast<double>(b.per_number) * rows * cols +
           static_cast<double>(b.per_index) * std::min(rows, cols) +
           static_cast<double>(b.per_eight_lines) * (std::max(rows, cols) / 8.0 + 1.0);
}

inline void check_layer(const layer_profile& l, std::size_t i, allocation_rule rule) {
    const std::string name =
        "allocate: layer " + (l.name.empty() ? std::to_string(i) : "'" + l.name + "'") + ": ";
    const index full = l.shape.full_rank();
    if (full < 1) throw error(name + "a " + shape_text(l.shape.rows, l.shape.cols) + " matrix has no rank");
    if (!(l.weight >= 0.0 && std::isfinite(l.weight)))
        throw error(name + "weight = " + text(l.weight) + " must be finite and not negative");
    if (l.floor < 1 || l.floor > l.ceiling.value_or(full) || l.ceiling.value_or(full) > full)
        throw error(name + "floor to ceiling = " + std::to_string(l.floor) + " to " +
                    std::to_string(l.ceiling.value_or(full)) + " is not within 1 to " + std::to_string(full));
    if (l.multiple < 1) throw error(name + "multiple = " + std::to_string(l.multiple) + " is less than 1");
    if (l.keep_dense) return;
    for (const double loss : l.losses)
        if (!(loss >= 0.0 && std::isfinite(loss)))
            throw error(name + "a loss of " + text(loss) + " must be finite and not negative");
    if (!l.losses.empty()) {
        if (l.losses.size() != static_cast<std::size_t>(full) + 1)
            throw error(name + std::to_string(l.losses.size()) + " losses for the ranks from 0 to " +
                        std::to_string(full));
        if (rule != allocation_rule::uniform && rule != allocation_rule::greedy)
            throw error(name +
                        "measured losses are for the greedy and the uniform rule; the others look at "
                        "the spectrum");
        return;
    }
    if (l.spectrum.size() > static_cast<std::size_t>(full) ||
        (l.spectrum.complete && l.spectrum.size() < static_cast<std::size_t>(full)))
        throw error(name + "its spectrum has " + std::to_string(l.spectrum.size()) + " values, its rank is " +
                    std::to_string(full));
    double before = std::numeric_limits<double>::infinity();
    for (const double value : l.spectrum) {
        if (!(value >= 0.0 && value <= before && std::isfinite(value)))
            throw error(name + "its spectrum has " + text(value) + " after " + text(before) +
                        "; want finite values in descending order");
        before = value;
    }
    if (!(l.spectrum.rest >= 0.0 && std::isfinite(l.spectrum.rest)))
        throw error(name + "the rest of its spectrum is " + text(l.spectrum.rest));
}

}  // namespace detail

/// Ranks for many layers within one budget. A layer stays dense where factors would take as much, or where
/// that is the best use of the budget (unless it has a ceiling). Where a spectrum is not complete its layer
/// gets no rank between the values that are shown and dense.
///
/// n log n in the sum of the ranks. Throws `nsvd::error` for a layer without entries, a spectrum that is not
/// finite, descending and as long as the layer's rank says, bounds that exclude each other, a negative
/// weight, layers that may take more than 2⁶² in all, and a budget below what the smallest ranks take;
/// `nsvd::cancelled` where `options.cancel` asks for it.
[[nodiscard]] inline allocation allocate(std::span<const layer_profile> layers, const storage_budget& budget,
                                         allocation_rule rule = allocation_rule::greedy,
                                         const allocation_options& options = {}) {
    detail::observer watch(options.progress, options.cancel, "allocate");
    watch.enter("losses by rank", 0.0, 0.5);
    detail::check_budget(budget);
    std::vector<detail::allocation_curve> curves;
    curves.reserve(layers.size());
    std::int64_t least = 0;
    double all = 0.0;
    for (std::size_t l = 0; l < layers.size(); ++l) {
        watch.step(1.0 / static_cast<double>(layers.size()), 1.0);
        detail::check_layer(layers[l], l, rule);
        all += detail::largest_cost(budget, layers[l].shape);
        if (all > 0x1p62)
            throw error("allocate: what " + std::to_string(l + 1) +
                        " layers may take is more than 2^62: count in larger units");
        curves.emplace_back(layers[l], budget);
        least += curves.back().points.front().cost;
    }
    if (least > budget.amount)
        throw error("allocate: the smallest ranks of the " + std::to_string(layers.size()) + " layers take " +
                    std::to_string(least) + ", the budget is " + std::to_string(budget.amount));

    const auto dense_cost = [&](std::size_t l) { return static_cast<double>(budget.cost(layers[l], {})); };
    const auto part_of = [&](std::size_t l, double part) {
        return static_cast<std::int64_t>(std::clamp(part, 0.0, 1.0) * dense_cost(l));
    };
    watch.enter("ranks", 0.5, 1.0);
    const auto uniform = [&] { return detail::by_common_factor(curves, budget.amount, watch, part_of); };
    std::vector<std::size_t> chosen;
    switch (rule) {
        case allocation_rule::uniform:
            chosen = uniform();
            break;
        case allocation_rule::greedy:
            chosen = detail::along_hulls(curves, budget.amount, watch);
            break;
        case allocation_rule::effective_rank: {
            std::vector<double> share(layers.size());
            double most = 0.0;
            for (std::size_t l = 0; l < layers.size(); ++l) {
                const shape& s = layers[l].shape;
                share[l] = std::sqrt(detail::effective_rank(layers[l].spectrum) /
                                     static_cast<double>(s.rows + s.cols));
                most = std::max(most, static_cast<double>(s.full_rank()) / share[l]);
            }
            chosen =
                detail::by_common_factor(curves, budget.amount, watch, [&](std::size_t l, double factor) {
                    const auto k = static_cast<index>(factor * most * share[l]);
                    return k < layers[l].shape.full_rank() ? budget.cost(layers[l], k)
                                                           : budget.cost(layers[l], {});
                });
            break;
        }
        case allocation_rule::loss_group: {
            chosen = uniform();
            std::vector<double> losses(layers.size());
            for (std::size_t l = 0; l < layers.size(); ++l)
                if (const auto k = curves[l].points[chosen[l]].rank) {
                    const double unit = detail::unit_of(layers[l].spectrum);
                    losses[l] = std::sqrt(unit) * std::sqrt(detail::rest_in(unit, layers[l].spectrum,
                                                                            static_cast<std::size_t>(*k)));
                }
            const std::vector<double> removed = detail::removed_by_group(layers, losses);
            chosen = detail::by_common_factor(
                curves, budget.amount, watch,
                [&](std::size_t l, double factor) { return part_of(l, 1.0 - (1.0 - factor) * removed[l]); });
            break;
        }
    }
    allocation result;
    for (std::size_t l = 0; l < layers.size(); ++l) {
        const auto& point = curves[l].points[chosen[l]];
        result.ranks.push_back(point.rank);
        result.cost += point.cost;
        result.loss += point.loss;
    }
    watch.finish();
    return result;
}

}  // namespace nsvd::inline NSVD_ABI
