#include "cells.hpp"
#include "heat_map.hpp"
#include "layer_map.hpp"
#include "markup.hpp"
#include "page.hpp"
#include "plot.hpp"
#include "report.hpp"
#include "statistics.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string_view>
#include <vector>

namespace llm {
namespace {

std::string table_cell(const cell& entry) {
    const auto text = escaped(typeset(entry.text));
    return entry.best ? "<td class=\"best\"><span>" + text + "</span><i>*</i></td>" : "<td>" + text + "</td>";
}

std::string table_html(const cell_table& table) {
    std::string out =
        "<div class=\"wide\"><table><thead><tr><th scope=\"col\">method</th><th scope=\"col\">bytes</th>";
    for (const auto& name : table.headings)
        out += "<th scope=\"col\">" + escaped(name) + "</th>";
    out += "<th scope=\"col\">inflation</th><th scope=\"col\">average vs " + escaped(table.reference) +
           "</th></tr></thead><tbody><tr><th scope=\"row\">" + escaped(table.baseline) + "</th><td>" +
           table.baseline_bytes + "</td>";
    for (const auto& figure : table.dense)
        out += "<td>" + figure + "</td>";
    out += "<td></td><td></td></tr></tbody>";
    for (const auto& group : table.groups) {
        out += fmt::format(
            "<tbody><tr class=\"group\"><th scope=\"rowgroup\">{}</th><td colspan=\"{}\"></td></tr>",
            percent_text(group.compression), table.headings.size() + 3);
        for (const auto& row : group.rows) {
            out += "<tr><th scope=\"row\">" + escaped(row.label) + "</th><td>" + row.bytes + "</td>";
            for (const auto& entry : row.texts)
                out += table_cell(entry);
            out += table_cell(row.inflation) + table_cell(row.average) + "</tr>";
        }
        out += "</tbody>";
    }
    out += "</table></div><ul class=\"notes\">";
    for (const auto& note : table.notes)
        out += "<li>" + escaped(note) + "</li>";
    return out + "</ul>";
}

/// One series for each method in order of appearance; `point` gives y and error of a row.
template <typename Point>
std::vector<plot_series> make_series(const comparison& c, plot_x x, Point point) {
    std::vector<plot_series> all;
    std::vector<std::string> methods;
    for (const auto& row : c.rows)
        if (std::find(methods.begin(), methods.end(), row.method) == methods.end())
            methods.push_back(row.method);
    const auto styles = styles_of(methods);
    for (const auto& row : c.rows) {
        auto found = std::find_if(all.begin(), all.end(),
                                  [&](const plot_series& s) { return s.method == row.method; });
        if (found == all.end())
            found = all.insert(all.end(), plot_series{row.method, styles[all.size()], row.label, {}});
        const improvement at = point(row);
        found->points.push_back({x == plot_x::bytes ? static_cast<double>(row.bytes) : row.compression,
                                 at.value, at.standard_error});
    }
    for (auto& s : all) {
        std::sort(s.points.begin(), s.points.end(),
                  [](const plot_point& a, const plot_point& b) { return a.x < b.x; });
    }
    return all;
}

/// Empty without a reference to measure against.
std::string average_html(const comparison& c) {
    const auto reference = reference_label(c);
    plot p{.title = "Average improvement over " + reference, .y_title = "higher is better", .spread = 4};
    p.series = make_series(c, p.x, [&](const comparison_row& row) { return average_improvement(c, row); });
    std::erase_if(p.series, [&](const plot_series& s) { return s.method == c.reference; });
    double best = 0;
    bool any = false;
    for (const auto& s : p.series) {
        for (const auto& point : s.points) {
            any |= std::isfinite(point.y);
            if (std::isfinite(point.y)) best = std::max(best, point.y);
        }
    }
    if (!any) return {};
    // A method many times worse would flatten the differences that matter.
    p.floor = -std::max(0.05, best / 2);
    p.level = plot_level{reference, 0};
    return "<h2>Average improvement</h2><p>Perplexity relative to " + escaped(reference) +
           " at the same compression, averaged over the texts that count, with bars of one standard error. A "
           "line that leaves through the lower "
           "edge goes to a value below the plot; the table has its figure. Points of one compression are "
           "drawn "
           "side by side.</p><figure class=\"lone\">" +
           draw(p) + "</figure>";
}

/// Fills in the series of a positive figure and the level of the dense model. A method many times worse than
/// the reference would flatten the differences that matter: it is cut off.
template <typename Figure>
void fill(plot& p, const comparison& c, double dense, const Figure& figure) {
    double worst = 0;
    for (const auto& row : c.rows) {
        const double at = figure(row);
        if (row.method == c.reference && std::isfinite(at)) worst = std::max(worst, at);
    }
    if (worst > 0) p.ceiling = 3 * std::max(worst, dense);
    p.series = make_series(c, p.x, [&](const comparison_row& row) {
        const double at = figure(row);
        // One that overflowed is above the ceiling like any other.
        const bool over = p.ceiling && at > *p.ceiling;
        return improvement{over ? std::min(at, std::numeric_limits<double>::max()) : at, 0};
    });
    p.level = plot_level{c.baseline, dense};
}

std::string text_plot(const comparison& c, std::size_t text, plot_x x) {
    plot p{.title = c.text_names[text], .y_title = "perplexity, log scale", .log_y = true, .x = x};
    fill(p, c, c.dense[text].perplexity,
         [&](const comparison_row& row) { return row.texts[text].perplexity; });
    return "<figure>" + draw(p) + "</figure>";
}

std::string facts_html(const comparison& c) {
    fact_list facts;
    facts.add("model", c.model);
    facts.add("linear layers",
              fmt::format("{} parameters, {} bytes before compression", c.dense_parameters, c.dense_bytes));
    facts.add("calibration", c.calibration);
    facts.add("machine", c.machine);
    facts.add("date", c.date);
    facts.add("nsvd", c.version);
    facts.add_code("command", c.command);
    return "<h2>How this was made</h2>" + facts.html();
}

/// Figures of the methods against the bytes of their layers: inflation, and each text.
std::string bytes_html(const comparison& c) {
    std::string out =
        "<h2>Perplexity against bytes</h2><p>The same against the size of the compressed layers as they are "
        "stored. Inflation: over all texts, as in the table.</p><div class=\"plots\">";
    plot all{.title = "inflation", .y_title = "log scale", .log_y = true, .x = plot_x::bytes};
    fill(all, c, 1, [&](const comparison_row& row) { return inflation(c, row); });
    const bool known = std::any_of(c.rows.begin(), c.rows.end(), [&](const comparison_row& row) {
        return std::isfinite(inflation(c, row));
    });
    if (known) out += "\n<figure>" + draw(all) + "</figure>";
    for (std::size_t i = 0; i < c.text_names.size(); ++i)
        (out += '\n') += text_plot(c, i, plot_x::bytes);
    return out + "</div>";
}

/// Maps of every row that has its layers, folded away.
std::string layers_html(const comparison& c) {
    layer_scale scale;
    for (const auto& row : c.rows)
        scale.cover(row.layers);
    std::string out;
    for (const auto& row : c.rows) {
        if (row.layers.empty()) continue;
        out +=
            fmt::format("\n<details><summary>{} at {}: {}, mean weighted error {:.3f}</summary>{}</details>",
                        escaped(row.label), percent_text(row.compression), bytes_text(row.bytes),
                        row.weighted_error, layer_maps(row.layers, scale));
    }
    if (out.empty()) return {};
    return "<h2>Ranks and errors of the layers</h2><p>Weighted error: of a layer's outputs on the "
           "calibration "
           "text; plain error: of its weights; both relative, the colours the same in all rows. Point at a "
           "cell for all figures of its layer.</p>" +
           out;
}

std::string similarity_html(const comparison& c) {
    if (!c.similarity) return {};
    const auto& s = *c.similarity;
    heat_map map{.title = "Cosine of Gram matrices", .high_text = "1", .rows = s.names, .columns = s.names};
    map.low = 1;
    for (const auto& row : s.values) {
        for (const double value : row)
            if (std::isfinite(value)) map.low = std::min(map.low, value);
    }
    map.low_text = fmt::format("{:.2f}", map.low);
    for (std::size_t i = 0; i < s.names.size(); ++i) {
        auto& cells = map.cells.emplace_back();
        for (std::size_t j = 0; j < s.names.size(); ++j) {
            const double value = s.values[i][j];
            const auto text = std::isfinite(value) ? fmt::format("{:.2f}", value) : std::string("–");
            cells.push_back({value, text, fmt::format("{} and {}: {:.4f}", s.names[i], s.names[j], value)});
        }
    }
    return fmt::format(
               "<h2>How alike the texts are</h2><p>What the model's layers see of two texts: the cosine of "
               "the "
               "angle between the Gram matrices of their inputs, the mean over all layers, from at most {} "
               "windows of each text. What is far from the calibration text is what compression by its "
               "statistics forgets.</p>",
               s.windows) +
           draw(map);
}

}  // namespace

page_section comparison_section(const comparison& c) {
    const auto table = make_cells(c);
    std::string out =
        "<p>The linear layers of the model are replaced by products of two smaller matrices that hold fewer "
        "parameters by the share given as compression. Nothing is retrained. Each figure is the "
        "perplexity of the compressed model on a text; lower is better.</p>\n" +
        table_html(table) + "\n" + average_html(c);
    out +=
        "\n<h2>Perplexity by text</h2><p>Dashed across: the dense model. Each plot has its own scale, which "
        "ends at three times the worst figure of " +
        escaped(reference_label(c)) +
        " if that was measured; a line that leaves through the "
        "upper edge goes to a value "
        "above it, which the table has.</p><div class=\"plots\">";
    for (std::size_t i = 0; i < c.text_names.size(); ++i)
        (out += '\n') += text_plot(c, i, plot_x::share);
    out += "</div>\n" + bytes_html(c) + layers_html(c) + similarity_html(c) + "\n" + facts_html(c);
    return {"Perplexity after compression: " + c.model, out};
}

std::string html_report(const comparison& c) {
    return page({comparison_section(c)});
}

}  // namespace llm
