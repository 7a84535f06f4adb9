// SPDX-License-Identifier: MIT
// Anchored regression (2604.02119): every unit is decomposed on the inputs B that the compressed layers
// before it give, for what the original gives on its inputs A; a unit that writes to the residual stream
// makes up for what that has gone wrong by so far.
#include "compress.hpp"
#include "compress_steps.hpp"
#include "threads.hpp"

#include <nsvd/error.hpp>
#include <nsvd/nsvd.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace llm {
namespace {

/// What a site's layers are made from.
struct anchored_inputs {
    nsvd::calibration<float> pairs;  // of the original inputs and the compressed model's
    bool writes;                     // to the residual stream
    Eigen::MatrixXd error_moments;   // Σ (x − x′) bᵀ of the residual streams x and x′, where it does
    Eigen::VectorXd mean_error;
};

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
    const auto windows = calib.windows.windows.size();
    text_stream original(model_, calib.windows, journal_, "original");
    text_stream compressed(model_, calib.windows, journal_, "compressed");
    const std::size_t at_once = input_.threads != 0 ? input_.threads : default_threads();

    const auto inputs_at = [&](std::size_t block, site where, block_layers own, block_layers now) {
        const auto n = static_cast<Eigen::Index>(model_.site_features(model::site_index(block, where)));
        const auto m = static_cast<Eigen::Index>(model_.shape().hidden_size);
        anchored_inputs result{
            .pairs = nsvd::calibration<float>(n, moments_of(r)),
            .writes = where == site::attention_output || where == site::feed_forward_output,
            .error_moments = {},
            .mean_error = {}};
        auto& [pairs, writes, error_moments, mean_error] = result;
        error_moments.setZero(writes ? m : 0, n);
        mean_error.setZero(writes ? m : 0);
        bar_.expect(windows);
        for (std::size_t begin = 0; begin < windows; begin += at_once) {
            const auto count = std::min(at_once, windows - begin);
            std::vector<window_pass> a(count), b(count);
            parallel_for(count, input_.threads, [&](std::size_t i) {
                a[i] = original.take(begin + i);
                b[i] = compressed.take(begin + i);
                model_.reach_from_start(block, where, own, a[i]);
                model_.reach_from_start(block, where, now, b[i]);
            });
            for (std::size_t i = 0; i < count; ++i) {
                const auto weight = calib.windows.weights[begin + i];
                const auto& x = b[i].input;
                pairs.update(a[i].input, x, Eigen::VectorXd::Constant(x.cols(), weight));
                bar_.step();
                if (!writes) continue;
                const Eigen::MatrixXf error = a[i].residual - b[i].residual;
                error_moments += weight * (error * x.transpose()).cast<double>();
                mean_error += weight * error.cast<double>().rowwise().sum();
            }
        }
        mean_error /= pairs.weight();
        if (writes && r.bias) error_moments -= pairs.weight() * mean_error * pairs.mean().transpose();
        return result;
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
    for (std::size_t block = 0; block < model_.shape().blocks; ++block) {
        std::vector<std::size_t> here;  // what is left of the block
        for (std::size_t i = 0; i < units.size(); ++i) {
            if (model_.block_of(units[i].layers.front()) != block || take_kept(i, units[i], records))
                continue;
            if (ranks[i])
                here.push_back(i);
            else
                records[i] = leave_dense(units[i]);
        }
        if (here.empty()) continue;
        bring_to(block, original, [&](std::size_t at) { return block_of(originals_, at, model_); });
        bring_to(block, compressed, [&](std::size_t at) { return model_.block(at); });
        const auto own = in_memory(block_of(originals_, block, model_));
        (void)text().statistics->block(block);
        for (const site where : all_sites) {
            std::vector<std::size_t> pending;
            for (const auto i : here)
                if (model_.input_site(units[i].layers.front()) == where) pending.push_back(i);
            if (pending.empty()) continue;
            const auto inputs = inputs_at(block, where, own, in_memory(model_.block(block)));
            parallel_for(pending.size(), input_.threads,
                         [&](std::size_t job) { compress_unit(pending[job], inputs); });
        }
    }
}

}  // namespace llm
