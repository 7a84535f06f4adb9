// SPDX-License-Identifier: MIT
#include "compress.hpp"

#include "assignment.hpp"
#include "compress_steps.hpp"
#include "cost.hpp"
#include "kept_tensors.hpp"
#include "ranks.hpp"
#include "shrinkage.hpp"
#include "stored_layer.hpp"
#include "threads.hpp"

#include <nsvd/error.hpp>
#include <nsvd/every_rank.hpp>
#include <nsvd/metrics.hpp>
#include <nsvd/spiking.hpp>
#include <nsvd/tune.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <limits>
#include <optional>
#include <utility>

namespace llm {
namespace {

constexpr std::size_t tried_windows = 16, tried_tokens = 256;  // of each, on which effects are measured

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

nsvd::low_rank<float> factors_of(const linear& layer) {
    return layer.pivoted() != nullptr ? layer.pivoted()->plain() : *layer.factors();
}

}  // namespace

void require_dense(const model& m) {
    for (std::size_t i = 0; i < m.layers(); ++i)
        if (m.layer(i).form() != layer_form::dense || m.is_within_fused(i))
            throw nsvd::error(fmt::format("{}: layer {} is compressed already: give the dense model",
                                          m.folder().string(), m.layer_name(i)));
}

namespace {

std::string layer_entry(std::size_t i) {
    return fmt::format("layer-{:05}.safetensors", i);
}

/// JSON has no infinite numbers: they are null.
std::vector<double> numbers_from(const nlohmann::ordered_json& json) {
    std::vector<double> numbers;
    for (const auto& number : json)
        numbers.push_back(number.is_null() ? std::numeric_limits<double>::infinity() : number.get<double>());
    return numbers;
}

Eigen::VectorXd vector_from(const nlohmann::ordered_json& json) {
    const auto numbers = numbers_from(json);
    return Eigen::Map<const Eigen::VectorXd>(numbers.data(), static_cast<Eigen::Index>(numbers.size()));
}

nlohmann::ordered_json to_json(const Eigen::VectorXd& vector) {
    return std::vector<double>(vector.begin(), vector.end());
}

}  // namespace

compressor::compressor(model& m, compression_input input, progress& bar)
    : model_(m),
      input_(std::move(input)),
      bar_(bar),
      journal_(input_.kept != nullptr ? *input_.kept : no_journal_),
      world_(input_.world != nullptr ? *input_.world : alone_),
      originals_(dense_layers(m)) {
    auto& text = calibrations_[{false, nsvd::moments::raw}];
    if (!input_.calibration.empty() || input_.statistics.empty())
        text.windows = draw_text(input_.calibration, input_.sample, input_.calibration_name);
    text.share = share_of(text.windows);
    (void)protected_units({});
}

std::int64_t compressor::calibration_tokens() const {
    std::int64_t tokens = 0;
    for (const auto& window : calibrations_.at({false, nsvd::moments::raw}).windows.windows)
        tokens += static_cast<std::int64_t>(window.size());
    return tokens;
}

void compressor::restore() {
    for (std::size_t i = 0; i < originals_.size(); ++i)
        model_.layer(i) = originals_[i];
}

std::string compressor::own_name(const std::string& name) const {
    return world_.alone() ? name : fmt::format("{}-{}-of-{}", name, world_.own(), world_.count());
}

std::unique_ptr<input_statistics> compressor::kept_by_owners(std::unique_ptr<statistics_source> mine,
                                                             distributed_statistics::parts are,
                                                             input_statistics::memory keep) {
    if (!world_.alone())
        mine = std::make_unique<distributed_statistics>(
            std::move(mine), are, model_, world_,
            [this](std::size_t block, const site& where) { return owners_of(block, where); });
    return std::make_unique<input_statistics>(std::move(mine), keep);
}

std::unique_ptr<input_statistics> compressor::statistics_of(const weighted_windows& share,
                                                            nsvd::moments about, const char* name,
                                                            input_statistics::memory keep) {
    const auto* const kind = about == nsvd::moments::central ? "-central" : "";
    return kept_by_owners(
        std::make_unique<statistics_of_text>(model_, originals_, share, about, journal_,
                                             own_name(fmt::format("{}{}", name, kind)), input_.threads, bar_),
        distributed_statistics::parts::shares, keep);
}

void compressor::find_owners(const recipe& r, const std::vector<unit>& units) {
    auto costs = predicted_flops(r, units);
    std::vector<std::uint8_t> left;
    for (std::size_t i = 0; i < units.size(); ++i)
        left.push_back(is_kept(i) ? 0 : 1);
    world_.any(left);
    for (std::size_t i = 0; i < units.size(); ++i)
        if (left[i] == 0) costs[i] = 0;
    owners_ = assign(costs, world_.count());
    site_owners_.assign(model_.sites(), {});
    for (std::size_t i = 0; i < units.size(); ++i) {
        const auto layer = units[i].layers.front();
        for (const auto& where : model_.block_sites()) {
            // Statistics of an expert are shrunk towards those of all experts of its block.
            const auto& own = model_.input_site(layer);
            if (where.kind != own.kind) continue;
            auto& owners = site_owners_[model_.site_index(model_.block_of(layer), where)];
            if (std::find(owners.begin(), owners.end(), owners_[i]) == owners.end())
                owners.push_back(owners_[i]);
        }
    }
}

auto compressor::calibration_for(bool own_text, nsvd::moments about) -> const calibrated& {
    // From several threads at once, where it is there already.
    const auto there = calibrations_.find({own_text, about});
    if (there != calibrations_.end() && there->second.statistics) return there->second;
    auto& result = calibrations_[{own_text, about}];
    const auto& text_windows = calibrations_.at({false, nsvd::moments::raw}).windows;
    if (!own_text) {
        if (about != nsvd::moments::raw) result.windows = text_windows;
        result.share = share_of(result.windows);
        if (input_.statistics.empty())
            result.statistics = statistics_of(result.share, about, "text", memory());
        else
            result.statistics =
                kept_by_owners(std::make_unique<statistics_in_files>(model_, input_.statistics, about),
                               distributed_statistics::parts::whole, memory());
        return result;
    }
    auto& plain = calibration_for(false, about);
    if (!own_windows_) {
        if (text_windows.windows.empty())
            throw nsvd::error(
                "own-text wants a text beside it, which says how much it counts: --calibration");
        restore();
        bar_.label("text of the model's own");
        auto all = text_windows;
        add_own_text(all, model_, input_.sample.seed, input_.threads, journal_, bar_, world_);
        const auto before = static_cast<std::ptrdiff_t>(text_windows.windows.size());
        own_windows_.emplace();
        own_windows_->windows.assign(all.windows.begin() + before, all.windows.end());
        own_windows_->weights.assign(all.weights.begin() + before, all.weights.end());
        own_share_ = share_of(*own_windows_);
    }
    result.windows = text_windows;
    for (std::size_t i = 0; i < own_windows_->windows.size(); ++i) {
        result.windows.windows.push_back(own_windows_->windows[i]);
        result.windows.weights.push_back(own_windows_->weights[i]);
    }
    result.share = share_of(result.windows);
    own_[about] = statistics_of(own_share_, about, "own", input_statistics::memory::one_block);
    result.statistics = std::make_unique<input_statistics>(
        std::make_unique<merged_statistics>(*plain.statistics, *own_[about]), memory());
    return result;
}

const nsvd::calibration<float>& compressor::inputs_of(const unit& u, const calibrated& c) const {
    const auto layer = u.layers.front();
    return c.statistics->block(model_.block_of(layer))[model::index_in_block(model_.input_site(layer))];
}

nsvd::calibration<float> compressor::metric_inputs(const unit& u, const calibrated& c) const {
    const auto layer = u.layers.front();
    const auto& sites = c.statistics->block(model_.block_of(layer));
    return for_metric(
        model_, model_.input_site(layer), [&](const site& where) -> const auto& {
            return sites[model::index_in_block(where)];
        });
}

std::vector<nsvd::calibration<float>> compressor::inputs_in(const std::vector<calibration_set>& sets,
                                                            const unit& u) const {
    const auto layer = u.layers.front();
    std::vector<nsvd::calibration<float>> inputs;
    for (const auto& set : sets) {
        std::map<std::size_t, nsvd::calibration<float>> read;
        inputs.push_back(for_metric(
            model_, model_.input_site(layer), [&](const site& where) -> const auto& {
                const auto at = model::index_in_block(where);
                const auto found = read.find(at);
                if (found != read.end()) return found->second;
                return read.emplace(at, set.at(site_prefix(model_, model_.block_of(layer), where)))
                    .first->second;
            }));
    }
    return inputs;
}

void compressor::for_units(const std::vector<unit>& units, std::initializer_list<const calibrated*> of,
                           const std::function<bool(std::size_t)>& pending,
                           const std::function<void(std::size_t)>& work) {
    std::vector<std::uint8_t> wanted;
    for (std::size_t i = 0; i < units.size(); ++i)
        wanted.push_back(pending(i) ? 1 : 0);
    world_.any(wanted);
    const auto block_of = [&](std::size_t i) { return model_.block_of(units[i].layers.front()); };
    std::vector<std::size_t> list;
    const auto flush = [&] {
        parallel_for(list.size(), input_.threads, [&](std::size_t job) { work(list[job]); });
        list.clear();
    };
    std::optional<std::size_t> reached;
    for (std::size_t i = 0; i < units.size(); ++i) {
        if (wanted[i] == 0) continue;
        if (reached != block_of(i)) {
            if (memory() == input_statistics::memory::one_block) flush();
            for (const auto* c : of)
                (void)c->statistics->block(block_of(i));
            reached = block_of(i);
        }
        if (owns(i)) list.push_back(i);
    }
    flush();
    if (world_.alone()) return;
    world_.wait();
    for (std::size_t i = 0; i < units.size(); ++i)
        if (wanted[i] != 0 && !owns(i) && pending(i)) throw_not_there(i, units[i]);
}

void compressor::throw_not_there(std::size_t i, const unit& u) const {
    throw nsvd::error(fmt::format(
        "{}: what process {} has written of {} is not there: all processes have to see the same folder",
        journal_.folder().string(), owners_[i], u.name));
}

void compressor::reach(std::size_t block, const calibrated& calib) {
    const bool all = memory() == input_statistics::memory::all;
    for (std::size_t i = all ? 0 : block; i < (all ? model_.shape().blocks : block + 1); ++i)
        (void)calib.statistics->block(i);
}

std::vector<bool> compressor::protected_units(const std::vector<unit>& units) {
    std::vector<bool> dense(units.size(), false);
    for (const auto& part : input_.keep_dense) {
        if (part == "spiking") {
            if (units.empty()) continue;
            std::vector<double> peaks;
            const auto before = journal_.find("peaks.json");
            if (!world_.any(!before)) {
                peaks = before->at("peaks").get<std::vector<double>>();
            } else {
                bar_.label("calibration");
                for (std::size_t block = 0; block < model_.shape().blocks; ++block) {
                    const auto& sites = text().statistics->block(block);
                    for (const auto& where : model_.block_sites()) {
                        const auto& site = sites[model::index_in_block(where)];
                        const auto& owners = owners_of(block, where);
                        const bool counts =
                            !owners.empty() && owners.front() == static_cast<int>(world_.own());
                        peaks.push_back(counts && site.tokens() > 0 ? nsvd::peak(site) : 0.0);
                    }
                }
                world_.sum(peaks);
                if (world_.is_first()) journal_.keep("peaks.json", {{"peaks", peaks}});
            }
            for (const auto site : nsvd::spiking(std::span<const double>(peaks)))
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

std::vector<Eigen::VectorXd> compressor::find_spectra(
    const std::vector<unit>& units, const std::function<nsvd::metric(const unit&)>& metric_of,
    const calibrated& calib) {
    std::vector<Eigen::VectorXd> found(units.size());
    const auto entry = [](std::size_t i) { return fmt::format("spectrum-{:05}.json", i); };
    bar_.label("spectra");
    bar_.expect(units.size() / world_.count());
    const auto pending = [&](std::size_t i) {
        if (const auto before = journal_.find(entry(i))) found[i] = vector_from(before->at("spectrum"));
        return found[i].size() == 0;
    };
    for_units(units, {&calib}, pending, [&](std::size_t i) {
        named(units[i], [&] {
            found[i] = nsvd::every_rank(weight_of(units[i], originals_), metric_of(units[i])).info().spectrum;
        });
        journal_.keep(entry(i), {{"spectrum", to_json(found[i])}});
        bar_.step();
    });
    return found;
}

std::vector<method_options> compressor::tune(const recipe& r, const std::vector<unit>& units,
                                             const unit_ranks& ranks, const calibrated& calib) {
    std::vector<method_options> options(units.size(), options_of(r));
    if (!r.tuned && !r.tuned_once) return options;
    if (input_.held_out.empty())
        throw nsvd::error(fmt::format("{}: a tuned recipe wants a second text: --tune FILE", r.name));
    if (!r.how->whitening) throw nsvd::error(fmt::format("{}: plain SVD has nothing to tune", r.name));
    if (!held_out_) {
        held_out_.emplace();
        held_out_->windows = draw_text(input_.held_out, input_.sample, input_.held_out_name);
        held_out_->share = share_of(held_out_->windows);
        held_out_->statistics = statistics_of(held_out_->share, nsvd::moments::raw, "held-out", memory());
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
    const auto entry = [](std::size_t i) { return fmt::format("tuning-{:05}.json", i); };
    const auto pending = [&](std::size_t i) {
        if (!ranks[i]) return false;
        if (const auto before = journal_.find(entry(i))) losses[i] = numbers_from(before->at("losses"));
        return losses[i].empty();
    };
    for_units(units, {&calib, &*held_out_}, pending, [&](std::size_t i) {
        losses[i] = named(units[i], [&] {
            return nsvd::held_out_losses(weight_of(units[i], originals_), metric_inputs(units[i], calib),
                                         metric_inputs(units[i], *held_out_), *ranks[i], grid);
        });
        journal_.keep(entry(i), {{"losses", losses[i]}});
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

layer_result compressor::result_of(const unit& u) const {
    const auto block = model_.block_of(u.layers.front());
    layer_result result{
        .name = u.name,
        .block = static_cast<std::int64_t>(block),
        .kind = u.name.substr(fmt::format("{}.{}.", model_.shape().names.blocks, block).size()),
        .m = u.shape.rows,
        .n = u.shape.cols,
        .full_rank = u.shape.full_rank(),
    };
    for (const auto own : u.layers)
        result.dense_bytes += stored_bytes(originals_[own], model_.layer_dtype(own));
    return result;
}

layer_result compressor::leave_dense(const unit& u) {
    auto result = result_of(u);
    result.rank = result.full_rank;
    result.bytes = result.dense_bytes;
    result.status = "dense";
    for (const auto own : u.layers) {
        model_.layer(own) = originals_[own];
        result.parameters += originals_[own].parameters();
    }
    return result;
}

layer_result compressor::put(std::size_t i, const unit& u, const Eigen::MatrixXf& w, const linear& layer,
                             const nsvd::decomposition_info& info, double seconds) {
    const auto type = model_.layer_dtype(u.layers.front());
    auto stored = rounded(layer, type, u.name);
    const auto factors = factors_of(stored);
    auto record = result_of(u);
    record.rank = factors.rank();
    record.parameters = stored.parameters();
    record.bytes = stored_bytes(stored, type);
    const auto& inputs = inputs_of(u, text());
    record.weighted_error = inputs.tokens() > 0 ? nsvd::weighted_error(w, factors, inputs) : 0.0;
    record.plain_error = nsvd::plain_error(w, factors);
    record.seconds = seconds;
    record.status = to_string(info.status);
    record.spectrum = sample_spectrum(info.spectrum);
    if (journal_.keeps()) {
        keep_tensors(journal_, layer_entry(i), layer_tensors(stored, type, u.name),
                     {{"record", to_json(record).dump()}});
        if (input_.low_memory) stored = kept_layer(i, u).layer;
    }
    for (const auto own : u.layers)
        model_.layer(own) = linear();
    model_.layer(u.layers.front()) = std::move(stored);
    return record;
}

bool compressor::is_kept(std::size_t i) const {
    return journal_.has(layer_entry(i));
}

stored_layer compressor::kept_layer(std::size_t i, const unit& u) const {
    auto file = std::make_shared<const checkpoint>(journal_.path(layer_entry(i)));
    return defer_layer(std::move(file), u.name, u.shape.rows, u.shape.cols);
}

bool compressor::take_kept(std::size_t i, const unit& u, std::vector<layer_result>& records) {
    if (!is_kept(i)) return false;
    const auto path = journal_.path(layer_entry(i));
    const checkpoint entry(path);
    check_kept(journal_, entry.files().front());
    const auto layer = kept_layer(i, u).layer;
    try {
        records[i] = read_layer_result(
            json_reader(nlohmann::ordered_json::parse(entry.files().front().metadata().at("record"))));
    } catch (const std::exception& e) {
        throw nsvd::error(
            fmt::format("{}: no layer of this program ({}): remove it", path.string(), e.what()));
    }
    for (const auto own : u.layers)
        model_.layer(own) = linear();
    model_.layer(u.layers.front()) = input_.low_memory ? layer : layer.loaded();
    if (owns(i)) bar_.step();
    return true;
}

void compressor::compress_apart(const recipe& r, const std::vector<unit>& units, const unit_ranks& ranks,
                                const std::vector<method_options>& options, const calibrated& calib,
                                std::vector<layer_result>& records) {
    std::vector<calibration_set> stages;
    if (in_stages())
        for (const auto& path : input_.statistics)
            stages.emplace_back(path);
    const auto pending = [&](std::size_t i) {
        if (take_kept(i, units[i], records)) return false;
        if (!ranks[i]) records[i] = leave_dense(units[i]);
        return ranks[i].has_value();
    };
    for_units(units, {&calib, &text()}, pending, [&](std::size_t i) {
        const auto& u = units[i];
        const auto start = clock::now();
        const auto w = weight_of(u, originals_);
        named(u, [&] {
            thread_local nsvd::workspace memory;  // one layer's for the next
            const auto inputs = metric_inputs(u, calib);
            auto d = stages.empty() ? decompose(*r.how, w, inputs, *ranks[i], options[i], memory)
                                    : decompose_in_stages(*r.how, w, inputs_in(stages, u), *ranks[i],
                                                          options[i], memory);
            const auto info = d.info;
            const auto layer = stored_in(r, std::move(d), bias_of(u, originals_), w, inputs, {});
            records[i] = put(i, u, w, layer, info, seconds_since(start));
        });
        bar_.step();
    });
}

std::vector<layer_result> compressor::run(const recipe& r) {
    if (r.anchored && in_stages())
        throw nsvd::error(fmt::format(
            "{}: anchored layers have no stage for each of several statistics: pool them", r.name));
    restore();
    const auto units = units_of(model_, r.joint);
    find_owners(r, units);
    if (r.anchored || r.ranks == rank_rule::measured || r.ranks == rank_rule::sensitivity)
        require_text(text().windows, r);
    const auto& calib = calibration_for(r.own_text, moments_of(r));
    const auto metric_of = [&](const unit& u) {
        return first_metric(*r.how, metric_inputs(u, calib), options_of(r));
    };
    const rank_evidence evidence{
        .spectra = [&]() -> const std::vector<Eigen::VectorXd>& {
            auto& found = spectra_[metric_key(r)];
            if (found.empty()) found = find_spectra(units, metric_of, calib);
            return found;
        },
        .effects = [&]() -> const std::vector<unit_effects>& {
            const bool pivoted = r.storage == nsvd::storage::pivoted;
            auto& found = effects_[fmt::format("{} {}", metric_key(r), pivoted)];
            if (!found.empty()) return found;
            const auto ranks = [&](const unit& u) { return tried_ranks(u, r.storage); };
            bar_.label("layers compressed alone");
            for (std::size_t i = 0; i < units.size(); ++i)
                if (owns(i)) bar_.expect(ranks(units[i]).size());
            auto windows = calib.windows.spread(tried_windows);
            for (auto& window : windows)
                window.resize(std::min(window.size(), tried_tokens));
            found = measure_effects(model_, originals_, units, metric_of, ranks, windows, journal_,
                                    input_.threads, bar_, world_, owners_,
                                    [&](std::size_t block) { reach(block, calib); });
            return found;
        }};
    const auto ranks = choose_ranks(model_, units, r, protected_units(units), evidence);
    const auto options = tune(r, units, ranks, calib);
    bar_.label(fmt::format("{} at {:g} %", r.label, 100 * r.compression));
    std::vector<layer_result> records(units.size());
    if (r.anchored)
        compress_in_order(r, units, ranks, options, calib, records);
    else
        compress_apart(r, units, ranks, options, calib, records);
    return records;
}

}  // namespace llm
