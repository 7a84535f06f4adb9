// SPDX-License-Identifier: MIT
#include "layer_map.hpp"

#include "cells.hpp"
#include "heat_map.hpp"
#include "markup.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <set>
#include <string_view>
#include <utility>

namespace llm {
namespace {

double share(std::int64_t part, std::int64_t whole) {
    return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

std::string error_text(double error) {
    return std::isfinite(error) ? fmt::format("{:.3f}", error) : "–";
}

std::string about(const layer_result& layer) {
    auto text = fmt::format("{} ({} × {}): ", layer.name, layer.m, layer.n);
    if (layer.dense()) return text + "dense, " + bytes_text(layer.bytes);
    return text + fmt::format("rank {} of {}, {} of {}, weighted error {}, plain error {}", layer.rank,
                              layer.full_rank, bytes_text(layer.bytes), bytes_text(layer.dense_bytes),
                              error_text(layer.weighted_error), error_text(layer.plain_error));
}

/// The short form of a kind: what is between the last dot and "_proj".
std::string tail(const std::string& kind) {
    constexpr std::string_view ending = "_proj";
    auto text = kind.substr(kind.rfind('.') + 1);
    if (text.size() > ending.size() && text.ends_with(ending)) text.resize(text.size() - ending.size());
    return text;
}

/// A map whose cells `fill` makes of the layers.
template <class Fill>
std::string draw_map(heat_map map, const std::vector<layer_result>& layers, const Fill& fill) {
    const auto kinds = kinds_of(layers);
    std::set<std::int64_t> blocks;
    for (const auto& layer : layers)
        blocks.insert(layer.block);
    map.corner = "block";
    for (const auto& kind : kinds)
        map.columns.push_back(short_kind(kind, kinds));
    map.cells.assign(blocks.size(), std::vector<heat_cell>(kinds.size()));
    for (const auto block : blocks)
        map.rows.push_back(fmt::format("{}", block));
    for (const auto& layer : layers) {
        const auto row = std::distance(blocks.begin(), blocks.find(layer.block));
        const auto column = std::find(kinds.begin(), kinds.end(), layer.kind) - kinds.begin();
        auto& cell = map.cells[static_cast<std::size_t>(row)][static_cast<std::size_t>(column)];
        cell = fill(layer);
        cell.about = about(layer);
    }
    return draw(map);
}

heat_map error_map(std::string title, double high) {
    return {.title = std::move(title),
            .hue = heat_hue::orange,
            .high = high,
            .low_text = "0",
            .high_text = fmt::format("{:.2g}", high)};
}

heat_cell error_cell(const layer_result& layer, double error) {
    return {.value = layer.dense() ? 0 : error,
            .text = layer.dense()          ? "0"
                    : std::isfinite(error) ? fmt::format("{:.2f}", error)
                                           : "–"};
}

}  // namespace

void layer_scale::cover(const std::vector<layer_result>& layers) {
    for (const auto& layer : layers) {
        if (std::isfinite(layer.weighted_error))
            weighted_error = std::max(weighted_error, layer.weighted_error);
        if (std::isfinite(layer.plain_error)) plain_error = std::max(plain_error, layer.plain_error);
    }
}

std::vector<std::string> kinds_of(const std::vector<layer_result>& layers) {
    std::vector<std::string> kinds;
    for (const auto& layer : layers)
        if (std::find(kinds.begin(), kinds.end(), layer.kind) == kinds.end()) kinds.push_back(layer.kind);
    return kinds;
}

std::string short_kind(const std::string& kind, const std::vector<std::string>& kinds) {
    const auto text = tail(kind);
    const auto same =
        std::count_if(kinds.begin(), kinds.end(), [&](const std::string& k) { return tail(k) == text; });
    return same > 1 || text.empty() ? kind : text;
}

std::string layer_maps(const std::vector<layer_result>& layers, const layer_scale& scale) {
    heat_map ranks{.title = "Rank, of the full one", .low_text = "0 %", .high_text = "100 %"};
    return "<div class=\"maps\">" +
           draw_map(std::move(ranks), layers,
                    [](const layer_result& layer) {
                        const double part = layer.dense() ? 1 : share(layer.rank, layer.full_rank);
                        return heat_cell{
                            .value = part,
                            .text = layer.dense() ? "dense" : fmt::format("{:.0f} %", 100 * part)};
                    }) +
           draw_map(error_map("Weighted error", scale.weighted_error), layers,
                    [](const layer_result& layer) { return error_cell(layer, layer.weighted_error); }) +
           draw_map(error_map("Plain error", scale.plain_error), layers,
                    [](const layer_result& layer) { return error_cell(layer, layer.plain_error); }) +
           "</div>";
}

std::string layer_table(const std::vector<layer_result>& layers) {
    std::string out = "<div class=\"wide\"><table><thead><tr>";
    for (const auto* name : {"layer", "m × n", "rank", "of full", "bytes", "of dense", "weighted error",
                             "plain error", "seconds", "status"})
        out += fmt::format("<th scope=\"col\">{}</th>", name);
    out += "</tr></thead><tbody>";
    for (const auto& layer : layers)
        out += fmt::format(
            "\n<tr><th scope=\"row\">{}</th><td>{} × {}</td><td>{}</td><td>{:.1f} "
            "%</td><td>{}</td><td>{:.1f} "
            "%</td><td>{}</td><td>{}</td><td>{:.2f}</td><td>{}</td></tr>",
            escaped(layer.name), layer.m, layer.n, layer.rank, 100 * share(layer.rank, layer.full_rank),
            bytes_text(layer.bytes), 100 * share(layer.bytes, layer.dense_bytes),
            error_text(layer.weighted_error), error_text(layer.plain_error), layer.seconds,
            escaped(layer.status));
    return out + "</tbody></table></div>";
}

}  // namespace llm
