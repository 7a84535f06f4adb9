// SPDX-License-Identifier: MIT
// Anchored regression (2604.02119): every unit is decomposed on the inputs B that the compressed layers
// before it give, for what the original gives on its inputs A; a unit that writes to the residual stream
// makes up for what that has gone wrong by so far. Which tokens an expert sees, and how much they count, is
// what the router of the original decides, for both models: inputs that are to be compared have to be of the
// same tokens. What has gone wrong before the experts of a token is made up for once: their weights add up
// to 1.
#include "compress.hpp"
#include "compress_steps.hpp"
#include "shrinkage.hpp"
#include "threads.hpp"

#include <nsvd/error.hpp>
#include <nsvd/nsvd.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <span>
#include <utility>

namespace llm {
namespace {

/// What a site's layers take of a window.
struct site_input {
    Eigen::MatrixXf x;
    Eigen::VectorXd weights;   // of its columns
    Eigen::MatrixXf residual;  // the stream of the same tokens, where they write to it
};

/// A window before a block, taken to all of its sites of one kind.
std::vector<site_input> site_inputs(const model& m, std::size_t block, site_kind kind, block_layers layers,
                                    window_pass& pass) {
    std::vector<site_input> inputs;
    m.reach_all(block, kind, layers, pass, [&](const site& where) {
        auto& own = inputs.emplace_back();
        own.weights = pass.input_weights(where);
        own.x = std::move(pass.input);
        if (!where.writes()) return;
        if (pass.routes && is_of_experts(kind))
            own.residual = pass.residual(Eigen::all, pass.routes->experts[where.expert].tokens);
        else
            own.residual = pass.residual;
    });
    return inputs;
}

/// What a site's layers are made from.
struct anchored_inputs {
    nsvd::calibration<float> pairs;  // of the original inputs and the compressed model's
    bool writes;                     // to the residual stream
    Eigen::MatrixXd error_moments;   // Σ (x − x′) bᵀ of the residual streams x and x′, where it does
    Eigen::VectorXd mean_error;

    anchored_inputs(const model& m, const site& where, nsvd::moments about)
        : pairs(static_cast<Eigen::Index>(m.site_features(m.site_index(0, where))), about),
          writes(where.writes()) {
        const auto rows = writes ? static_cast<Eigen::Index>(m.shape().hidden_size) : 0;
        error_moments.setZero(rows, pairs.features());
        mean_error.setZero(rows);
    }

