// SPDX-License-Identifier: MIT
#include "compression_summary.hpp"

#include "cells.hpp"
#include "machine.hpp"

#include <nsvd/version.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

namespace llm {
namespace {

using json = nlohmann::ordered_json;

/// About 48 of the values, closer to each other at the start, the last one among them.
json thinned(const std::vector<double>& spectrum) {
    constexpr double step = 1.12;
    json index = json::array(), value = json::array();
    for (std::size_t i = 1; i <= spectrum.size();
         i = std::max(i + 1, static_cast<std::size_t>(std::ceil(static_cast<double>(i) * step)))) {
        index.push_back(i);
        value.push_back(spectrum[i - 1]);
    }
    if (index.back() != spectrum.size()) {
        index.push_back(spectrum.size());
        value.push_back(spectrum.back());
    }
    return {{"index", index}, {"value", value}};
}

struct totals {
    std::int64_t dense_parameters = 0, parameters = 0, dense_bytes = 0, bytes = 0;
    double weighted_error = 0;  // mean
};

std::int64_t dense_bytes(const compression_summary& r, const layer_record& layer) {
    return layer.m * layer.n * static_cast<std::int64_t>(size_of(r.model.layer_dtype(0)));
}

totals totals_of(const compression_summary& r) {
    totals t;
    for (const auto& layer : r.layers) {
        t.dense_parameters += layer.m * layer.n;
        t.parameters += layer.parameters;
        t.dense_bytes += dense_bytes(r, layer);
        t.bytes += layer.bytes;
        t.weighted_error += layer.weighted_error / static_cast<double>(r.layers.size());
    }
    return t;
}

}  // namespace

json to_json(const compression_summary& r) {
    const auto t = totals_of(r);
    json report{{"format", "nsvd.report"},
                {"version", 1},
                {"nsvd", NSVD_VERSION},
                {"command", r.command},
                {"date", today()},
                {"machine", machine_description(r.threads)},
                {"model", r.model.folder().string()},
                {"output", r.output},
                {"label", r.label}};
    for (const auto& [key, value] : r.about.items())
        if (key != "version" && key != "rank") report[key] = value;
    report["job"] = r.job;
    report["bytes"] = {{"dense", t.dense_bytes}, {"compressed", t.bytes}};
    report["parameters"] = {{"dense", t.dense_parameters}, {"compressed", t.parameters}};
    report["seconds"] = r.seconds;
    const auto& blocks = r.model.shape().names.blocks;
    for (const auto& layer : r.layers) {
        auto entry = to_json(layer);
        // "model.layers.3.self_attn.q_proj"
        const auto dot = layer.name.find('.', blocks.size() + 1);
        entry["block"] = std::stoll(layer.name.substr(blocks.size() + 1, dot - blocks.size() - 1));
        entry["kind"] = layer.name.substr(dot + 1);
        entry["full_rank"] = std::min(layer.m, layer.n);
        entry["dense_bytes"] = dense_bytes(r, layer);
        if (!layer.spectrum.empty()) entry["spectrum"] = thinned(layer.spectrum);
        report["layers"].push_back(std::move(entry));
    }
    for (const auto& [name, compressed] : r.texts.items())
        report["texts"].push_back(
            {{"name", name}, {"dense", r.dense_texts.at(name)}, {"compressed", compressed}});
    return report;
}

std::string printed(const compression_summary& r) {
    const auto t = totals_of(r);
    auto text = fmt::format(
        "{} at {:g} %: {} layers, {} parameters where there were {} ({} of {}), mean weighted error {:.4f}: "
        "{}\n",
        r.label, 100 * r.about.at("compression").get<double>(), r.layers.size(), t.parameters,
        t.dense_parameters, bytes_text(t.bytes), bytes_text(t.dense_bytes), t.weighted_error, r.output);
    for (const auto& [name, compressed] : r.texts.items())
        text += fmt::format("  {}: perplexity {:.6g}, dense {:.6g}\n", name,
                            compressed.at("perplexity").get<double>(),
                            r.dense_texts.at(name).at("perplexity").get<double>());
    return text;
}

}  // namespace llm
