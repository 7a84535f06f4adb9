// SPDX-License-Identifier: MIT
#include "effect.hpp"

#include "perplexity.hpp"
#include "threads.hpp"

#include <nsvd/error.hpp>
#include <nsvd/every_rank.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>

namespace llm {
namespace {

/// A window that stands before a block, and what the model itself makes of it.
struct tried_window {
    const std::vector<token>* tokens;
    window_pass before;
    Eigen::MatrixXf hidden;
};

/// The effect of running the blocks from `first` on with `replaced` in the place of the first one's layers.
prediction_change effect_on(const model& m, std::size_t first, block_layers replaced,
                            const tried_window& window) {
    window_pass pass = window.before;
    m.pass_through(first, replaced, pass);
    return compare_predictions(m, *window.tokens, window.hidden, m.finish(first + 1, std::move(pass)));
}

nlohmann::ordered_json to_json(const unit_effects& found) {
    nlohmann::ordered_json json{{"dense_nll", found.dense_nll}, {"effects", nlohmann::ordered_json::array()}};
    for (const auto& e : found.effects)
        json["effects"].push_back({e.rank, e.divergence, e.nll});
    return json;
}

/// JSON has no infinite numbers: they are null.
double number(const nlohmann::ordered_json& json) {
    return json.is_null() ? std::numeric_limits<double>::infinity() : json.get<double>();
}

unit_effects effects_from(const nlohmann::ordered_json& json) {
    unit_effects found;
    found.dense_nll = number(json.at("dense_nll"));
    for (const auto& e : json.at("effects"))
        found.effects.push_back({e.at(0).get<Eigen::Index>(), number(e.at(1)), number(e.at(2))});
    return found;
}

}  // namespace

std::vector<unit_effects> measure_effects(const model& m, const std::vector<linear>& layers,
                                          const std::vector<unit>& units,
                                          const std::function<nsvd::metric(const unit&)>& metric_of,
                                          const std::function<std::vector<Eigen::Index>(const unit&)>& ranks,
                                          const std::vector<std::vector<token>>& windows, const journal& kept,
                                          unsigned threads, progress& bar, const processes& world,
                                          std::span<const int> owners,
                                          const std::function<void(std::size_t)>& reach_block) {
    std::vector<tried_window> tried(windows.size());
    std::vector<double> nll(windows.size());
    parallel_for(windows.size(), threads, [&](std::size_t i) {
        tried[i] = {&windows[i], m.start(windows[i]), m.hidden(windows[i])};
        nll[i] = compare_predictions(m, windows[i], tried[i].hidden, tried[i].hidden).nll;
    });
    const double count = static_cast<double>(windows.size());
    const auto mean = [&](const auto& value) {
        double sum = 0;
        for (std::size_t i = 0; i < windows.size(); ++i)
            sum += value(i);
        return sum / count;
    };
    const auto entry = [](std::size_t i) { return fmt::format("effects-{:05}.json", i); };
    std::vector<unit_effects> result(units.size());
    std::vector<std::uint8_t> pending(units.size(), 0);
    for (std::size_t i = 0; i < units.size(); ++i) {
        if (const auto before = kept.find(entry(i)))
            result[i] = effects_from(*before);
        else
            pending[i] = 1;
    }
    world.any(pending);
    std::size_t block = 0;
    std::optional<std::size_t> reached;
    for (std::size_t unit = 0; unit < units.size(); ++unit) {
        if (pending[unit] == 0) continue;
        const auto& u = units[unit];
        const auto own_block = m.block_of(u.layers.front());
        if (reach_block && reached != own_block) reach_block(own_block);
        reached = own_block;
        if (!world.alone() && owners[unit] != static_cast<int>(world.own())) continue;
        for (; block < own_block; ++block)
            parallel_for(tried.size(), threads,
                         [&](std::size_t i) { m.pass_through(block, m.block(block), tried[i].before); });
        const nsvd::every_rank all(weight_of(u, layers), metric_of(u));
        auto& found = result[unit];
        found = {};
        found.dense_nll = mean([&](std::size_t i) { return nll[i]; });
        for (const auto k : ranks(u)) {
            const auto own = m.block(block);
            std::vector<linear> replaced(own.begin(), own.end());
            replace(u, replaced, linear(all.take(k), bias_of(u, layers)), block * m.layers_per_block());
            std::vector<prediction_change> effects(tried.size());
            parallel_for(tried.size(), threads,
                         [&](std::size_t i) { effects[i] = effect_on(m, block, replaced, tried[i]); });
            found.effects.push_back({k, mean([&](std::size_t i) { return effects[i].divergence; }),
                                     mean([&](std::size_t i) { return effects[i].nll; })});
            bar.step();
        }
        kept.keep(entry(unit), to_json(found));
    }
    if (world.alone()) return result;
    world.wait();
    for (std::size_t i = 0; i < units.size(); ++i)
        if (pending[i] != 0) {
            const auto made = kept.find(entry(i));
            if (!made)
                throw nsvd::error(
                    fmt::format("{}: what process {} has measured of {} is not there: all processes have to "
                                "see the same folder",
                                kept.folder().string(), owners[i], units[i].name));
            result[i] = effects_from(*made);
        }
    return result;
}

std::vector<double> divergence_curve(const std::vector<effect>& effects, const Eigen::VectorXd& spectrum) {
    const auto full = spectrum.size();
    std::vector<double> relative(static_cast<std::size_t>(full) + 1, 0.0);
    for (Eigen::Index k = full; k-- > 0;)
        relative[static_cast<std::size_t>(k)] = relative[static_cast<std::size_t>(k) + 1] + spectrum(k);
    const double total = relative.front();
    if (!(total > 0)) return relative;
    // Below, both are rounding.
    constexpr double least_loss = 1e-14, least_divergence = 1e-12;
    const auto place = [&](std::size_t k) { return std::log(std::max(relative[k] / total, least_loss)); };
    struct knot {
        double loss, divergence;
    };
    std::vector<knot> knots;  // by ascending loss, their divergences ascending
    for (auto e = effects.rbegin(); e != effects.rend(); ++e) {
        const double value = std::log(std::max(e->divergence, least_divergence));
        const double at = place(static_cast<std::size_t>(e->rank));
        if (!knots.empty() && at <= knots.back().loss) continue;
        knots.push_back({at, knots.empty() ? value : std::max(value, knots.back().divergence)});
    }
    std::vector<double> curve(relative.size(), 0.0);
    for (std::size_t k = 0; k + 1 < curve.size(); ++k) {
        const double at = place(k);
        const auto next =
            std::find_if(knots.begin(), knots.end(), [&](const knot& point) { return at < point.loss; });
        double value = at;
        if (next == knots.begin() && next != knots.end()) {
            value += next->divergence - next->loss;
        } else if (next == knots.end()) {
            if (!knots.empty()) value += knots.back().divergence - knots.back().loss;
        } else {
            const auto& low = *std::prev(next);
            value = low.divergence +
                    (at - low.loss) / (next->loss - low.loss) * (next->divergence - low.divergence);
        }
        curve[k] = std::exp(value);
    }
    return curve;
}

}  // namespace llm
