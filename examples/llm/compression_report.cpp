// SPDX-License-Identifier: MIT
#include "compression_report.hpp"

#include "cells.hpp"
#include "layer_map.hpp"
#include "markup.hpp"
#include "spectrum_chart.hpp"
#include "terminal.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace llm {
namespace {

using json = nlohmann::ordered_json;

constexpr const char* format_name = "nsvd.report";
constexpr std::int64_t newest_version = 1;

std::string change_text(double from, double to) {
    return from > 0 && std::isfinite(to) ? fmt::format("× {:.3f}", to / from) : "–";
}

std::string percent_of(std::int64_t part, std::int64_t whole) {
    return whole == 0 ? std::string()
                      : fmt::format("{:.1f} %", 100 * static_cast<double>(part) / static_cast<double>(whole));
}

std::string texts_html(const compression_report& r) {
    if (r.texts.empty()) return {};
    std::string out =
        "<h2>Perplexity</h2><div class=\"wide\"><table><thead><tr><th scope=\"col\">text</th><th "
        "scope=\"col\">dense</th><th scope=\"col\">compressed</th><th "
        "scope=\"col\">change</th></tr></thead><tbody>";
    for (const auto& text : r.texts)
        out += fmt::format("<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td>{}</td></tr>",
                           escaped(text.name), perplexity_text(text.dense), perplexity_text(text.compressed),
                           change_text(text.dense, text.compressed));
    return out + "</tbody></table></div>";
}

std::string spectra_html(const compression_report& r) {
    std::vector<std::string> kinds = kinds_of(r.layers);
    std::int64_t blocks = 1;
    double lowest = 0;
    bool any = false;
    for (std::size_t i = 0; i < r.layers.size(); ++i) {
        blocks = std::max(blocks, r.layers[i].block + 1);
        any = any || !r.layers[i].spectrum.empty();
        if (r.layers[i].spectrum.empty()) continue;
        // The few values at the end, which fall to those of rounding, would flatten the rest.
        const double end = 0.95 * static_cast<double>(r.layers[i].spectrum.index.back());
        const double cut = r.layers[i].dense() ? 0 : static_cast<double>(r.layers[i].rank);
        lowest = std::min(lowest, r.layers[i].spectrum.log_ratio(std::max(end, cut)));
    }
    if (!any) return {};
    std::string out =
        "<h2>Spectra</h2><p>Squared singular values of each layer in the metric of its decomposition, "
        "relative to the largest; a line for each block, a ring where it was cut: what lies to the right of "
        "it is gone. All charts have one scale; a line that leaves through the lower edge ends in values "
        "that are smaller still. " +
        spectrum_legend(blocks) + "</p><div class=\"spectra\">";
    for (const auto& kind : kinds) {
        spectrum_chart chart{
            .title = kind, .full_rank = 1, .blocks = blocks, .lowest = std::min(-1., std::floor(lowest))};
        for (std::size_t i = 0; i < r.layers.size(); ++i) {
            const auto& layer = r.layers[i];
            if (layer.kind != kind || r.layers[i].spectrum.empty()) continue;
            chart.full_rank = std::max(chart.full_rank, layer.full_rank);
            chart.lines.push_back({.name = layer.name,
                                   .block = layer.block,
                                   .rank = layer.rank,
                                   .cut = !layer.dense(),
                                   .spectrum = r.layers[i].spectrum});
        }
        if (!chart.lines.empty()) out += "\n<figure>" + draw(chart) + "</figure>";
    }
    return out + "</div>";
}

/// "share 0.95, seed 0".
std::string options_text(const nlohmann::ordered_json& options) {
    std::string text;
    if (!options.is_object()) return text;
    for (const auto& [key, value] : options.items())
        text += (text.empty() ? "" : ", ") + key + " " +
                (value.is_string() ? value.get<std::string>() : value.dump());
    return text;
}

std::string summary_html(const compression_report& r) {
    fact_list facts;
    facts.add("method", fmt::format("{} ({})", r.label, r.method));
    facts.add("removed", percent_text(r.compression) + " of the parameters of the linear layers");
    facts.add("bytes", fmt::format("{} of {} ({})", bytes_text(r.bytes), bytes_text(r.dense_bytes),
                                   percent_of(r.bytes, r.dense_bytes)));
    facts.add("parameters", fmt::format("{} of {} ({})", r.parameters, r.dense_parameters,
                                        percent_of(r.parameters, r.dense_parameters)));
    const auto dense = std::count_if(r.layers.begin(), r.layers.end(), [](auto& l) { return l.dense(); });
    facts.add("layers", fmt::format("{}, {} of them left dense", r.layers.size(), dense));
    return facts.html();
}

std::string making_html(const compression_report& r) {
    fact_list facts;
    facts.add("model", r.model);
    facts.add("output", r.output);
    for (const auto& text : r.calibration)
        facts.add("calibration",
                  fmt::format("{}: {} tokens in {} windows", text.file, text.tokens, text.windows));
    facts.add("options", options_text(r.options));
    facts.add("time", fmt::format("{:.1f} s", r.seconds));
    if (r.mpi_ranks > 1) facts.add("MPI", fmt::format("{} processes", r.mpi_ranks));
    facts.add("machine", r.machine);
    facts.add("date", r.date);
    facts.add("nsvd", r.nsvd);
    facts.add_code("command", r.command);
    return "<h2>How this was made</h2>" + facts.html();
}

}  // namespace

