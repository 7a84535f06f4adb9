#include "cells.hpp"
#include "markup.hpp"
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

constexpr std::string_view page_style =
    ":root{color-scheme:light dark;--ink:#1c1f23;--soft:#6a7078;--line:#e3e6ea;--page:#fff;--best:#e6f1fb}"
    "@media(prefers-color-scheme:dark){:root{--ink:#e8eaed;--soft:#9aa1a9;--line:#33383e;--page:#15181b;"
    "--best:#1d3447}}"
    "*{box-sizing:border-box}"
    "body{margin:0 auto;padding:20px 16px 48px;max-width:1360px;background:var(--page);color:var(--ink);"
    "font:15px/1.5 system-ui,sans-serif}"
    "h1{font-size:24px;line-height:1.25;margin:8px 0;overflow-wrap:anywhere}"
    "h2{font-size:18px;margin:36px 0 8px}p,ul{max-width:75ch}"
    ".wide{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums}"
    "th,td{padding:3px 10px;text-align:right;white-space:nowrap}thead th{border-bottom:1px solid var(--soft)}"
    "tbody{border-bottom:1px solid var(--line)}"
    "th:first-child{position:sticky;left:0;background:var(--page);text-align:left;font-weight:400}"
    "thead th:first-child,.group th{font-weight:600}.group th{padding-top:8px}.best{font-weight:700}"
    ".best span{background:var(--best);border-radius:3px;padding:1px 4px;margin:0 -4px}"
    ".best i{display:inline-block;width:0;font-style:normal;text-indent:3px}"
    ".notes{color:var(--soft);font-size:13px;list-style:none;padding:0}.notes li{margin:3px 0}"
    ".plots{display:grid;gap:32px 28px;grid-template-columns:repeat(auto-fill,minmax(min(100%,340px),1fr))}"
    "figure{margin:0}.lone{max-width:520px}"
    "dl{display:grid;grid-template-columns:max-content 1fr;gap:2px 16px}dt{color:var(--soft)}"
    "dd{margin:0;overflow-wrap:anywhere}"
    "code{font:13px/1.45 ui-monospace,monospace;white-space:pre-wrap;overflow-wrap:anywhere}";

/// In prose and tables a minus is as wide as a plus.
std::string typeset(const std::string& text) {
    return text.starts_with('-') ? "−" + text.substr(1) : text;
}

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
std::vector<plot_series> make_series(const comparison& c, Point point) {
    std::vector<plot_series> all;
    for (const auto& row : c.rows) {
        auto found = std::find_if(all.begin(), all.end(),
                                  [&](const plot_series& s) { return s.method == row.method; });
        if (found == all.end()) found = all.insert(all.end(), plot_series{row.method, row.label, {}});
        const improvement at = point(row);
        found->points.push_back({row.compression, at.value, at.standard_error});
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
    p.series = make_series(c, [&](const comparison_row& row) { return average_improvement(c, row); });
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

std::string text_plot(const comparison& c, std::size_t text) {
    plot p{.title = c.text_names[text], .y_title = "perplexity, log scale", .log_y = true};
    // A method many times worse than the reference would flatten the differences that matter.
    double worst = 0;
    for (const auto& row : c.rows) {
        const double perplexity = row.texts[text].perplexity;
        if (row.method == c.reference && std::isfinite(perplexity)) worst = std::max(worst, perplexity);
    }
    if (worst > 0) p.ceiling = 3 * std::max(worst, c.dense[text].perplexity);
    p.series = make_series(c, [&](const comparison_row& row) {
        const double perplexity = row.texts[text].perplexity;
        // One that overflowed is above the ceiling like any other.
        const bool over = p.ceiling && perplexity > *p.ceiling;
        return improvement{over ? std::min(perplexity, std::numeric_limits<double>::max()) : perplexity, 0};
    });
    p.level = plot_level{c.baseline, c.dense[text].perplexity};
    return "<figure>" + draw(p) + "</figure>";
}

std::string facts_html(const comparison& c) {
    std::string out = "<h2>How this was made</h2><dl>";
    const auto fact = [&](std::string_view name, const std::string& value) {
        if (!value.empty()) out += fmt::format("<dt>{}</dt><dd>{}</dd>", name, value);
    };
    fact("model", escaped(c.model));
    fact("linear layers",
         fmt::format("{} parameters, {} bytes before compression", c.dense_parameters, c.dense_bytes));
    fact("calibration", escaped(c.calibration));
    fact("machine", escaped(c.machine));
    fact("date", escaped(c.date));
    fact("nsvd", escaped(c.version));
    if (!c.command.empty()) fact("command", "<code>" + escaped(c.command) + "</code>");
    return out + "</dl>";
}

}  // namespace

std::string html_report(const comparison& c) {
    const auto table = make_cells(c);
    const auto title = "Perplexity after compression: " + escaped(c.model);
    std::string out =
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/>"
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/><title>" +
        title + "</title><style>" + std::string(page_style) + plot_style() + "</style></head>\n<body><h1>" +
        title + "</h1>";
    out +=
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
        (out += '\n') += text_plot(c, i);
    return out + "</div>\n" + facts_html(c) + "</body></html>\n";
}

}  // namespace llm
