// SPDX-License-Identifier: MIT
#include "compress.hpp"

#include "ranks.hpp"
#include "stored_layer.hpp"
#include "threads.hpp"

#include <nsvd/bias.hpp>
#include <nsvd/error.hpp>
#include <nsvd/every_rank.hpp>
#include <nsvd/metrics.hpp>
#include <nsvd/spiking.hpp>
#include <nsvd/tune.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>

namespace llm {
namespace {

constexpr std::size_t tried_windows = 16, tried_tokens = 256;  // of each, on which effects are measured

nsvd::moments moments_of(const recipe& r) {
    return r.bias ? nsvd::moments::central : nsvd::moments::raw;
}

method_options options_of(const recipe& r) {
    return {.share = r.share, .moments = moments_of(r)};
}

/// Recipes of one key have the same units and the same metrics.
std::string metric_key(const recipe& r) {
    const auto whitening = r.how->whitening;
    const char* metric = !whitening                                ? "identity"
                         : *whitening == nsvd::whitening::diagonal ? "diagonal"
                                                                   : "gram";
    return fmt::format("{} {} {} {}", metric, r.own_text, r.bias, r.joint);
}

/// The layers of the model, each by itself and dense.
std::vector<linear> dense_layers(const model& m) {
    std::vector<linear> layers;
    for (std::size_t i = 0; i < m.layers(); ++i) {
        if (m.is_within_fused(i)) continue;
        if (!m.is_fused(i)) {
            layers.push_back(m.layer(i).multiplied());
            continue;
        }
        const auto all = m.layer(i).product();
        const auto& bias = m.layer(i).bias();
        Eigen::Index row = 0;
        for (std::size_t part = i; part < i + m.fusible(i); ++part) {
            const auto rows = m.layer_shape(part).first;
            layers.emplace_back(Eigen::MatrixXf(all.middleRows(row, rows)),
                                bias.size() == 0 ? bias : Eigen::VectorXf(bias.segment(row, rows)));
            row += rows;
        }
    }
    return layers;
}

/// Calls `work` with the unit's name in front of its errors.
template <class Work>
auto named(const unit& u, const Work& work) {
    try {
        return work();
    } catch (const nsvd::error& e) {
        throw nsvd::error(fmt::format("layer {}: {}", u.name, e.what()));
    }
}

/// W′ of a unit in the recipe's storage, with its bias, corrected where the recipe says so.
linear stored_in(const recipe& r, nsvd::low_rank<float> d, Eigen::VectorXf bias, const Eigen::MatrixXf& w,
                 const nsvd::calibration<float>& inputs, const Eigen::VectorXd& mean_error) {
    if (r.bias) {
        Eigen::VectorXd sum = nsvd::bias_correction(w, d, inputs, mean_error);
        if (bias.size() != 0) sum += bias.cast<double>();
        bias = sum.cast<float>();
    }
    if (r.storage == nsvd::storage::plain) return linear(std::move(d), std::move(bias));
    return linear(nsvd::pivot(d), std::move(bias));
}

nsvd::low_rank<float> factors_of(const linear& layer) {
    return layer.pivoted() != nullptr ? layer.pivoted()->plain() : *layer.factors();
}

using clock = std::chrono::steady_clock;

double seconds_since(clock::time_point start) {
    return std::chrono::duration<double>(clock::now() - start).count();
}

}  // namespace

void require_dense(const model& m) {
    for (std::size_t i = 0; i < m.layers(); ++i)
        if (!m.layer(i).dense() || m.is_within_fused(i))
            throw nsvd::error(fmt::format("{}: layer {} is compressed already: give the dense model",
                                          m.folder().string(), m.layer_name(i)));
}

compressor::compressor(model& m, compression_input input, progress& bar)
    : model_(m), input_(std::move(input)), bar_(bar), originals_(dense_layers(m)) {
    auto& text = calibrations_[{false, nsvd::moments::raw}];
    text.windows = draw_text(input_.calibration, input_.sample, input_.calibration_name);
    (void)protected_units({});
}

std::int64_t compressor::calibration_tokens() const {
    const auto& text = calibrations_.at({false, nsvd::moments::raw}).windows;
    return static_cast<std::int64_t>(text.windows.size() * text.windows.front().size());
}

void compressor::restore() {
    for (std::size_t i = 0; i < originals_.size(); ++i)
        model_.layer(i) = originals_[i];
}

auto compressor::calibration_for(bool own_text, nsvd::moments about) -> const calibrated& {
    auto& result = calibrations_[{own_text, about}];
    if (!result.sites.empty()) return result;
    restore();
    bar_.label("calibration");
    const auto& text = calibrations_.at({false, nsvd::moments::raw}).windows;
    if (!own_text) {
        result.windows = text;
        bar_.expect(text.windows.size());
        result.sites = gather(model_, text, about, input_.threads, bar_);
        return result;
    }
    result.windows = text;
    bar_.label("text of the model's own");
    bar_.expect(64);
    add_own_text(result.windows, model_, input_.sample.seed, input_.threads, bar_);
    // The text itself has been seen already, or will be by other recipes.
    weighted_windows own;
    const auto before = static_cast<std::ptrdiff_t>(text.windows.size());
    own.windows.assign(result.windows.windows.begin() + before, result.windows.windows.end());
    own.weights.assign(result.windows.weights.begin() + before, result.windows.weights.end());
    bar_.expect(own.windows.size());
    result.sites = calibration_for(false, about).sites;
    const auto more = gather(model_, own, about, input_.threads, bar_);
    for (std::size_t i = 0; i < more.size(); ++i)
        result.sites[i].merge(more[i]);
    return result;
}

std::vector<bool> compressor::protected_units(const std::vector<unit>& units) {
    std::vector<bool> dense(units.size(), false);
    for (const auto& part : input_.keep_dense) {
        if (part == "spiking") {
            if (units.empty()) continue;
            const auto& sites = calibration_for(false, nsvd::moments::raw).sites;
            for (const auto site : nsvd::spiking(sites))
                for (std::size_t i = 0; i < units.size(); ++i)
                    if (model_.site_index(units[i].layers.front()) == site) dense[i] = true;
            continue;
        }
        bool any = false;
        for (std::size_t layer = 0; layer < model_.layers(); ++layer)
            any = any || model_.layer_name(layer).find(part) != std::string::npos;
        if (!any)
            throw nsvd::error(
                fmt::format("no layer's name has '{}' in it, to be kept dense: names are like {}", part,
                            model_.layer_name(0)));
        for (std::size_t i = 0; i < units.size(); ++i)
            for (const auto layer : units[i].layers)
                if (model_.layer_name(layer).find(part) != std::string::npos) dense[i] = true;
    }
    return dense;
}

std::vector<method_options> compressor::tune(const recipe& r, const std::vector<unit>& units,
                                             const std::vector<std::optional<Eigen::Index>>& ranks,
                                             const calibrated& calib) {
    std::vector<method_options> options(units.size(), options_of(r));
    if (!r.tuned && !r.tuned_once) return options;
    if (input_.held_out.empty())
        throw nsvd::error(fmt::format("{}: a tuned recipe wants a second text: --tune FILE", r.name));
    if (!r.how->whitening) throw nsvd::error(fmt::format("{}: plain SVD has nothing to tune", r.name));
    restore();
    if (!held_out_) {
        const auto windows = draw_text(input_.held_out, input_.sample, input_.held_out_name);
        bar_.label("held-out text");
        bar_.expect(windows.windows.size());
        held_out_ = gather(model_, windows, nsvd::moments::raw, input_.threads, bar_);
    }
    // Of the grid, what the method and the way it is used leave open.
    const bool diagonal = *r.how->whitening == nsvd::whitening::diagonal;
    std::vector<nsvd::tuning> grid = nsvd::tuning_grid();
    std::erase_if(grid, [&](const nsvd::tuning& t) {
        return (t.whitening == nsvd::whitening::diagonal) != diagonal || (!r.how->residual && t.share != 1);
    });
    bar_.label("tuning");
    bar_.expect(units.size());
    std::vector<std::vector<double>> losses(units.size());  // empty for layers that stay dense
    parallel_for(units.size(), input_.threads, [&](std::size_t i) {
        if (ranks[i]) {
            const auto& held_out = (*held_out_)[model_.site_index(units[i].layers.front())];
            losses[i] = named(units[i], [&] {
                return nsvd::held_out_losses(weight_of(units[i], originals_), inputs_of(units[i], calib),
                                             held_out, *ranks[i], grid);
            });
        }
        bar_.step();
    });
    std::vector<std::vector<double>> all = losses;
    std::erase_if(all, [](const auto& of_unit) { return of_unit.empty(); });
    for (std::size_t i = 0; i < units.size(); ++i) {
        if (losses[i].empty()) continue;
        const auto& best = grid[r.tuned_once ? nsvd::best_tuning(all) : nsvd::best_tuning(losses[i])];
        options[i].share = best.share;
        options[i].blend = best.blend;
        options[i].alpha = best.alpha;
    }
    return options;
}

/// Puts a layer, or the unit's own ones, into the model.
layer_record compressor::put(const unit& u, const Eigen::MatrixXf& w, std::optional<linear> layer,
                             const std::string& status) {
    const auto type = model_.layer_dtype(u.layers.front());
    layer_record record{.name = u.name, .m = w.rows(), .n = w.cols(), .status = status};
    if (!layer) {
        for (const auto i : u.layers) {
            model_.layer(i) = originals_[i];
            record.parameters += originals_[i].parameters();
            record.bytes += stored_bytes(originals_[i], type);
        }
        record.rank = u.shape.full_rank();
        record.status = "dense";
        return record;
    }
    auto stored = rounded(*layer, type, u.name);
    const auto factors = factors_of(stored);
    const auto& text = calibrations_.at({false, nsvd::moments::raw});
    record.rank = factors.rank();
    record.parameters = stored.parameters();
    record.bytes = stored_bytes(stored, type);
    record.weighted_error = nsvd::weighted_error(w, factors, inputs_of(u, text));
    record.plain_error = nsvd::plain_error(w, factors);
    for (const auto i : u.layers)
        model_.layer(i) = linear();
    model_.layer(u.layers.front()) = std::move(stored);
    return record;
}

void compressor::compress_apart(const recipe& r, const std::vector<unit>& units,
                                const std::vector<std::optional<Eigen::Index>>& ranks,
                                const std::vector<method_options>& options, const calibrated& calib,
                                std::vector<layer_record>& records) {
    parallel_for(units.size(), input_.threads, [&](std::size_t i) {
        const auto& u = units[i];
        const auto start = clock::now();
        const auto w = weight_of(u, originals_);
        std::optional<linear> layer;
        std::string status;
        if (ranks[i]) {
            named(u, [&] {
                thread_local nsvd::workspace memory;  // one layer's for the next
                const auto& inputs = inputs_of(u, calib);
                auto d = decompose(*r.how, w, inputs, *ranks[i], options[i], memory);
                status = to_string(d.info.status);
                layer = stored_in(r, std::move(d), bias_of(u, originals_), w, inputs, {});
            });
        }
        const double seconds = seconds_since(start);
        records[i] = put(u, w, std::move(layer), status);
        records[i].seconds = seconds;
        bar_.step();
    });
}

std::vector<layer_record> compressor::run(const recipe& r) {
    // Errors are measured on the text alone, whatever the recipe is calibrated on.
    (void)calibration_for(false, nsvd::moments::raw);
    restore();
    const auto& calib = calibration_for(r.own_text, moments_of(r));
    const auto units = units_of(model_, r.joint);
    const auto metric_of = [&](const unit& u) {
        return first_metric(*r.how, inputs_of(u, calib), options_of(r));
    };
    const rank_evidence evidence{
        .spectra = [&]() -> const std::vector<Eigen::VectorXd>& {
            auto& found = spectra_[metric_key(r)];
            if (!found.empty()) return found;
            found.resize(units.size());
            bar_.label("spectra");
            bar_.expect(units.size());
            parallel_for(units.size(), input_.threads, [&](std::size_t i) {
                found[i] = named(units[i], [&] {
                    return nsvd::every_rank(weight_of(units[i], originals_), metric_of(units[i]))
                        .info()
                        .spectrum;
                });
                bar_.step();
            });
            return found;
        },
        .effects = [&]() -> const std::vector<unit_effects>& {
            const bool pivoted = r.storage == nsvd::storage::pivoted;
            auto& found = effects_[fmt::format("{} {}", metric_key(r), pivoted)];
            if (!found.empty()) return found;
            const auto ranks = [&](const unit& u) { return tried_ranks(u, r.storage); };
            bar_.label("layers compressed alone");
            for (const auto& u : units)
                bar_.expect(ranks(u).size());
            auto windows = calib.windows.spread(tried_windows);
            for (auto& window : windows)
                window.resize(std::min(window.size(), tried_tokens));
            found =
                measure_effects(model_, originals_, units, metric_of, ranks, windows, input_.threads, bar_);
            return found;
        }};
    const auto ranks = choose_ranks(model_, units, r, protected_units(units), evidence);
    const auto options = tune(r, units, ranks, calib);
    bar_.label(fmt::format("{} at {:g} %", r.label, 100 * r.compression));
    std::vector<layer_record> records(units.size());
    if (r.anchored)
        compress_in_order(r, units, ranks, options, calib, records);
    else
        compress_apart(r, units, ranks, options, calib, records);
    return records;
}

// Anchored regression (2604.02119): every unit is decomposed on the inputs B that the compressed layers
// before it give, for what the original gives on its inputs A; a unit that writes to the residual stream
// makes up for what that has gone wrong by so far.
void compressor::compress_in_order(const recipe& r, const std::vector<unit>& units,
                                   const std::vector<std::optional<Eigen::Index>>& ranks,
                                   const std::vector<method_options>& options, const calibrated& calib,
                                   std::vector<layer_record>& records) {
    if (!r.how->whitening || *r.how->whitening == nsvd::whitening::diagonal)
        throw nsvd::error(
            fmt::format("{}: anchored regression has the metric of a Gram matrix: use asvd-1, "
                        "asvd-2 or a nested method",
                        r.name));
    const auto& windows = calib.windows;
    std::vector<window_pass> original(windows.windows.size()), compressed(original.size());
    parallel_for(original.size(), input_.threads,
                 [&](std::size_t i) { original[i] = compressed[i] = model_.start(windows.windows[i]); });
    const auto per_block = model_.layers_per_block();
    for (std::size_t block = 0; block < model_.shape().blocks; ++block) {
        const auto own = block_layers(originals_).subspan(block * per_block, per_block);
        for (const site where : all_sites) {
            const auto site_index = model::site_index(block, where);
            parallel_for(original.size(), input_.threads, [&](std::size_t i) {
                model_.reach(block, where, own, original[i]);
                model_.reach(block, where, model_.block(block), compressed[i]);
            });
            const auto n = compressed.front().input.rows();
            const auto m = compressed.front().residual.rows();
            const bool writes = where == site::attention_output || where == site::feed_forward_output;
            nsvd::calibration<float> pairs(n, moments_of(r));
            Eigen::MatrixXd error_moments = Eigen::MatrixXd::Zero(writes ? m : 0, n);
            Eigen::VectorXd mean_error = Eigen::VectorXd::Zero(writes ? m : 0);
            for (std::size_t i = 0; i < original.size(); ++i) {
                const auto& b = compressed[i].input;
                pairs.update(original[i].input, b, Eigen::VectorXd::Constant(b.cols(), windows.weights[i]));
                if (!writes) continue;
                const Eigen::MatrixXf error = original[i].residual - compressed[i].residual;
                error_moments += windows.weights[i] * (error * b.transpose()).cast<double>();
                mean_error += windows.weights[i] * error.cast<double>().rowwise().sum();
            }
            mean_error /= pairs.weight();
            if (writes && r.bias) error_moments -= pairs.weight() * mean_error * pairs.mean().transpose();

            std::vector<std::size_t> here;
            for (std::size_t i = 0; i < units.size(); ++i)
                if (model_.site_index(units[i].layers.front()) == site_index) here.push_back(i);
            parallel_for(here.size(), input_.threads, [&](std::size_t job) {
                const auto i = here[job];
                const auto& u = units[i];
                const auto start = clock::now();
                const auto w = weight_of(u, originals_);
                std::optional<linear> layer;
                std::string status;
                if (ranks[i]) {
                    named(u, [&] {
                        auto d = nsvd::anchored(w, pairs, nsvd::rank{*ranks[i]},
                                                {.epsilon = r.epsilon + options[i].blend,
                                                 .share = r.how->residual ? options[i].share : 1.0,
                                                 .moments = moments_of(r),
                                                 .output_error = writes ? &error_moments : nullptr,
                                                 .residual = r.how->residual.value_or(nsvd::residual::svd)});
                        status = to_string(d.info.status);
                        layer = stored_in(r, std::move(d), bias_of(u, originals_), w, pairs, mean_error);
                    });
                }
                const double seconds = seconds_since(start);
                records[i] = put(u, w, std::move(layer), status);
                records[i].seconds = seconds;
                bar_.step();
            });
            parallel_for(original.size(), input_.threads, [&](std::size_t i) {
                model_.leave(block, where, own, original[i]);
                model_.leave(block, where, model_.block(block), compressed[i]);
            });
        }
    }
}

}  // namespace llm
