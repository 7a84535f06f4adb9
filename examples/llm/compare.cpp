// SPDX-License-Identifier: MIT
#include "compare.hpp"

#include "compress.hpp"
#include "machine.hpp"
#include "perplexity.hpp"
#include "similarity.hpp"
#include "stored_layer.hpp"
#include "unit.hpp"

#include <nsvd/error.hpp>
#include <nsvd/version.hpp>

#include <fmt/format.h>

#include <algorithm>

namespace llm {
namespace {

struct text {
    std::string file;
    std::vector<token> tokens;
};

std::vector<text> read_texts(const compare_options& options, const model& m) {
    std::vector<text> texts;
    for (const auto& [name, path] : options.texts)
        texts.push_back({path.string(), read_tokens(path, m.folder(), m.shape().vocab_size)});
    return texts;
}

std::vector<text_result> evaluate_all(const model& m, const std::vector<text>& texts, std::size_t context,
                                      unsigned threads, progress& bar) {
    std::vector<text_result> results;
    for (const auto& [file, tokens] : texts) {
        auto e = evaluate(m, tokens, context, file, threads, bar);
        results.push_back({.nll = e.nll, .perplexity = e.perplexity, .window_nll = std::move(e.window_nll)});
    }
    return results;
}

comparison_row summary(const recipe& r, std::vector<layer_result> layers) {
    comparison_row row;
    row.method = r.name;
    row.label = r.label;
    row.compression = r.compression;
    for (const auto& layer : layers) {
        row.parameters += layer.parameters;
        row.bytes += layer.bytes;
        row.weighted_error += layer.weighted_error / static_cast<double>(layers.size());
        row.plain_error += layer.plain_error / static_cast<double>(layers.size());
        row.seconds += layer.seconds;
    }
    for (auto& layer : layers)
        layer.spectrum = {};
    row.layers = std::move(layers);
    return row;
}

/// At most 16 windows of each: the cosines hardly change with more.
text_similarity similarity_of(const compare_options& options, const model& m,
                              const std::vector<token>& calibration, const std::vector<text>& texts,
                              std::size_t context, progress& bar) {
    constexpr std::size_t enough = 16;
    const sampling sample{context, std::min(enough, options.windows), options.seed};
    std::vector<named_windows> all{
        {"calibration", draw_text(calibration, sample, options.calibration.string())}};
    for (std::size_t i = 0; i < texts.size(); ++i)
        all.push_back({options.texts[i].first, draw_text(texts[i].tokens, sample, texts[i].file)});
    bar.label("similarity of the texts");
    return measure_similarity(m, all, options.threads, bar);
}

/// The recipe that the others are measured against.
std::string reference_of(const compare_options& options) {
    const auto has = [&](std::string_view name) {
        return std::any_of(options.recipes.begin(), options.recipes.end(),
                           [&](const recipe& r) { return r.name == name; });
    };
    if (options.reference) {
        if (!has(*options.reference))
            throw nsvd::error(fmt::format("--against {}: not among the methods", *options.reference));
        return *options.reference;
    }
    return has("asvd-1") ? "asvd-1" : has("nsvd-1") ? "nsvd-1" : options.recipes.front().name;
}

}  // namespace

std::size_t context_of(const model& m, std::size_t wanted) {
    const auto context =
        wanted != 0 ? wanted : std::min<std::size_t>(m.shape().max_position_embeddings, 2048);
    if (context < 2)
        throw nsvd::error(fmt::format(
            "{}: a prediction wants windows of 2 tokens or more",
            wanted != 0 ? "--context is 1"
                        : (m.folder() / "config.json").string() + ": max_position_embeddings is 1"));
    return context;
}

comparison compare(const compare_options& options) {
    auto m = read_model(options.model);
    const auto context = context_of(m, options.context);
    const auto texts = read_texts(options, m);
    const auto calibration = read_tokens(options.calibration, m.folder(), m.shape().vocab_size);
    const auto calibration_name = options.calibration.string();

    std::size_t text_steps = 0;
    for (const auto& [file, tokens] : texts)
        text_steps += evaluation_steps(m, tokens.size(), context);
    const auto calibration_windows =
        std::min(windows(calibration, context, calibration_name).size(), options.windows);
    const auto rows = options.recipes.size() * options.compressions.size();
    progress bar((rows + 1) * text_steps + rows * m.layers());

    comparison result;
    result.model = options.model.string();
    result.calibration = calibration_name;
    result.in_domain = options.in_domain;
    result.context = static_cast<std::int64_t>(context);
    result.calibration_windows = static_cast<std::int64_t>(calibration_windows);
    result.calibration_tokens = static_cast<std::int64_t>(calibration_windows * context);
    result.seed = options.seed;
    result.share = options.share;
    result.reference = reference_of(options);
    result.machine = machine_description(options.threads);
    result.date = today();
    result.version = NSVD_VERSION;

    bar.label("dense");
    result.dense = evaluate_all(m, texts, context, options.threads, bar);
    for (std::size_t i = 0; i < texts.size(); ++i) {
        result.text_names.push_back(options.texts[i].first);
        result.counted.push_back(result.dense[i].perplexity <= static_cast<double>(m.shape().vocab_size));
    }
    for (std::size_t i = 0; i < m.layers(); ++i) {
        result.dense_parameters += m.layer(i).parameters();
        result.dense_bytes += stored_bytes(m.layer(i), m.layer_dtype(i));
        if (m.layer(i).form() != layer_form::dense) result.baseline = "as stored";
    }
    if (options.similarity) result.similarity = similarity_of(options, m, calibration, texts, context, bar);
    compression_input input{.calibration = calibration,
                            .calibration_name = calibration_name,
                            .sample = {context, options.windows, options.seed},
                            .keep_dense = options.keep_dense,
                            .threads = options.threads};
    if (!options.held_out.empty()) {
        input.held_out = read_tokens(options.held_out, m.folder(), m.shape().vocab_size);
        input.held_out_name = options.held_out.string();
    }
    compressor compress(m, std::move(input), bar);
    for (const double compression : options.compressions) {
        for (recipe r : options.recipes) {
            r.compression = compression;
            auto row = summary(r, compress.run(r));
            bar.label(fmt::format("{} at {:g} %", r.label, 100 * compression));
            row.texts = evaluate_all(m, texts, context, options.threads, bar);
            result.rows.push_back(std::move(row));
        }
    }
    return result;
}

}  // namespace llm