    void add(const site_input& a, const site_input& b, double weight) {
        if (b.x.cols() == 0) return;
        const Eigen::VectorXd weights = weight * b.weights;
        pairs.update(a.x, b.x, weights);
        if (!writes) return;
        Eigen::MatrixXf error = a.residual - b.residual;
        error.array().rowwise() *= b.weights.cast<float>().transpose().array();
        error_moments += weight * (error * b.x.transpose()).cast<double>();
        mean_error += weight * error.cast<double>().rowwise().sum();
    }
};

template <class Matrix>
std::span<double> numbers_of(Matrix& a) {
    return {a.data(), static_cast<std::size_t>(a.size())};
}

}  // namespace

void compressor::compress_in_order(const recipe& r, const std::vector<unit>& units, const unit_ranks& ranks,
                                   const std::vector<method_options>& options, const calibrated& calib,
                                   std::vector<layer_result>& records) {
    if (!r.how->whitening || *r.how->whitening == nsvd::whitening::diagonal)
        throw nsvd::error(
            fmt::format("{}: anchored regression has the metric of a Gram matrix: use asvd-1, "
                        "asvd-2 or a nested method",
                        r.name));
    require_text(calib.windows, r);
    const auto windows = calib.share.windows.size();
    text_stream original(model_, calib.share, journal_, own_name("original"));
    text_stream compressed(model_, calib.share, journal_, own_name("compressed"));
    const std::size_t at_once = input_.threads != 0 ? input_.threads : default_threads();

    // Of the sites of one kind, in their order.
    const auto inputs_at = [&](std::size_t block, site_kind kind, block_layers own, block_layers now) {
        std::vector<site> sites;
        std::vector<anchored_inputs> results;
        for (const auto& where : model_.block_sites()) {
            if (where.kind != kind) continue;
            sites.push_back(where);
            results.emplace_back(model_, where, moments_of(r));
        }
        bar_.expect(windows);
        for (std::size_t begin = 0; begin < windows; begin += at_once) {
            const auto count = std::min(at_once, windows - begin);
            std::vector<std::vector<site_input>> a(count), b(count);
            parallel_for(count, input_.threads, [&](std::size_t i) {
                auto of_original = original.take(begin + i), of_compressed = compressed.take(begin + i);
                a[i] = site_inputs(model_, block, kind, own, of_original);
                of_compressed.given_routes = of_original.routes;
                b[i] = site_inputs(model_, block, kind, now, of_compressed);
            });
            for (std::size_t i = 0; i < count; ++i) {
                for (std::size_t s = 0; s < sites.size(); ++s)
                    results[s].add(a[i][s], b[i][s], calib.share.weights[begin + i]);
                bar_.step();
            }
        }
        bool mine = true;
        for (std::size_t s = 0; s < sites.size() && !world_.alone(); ++s) {
            const auto& owners = owners_of(block, sites[s]);
            mine = world_.is_among(owners);
            world_.reduce(results[s].pairs, owners);
            world_.sum(numbers_of(results[s].error_moments));
            world_.sum(numbers_of(results[s].mean_error));
        }
        if (!mine) return results;
        std::vector<nsvd::calibration<float>> shrunk;
        for (const auto& where : sites)
            shrunk.push_back(for_metric(
                model_,
                where, [&](const site& other) -> const auto& { return results[other.expert].pairs; }));
        for (std::size_t s = 0; s < sites.size(); ++s) {
            auto& [pairs, writes, error_moments, mean_error] = results[s];
            pairs = std::move(shrunk[s]);
            mean_error /= pairs.weight();
            if (writes && r.bias) error_moments -= pairs.weight() * mean_error * pairs.mean().transpose();
        }
        return results;
    };

    const auto compress_unit = [&](std::size_t i, const anchored_inputs& inputs) {
        const auto& u = units[i];
        const auto start = clock::now();
        const auto w = weight_of(u, originals_);
        named(u, [&] {
            auto d = nsvd::anchored(w, inputs.pairs, nsvd::rank{*ranks[i]},
                                    {.epsilon = r.epsilon + options[i].blend,
                                     .share = r.how->residual ? options[i].share : 1.0,
                                     .moments = moments_of(r),
                                     .output_error = inputs.writes ? &inputs.error_moments : nullptr,
                                     .residual = r.how->residual.value_or(nsvd::residual::svd)});
            const auto info = d.info;
            auto layer =
                stored_in(r, std::move(d), bias_of(u, originals_), w, inputs.pairs, inputs.mean_error);
            records[i] = put(i, u, w, std::move(layer), info, seconds_since(start));
        });
        bar_.step();
    };

    // A run before this one may have left the streams further on, but never beyond what it has finished.
    original.rewind(model_.shape().blocks);
    compressed.rewind(model_.shape().blocks);
    const auto bring_to = [&](std::size_t block, text_stream& stream, const auto& layers) {
        if (stream.block() > block) stream.rewind(block);
        while (stream.block() < block) {
            const auto at = stream.block();
            const auto own = in_memory(layers(at));
            bar_.expect(windows);
            stream.advance(input_.threads, [&](std::size_t, window_pass& pass) {
                model_.pass_through(at, own, pass);
                bar_.step();
            });
        }
    };
    std::vector<std::uint8_t> left(units.size(), 0);
    for (std::size_t i = 0; i < units.size(); ++i) {
        if (take_kept(i, units[i], records)) continue;
        if (ranks[i])
            left[i] = 1;
        else
            records[i] = leave_dense(units[i]);
    }
    world_.any(left);
    for (std::size_t block = 0; block < model_.shape().blocks; ++block) {
        std::vector<std::size_t> here;  // what is left of the block
        for (std::size_t i = 0; i < units.size(); ++i)
            if (left[i] != 0 && model_.block_of(units[i].layers.front()) == block) here.push_back(i);
        if (here.empty()) continue;
        bring_to(block, original, [&](std::size_t at) { return block_of(originals_, at, model_); });
        bring_to(block, compressed, [&](std::size_t at) { return model_.block(at); });
        const auto own = in_memory(block_of(originals_, block, model_));
        (void)text().statistics->block(block);
        for (const auto kind : site_kinds) {
            std::vector<std::size_t> pending;
            for (const auto i : here)
                if (model_.input_site(units[i].layers.front()).kind == kind) pending.push_back(i);
            if (pending.empty()) continue;
            const auto inputs = inputs_at(block, kind, own, in_memory(model_.block(block)));
            const auto others =
                std::stable_partition(pending.begin(), pending.end(), [&](auto i) { return owns(i); });
            parallel_for(static_cast<std::size_t>(others - pending.begin()), input_.threads,
                         [&](std::size_t job) {
                             const auto i = pending[job];
                             compress_unit(i, inputs[model_.input_site(units[i].layers.front()).expert]);
                         });
            world_.wait();
            for (auto i = others; i != pending.end(); ++i)
                if (!take_kept(*i, units[*i], records)) throw_not_there(*i, units[*i]);
        }
    }
}

}  // namespace llm
