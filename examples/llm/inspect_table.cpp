// SPDX-License-Identifier: MIT
#include "cells.hpp"
#include "inspect.hpp"
#include "terminal.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <set>
#include <string_view>

namespace llm {
namespace {

constexpr std::size_t gap = 2;
constexpr std::size_t narrowest_spectrum = 12, widest_spectrum = 48;

std::string share_text(std::int64_t part, std::int64_t whole) {
    return whole == 0 ? "–"
                      : fmt::format("{:.1f} %", 100 * static_cast<double>(part) / static_cast<double>(whole));
}

std::string padded(const std::string& text, std::size_t width, bool to_the_left) {
    const std::string space(width - std::min(width, text_width(text)), ' ');
    return to_the_left ? text + space : space + text;
}

std::string bold(const std::string& text, bool colours) {
    return colours ? "\033[1m" + text + "\033[0m" : text;
}

/// What lies to the right of the cut is gone: dim on a terminal.
std::string dimmed_after_cut(const std::string& line, bool colours) {
    const auto cut = line.find("│");
    if (!colours || cut == std::string::npos) return line;
    return line.substr(0, cut) + "\033[2m" + line.substr(cut) + "\033[0m";
}

using fields = std::vector<std::string>;

std::vector<fields> make_rows(const inspection& found) {
    std::vector<fields> rows{{"block", "layer", "m × n", "form", "rank", "of full", "bytes", "of dense"}};
    std::int64_t block = -1;
    for (const auto& layer : found.layers) {
        rows.push_back({layer.block == block ? "" : fmt::format("{}", layer.block), layer.kind,
                        fmt::format("{} × {}", layer.m, layer.n), layer.form, fmt::format("{}", layer.rank),
                        share_text(layer.rank, layer.full_rank), bytes_text(layer.bytes),
                        share_text(layer.bytes, layer.dense_bytes)});
        block = layer.block;
    }
    return rows;
}

/// "key: value" of an object, without what is long.
std::string about_text(const nlohmann::ordered_json& about) {
    std::string text;
    for (const auto& [key, value] : about.items()) {
        if (value.is_structured()) continue;
        text += (text.empty() ? "" : ", ") + key + " " +
                (value.is_string() ? value.get<std::string>() : value.dump());
    }
    return text;
}

std::string facts(const inspection& found, std::size_t width) {
    const auto& c = found.shape;
    std::set<std::string> dtypes;
    for (const auto& layer : found.layers)
        dtypes.insert(layer.dtype);
    auto text = wrapped(found.folder, width);
    text += wrapped(
        fmt::format(
            "{}: {} blocks, hidden size {}, feed-forward {}, {} heads of {} ({} for keys and values), "
            "context {}, vocabulary {}{}; layers in {}",
            c.model_type, c.blocks, c.hidden_size, c.intermediate_size, c.heads, c.head_dim,
            c.key_value_heads, c.max_position_embeddings, c.vocab_size,
            c.tied_embeddings ? ", head tied to the embeddings" : "", fmt::join(dtypes, ", ")),
        width);
    if (found.about.is_object()) text += wrapped("nsvd: " + without_controls(about_text(found.about)), width);
    return text;
}

std::string totals(const inspection& found, std::size_t width) {
    auto text = fmt::format(
        "layers {} ({} of {} dense, {} parameters), embeddings {}", bytes_text(found.layer_bytes),
        share_text(found.layer_bytes, found.dense_layer_bytes), bytes_text(found.dense_layer_bytes),
        found.layer_parameters, bytes_text(found.embedding_bytes));
    if (found.head_bytes != 0) text += ", head " + bytes_text(found.head_bytes);
    const auto all = found.layer_bytes + found.embedding_bytes + found.head_bytes + found.other_bytes;
    text += fmt::format(", norms and others {}: {} in all", bytes_text(found.other_bytes), bytes_text(all));
    return wrapped(text, width);
}

}  // namespace

std::string sparkline(const sampled_spectrum& spectrum, std::int64_t rank, std::int64_t full_rank,
                      std::size_t width) {
    static constexpr std::array<std::string_view, 8> bars{"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    if (spectrum.empty() || full_rank < 1) return {};
    const bool cut = rank < full_rank;
    const auto columns = std::max<std::size_t>(1, width - (cut ? 1 : 0));
    const auto per_column = static_cast<double>(full_rank) / static_cast<double>(columns);
    const auto index_of = [&](std::size_t column) {
        return 0.5 + (static_cast<double>(column) + 0.5) * per_column;
    };
    // Rounding alone at the end of a spectrum would flatten the rest.
    const double low = std::clamp(spectrum.log_ratio(static_cast<double>(spectrum.index.back())), -8., -1e-9);
    const auto before_cut = static_cast<std::size_t>(
        std::clamp(std::lround(static_cast<double>(rank) / per_column), 1L, static_cast<long>(columns)));
    std::string line;
    for (std::size_t column = 0; column < columns; ++column) {
        if (cut && column == before_cut) line += "│";
        const double at = index_of(column);
        if (at > static_cast<double>(spectrum.index.back()) + 0.5) {
            line += ' ';
            continue;
        }
        const double place = std::clamp(1 - spectrum.log_ratio(at) / low, 0., 1.);
        line += bars[static_cast<std::size_t>(std::lround(place * (bars.size() - 1)))];
    }
    if (cut && before_cut == columns) line += "│";
    line.erase(line.find_last_not_of(' ') + 1);
    return line;
}

std::string print_inspection(const inspection& found, std::size_t width, bool colours) {
    const auto rows = make_rows(found);
    std::vector<std::size_t> widths(rows.front().size());
    for (const auto& row : rows) {
        for (std::size_t i = 0; i < row.size(); ++i)
            widths[i] = std::max(widths[i], text_width(row[i]));
    }
    std::size_t total = gap * (widths.size() - 1);
    for (const auto w : widths)
        total += w;
    const bool any_spectrum = !found.spectra_from.empty();
    const bool beside = any_spectrum && total + gap + narrowest_spectrum <= width;
    // Below its layer a spectrum begins where the names do.
    const auto indent = widths[0] + gap;
    const auto room = beside ? width - total - gap : width > indent ? width - indent : narrowest_spectrum;
    const auto spectrum_width = std::clamp(room, narrowest_spectrum, widest_spectrum);

    auto out = facts(found, width) + '\n';
    for (std::size_t i = 0; i < rows.size(); ++i) {
        std::string line;
        for (std::size_t field = 0; field < widths.size(); ++field) {
            const bool names = field == 1 || field == 3;
            line += std::string(field == 0 ? 0 : gap, ' ') + padded(rows[i][field], widths[field], names);
        }
        if (i == 0) {
            if (beside) line += std::string(gap, ' ') + "spectrum";
            out += bold(line, colours) + '\n' +
                   std::string(std::min(width, total + (beside ? gap + spectrum_width : 0)), '-') + '\n';
            continue;
        }
        const auto& layer = found.layers[i - 1];
        const auto bars =
            dimmed_after_cut(sparkline(layer.spectrum, layer.rank, layer.full_rank, spectrum_width), colours);
        if (beside && !bars.empty()) line += std::string(gap, ' ') + bars;
        out += line + '\n';
        if (!beside && !bars.empty()) out += std::string(indent, ' ') + bars + '\n';
    }
    out += '\n' + totals(found, width);
    if (any_spectrum)
        out += wrapped("spectrum: log σ from the largest to the smallest, of each layer by itself, from " +
                           found.spectra_from + "; │ the rank at which it is cut",
                       width);
    return out;
}

}  // namespace llm