bool is_compression_report(const nlohmann::ordered_json& report) {
    return report.is_object() && report.contains("format") && report["format"] == format_name;
}

compression_report read_compression_report(const nlohmann::ordered_json& report) {
    const json_reader from(report);
    const auto format = from.at("format");
    if (format.text() != format_name)
        format.fail(fmt::format("is '{}': want '{}'", format.text(), format_name));
    const auto version = from.at("version");
    if (version.integer() < 1 || version.integer() > newest_version)
        version.fail(fmt::format("is {}: known is {}", version.integer(), newest_version));
    compression_report r;
    r.nsvd = from.text_or("nsvd", "");
    r.command = from.text_or("command", "");
    r.date = from.text_or("date", "");
    r.machine = from.text_or("machine", "");
    r.model = from.at("model").text();
    r.output = from.text_or("output", "");
    r.method = from.at("method").text();
    r.label = from.text_or("label", r.method);
    r.compression = from.at("compression").number();
    if (from.contains("options")) r.options = from.at("options").value();
    if (from.contains("calibration"))
        for (const auto& text : from.at("calibration").items())
            r.calibration.push_back(
                {text.at("file").text(), text.integer_or("tokens", 0), text.integer_or("windows", 0)});
    r.dense_bytes = from.at("bytes").at("dense").integer();
    r.bytes = from.at("bytes").at("compressed").integer();
    r.dense_parameters = from.at("parameters").at("dense").integer();
    r.parameters = from.at("parameters").at("compressed").integer();
    r.seconds = from.number_or("seconds", 0);
    r.mpi_ranks = from.integer_or("mpi_ranks", 1);
    for (const auto& layer : from.at("layers").items())
        r.layers.push_back(read_layer_result(layer));
    if (from.contains("texts"))
        for (const auto& text : from.at("texts").items())
            r.texts.push_back({text.at("name").text(), text.at("dense").at("perplexity").number(),
                               text.at("compressed").at("perplexity").number(),
                               text.at("dense").number_or("nll", NAN),
                               text.at("compressed").number_or("nll", NAN)});
    return r;
}

json to_json(const compression_report& r) {
    json report{{"format", format_name},
                {"version", newest_version},
                {"nsvd", r.nsvd},
                {"command", r.command},
                {"date", r.date},
                {"machine", r.machine},
                {"model", r.model},
                {"output", r.output},
                {"method", r.method},
                {"label", r.label},
                {"compression", r.compression},
                {"options", r.options},
                {"job", r.job}};
    for (const auto& text : r.calibration)
        report["calibration"].push_back(
            {{"file", text.file}, {"tokens", text.tokens}, {"windows", text.windows}});
    report["bytes"] = {{"dense", r.dense_bytes}, {"compressed", r.bytes}};
    report["parameters"] = {{"dense", r.dense_parameters}, {"compressed", r.parameters}};
    report["seconds"] = r.seconds;
    report["mpi_ranks"] = r.mpi_ranks;
    for (const auto& layer : r.layers)
        report["layers"].push_back(to_json(layer));
    for (const auto& text : r.texts)
        report["texts"].push_back(
            {{"name", text.name},
             {"dense", {{"nll", text.dense_nll}, {"perplexity", text.dense}}},
             {"compressed", {{"nll", text.compressed_nll}, {"perplexity", text.compressed}}}});
    return report;
}

std::string printed(const compression_report& r) {
    double error = 0;
    for (const auto& layer : r.layers)
        error += layer.weighted_error / static_cast<double>(r.layers.size());
    auto text = fmt::format(
        "{} at {:g} %: {} layers, {} parameters where there were {}, {} of {}, mean weighted error {:.4f}: "
        "{}\n",
        without_controls(r.label), 100 * r.compression, r.layers.size(), r.parameters, r.dense_parameters,
        bytes_text(r.bytes), bytes_text(r.dense_bytes), error, without_controls(r.output));
    for (const auto& t : r.texts)
        text += fmt::format("  {}: perplexity {}, dense {}\n", without_controls(t.name),
                            perplexity_text(t.compressed), perplexity_text(t.dense));
    return text;
}

page_section compression_section(const compression_report& r) {
    layer_scale scale;
    scale.cover(r.layers);
    return {r.model + " by " + r.label + " at " + percent_text(r.compression),
            summary_html(r) + texts_html(r) +
                "\n<h2>Ranks and errors of the layers</h2><p>Weighted error: of the layer's outputs on the "
                "calibration text; plain error: of its weights; both relative. Point at a cell for all "
                "figures of its layer.</p>" +
                layer_maps(r.layers, scale) + "\n" + spectra_html(r) +
                "\n<h2>All layers</h2><details><summary>Table of " + fmt::format("{}", r.layers.size()) +
                " layers</summary>" + layer_table(r.layers) + "</details>\n" + making_html(r)};
}

std::string compression_page(const nlohmann::ordered_json& report) {
    return page({compression_section(read_compression_report(report))});
}

}  // namespace llm
