#include "cells.hpp"

#include "statistics.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

namespace llm {
namespace {

/// "1.2e6" rather than "1.2e+06".
std::string exponent_text(double value) {
    auto text = fmt::format("{:.1e}", value);
    const auto e = text.find('e');
    auto exponent = text.substr(e + 1);
    const bool negative = exponent.front() == '-';
    exponent.erase(0, std::min(exponent.find_first_not_of("+-0"), exponent.size() - 1));
    return text.substr(0, e + 1) + (negative ? "-" : "") + exponent;
}

/// Points of percent without their sign.
std::string points_text(double size, bool decimal) {
    if (size >= 99999.5) return exponent_text(size);
    return decimal ? fmt::format("{:.1f}", size) : fmt::format("{:.0f}", size);
}

/// Marks all that print like the one with the lowest finite cost.
void mark_best(const std::vector<double>& costs, const std::vector<cell*>& column) {
    auto best = column.size();
    for (std::size_t i = 0; i < column.size(); ++i) {
        if (!std::isfinite(costs[i])) continue;
        if (best == column.size() || costs[i] < costs[best]) best = i;
    }
    if (best == column.size()) return;
    for (auto* entry : column)
        entry->best = entry->text == column[best]->text;
}

cell_group make_group(const comparison& c, double compression) {
    cell_group group{compression, {}};
    std::vector<const comparison_row*> members;
    for (const auto& row : c.rows) {
        if (row.compression == compression) members.push_back(&row);
    }
    const auto texts = c.text_names.size();
    for (const auto* row : members) {
        auto& made = group.rows.emplace_back();
        made.label = row->label;
        made.bytes = bytes_text(row->bytes);
        made.inflation.text = perplexity_text(inflation(c, *row));
        for (const auto& text : row->texts)
            made.texts.push_back({perplexity_text(text.perplexity)});
        const auto gain = average_improvement(c, *row);
        made.average.text = row->method == c.reference ? "reference" : improvement_text(gain);
        if (row->method != c.reference && within_error(gain)) made.average.text += " ≈";
    }
    const auto mark = [&](const auto& cost, const auto& cell_of) {
        std::vector<double> costs;
        std::vector<cell*> column;
        for (std::size_t i = 0; i < members.size(); ++i) {
            costs.push_back(cost(*members[i]));
            column.push_back(&cell_of(group.rows[i]));
        }
        mark_best(costs, column);
    };
    for (std::size_t text = 0; text < texts; ++text)
        mark([&](const comparison_row& row) { return row.texts[text].perplexity; },
             [&](cell_row& row) -> cell& { return row.texts[text]; });
    mark([&](const comparison_row& row) { return inflation(c, row); },
         [](cell_row& row) -> cell& { return row.inflation; });
    mark([&](const comparison_row& row) { return -average_improvement(c, row).value; },
         [](cell_row& row) -> cell& { return row.average; });
    return group;
}

bool left_uncounted(const comparison& c, std::size_t text) {
    return !c.counted.empty() && !c.counted[text];
}

std::string average_note(const comparison& c) {
    const bool measured = std::any_of(c.rows.begin(), c.rows.end(),
                                      [&](const comparison_row& row) { return row.method == c.reference; });
    if (!measured) return fmt::format("average: needs the method {} to measure against", c.reference);
    std::string names;
    for (std::size_t i = 0; i < c.text_names.size(); ++i) {
        if (in_average(c, i)) names += (names.empty() ? "" : ", ") + c.text_names[i];
    }
    if (names.empty()) return "average: no text counts in it";
    return "average: mean over " + names + " of the relative improvement of perplexity over " +
           reference_label(c) +
           " at the same compression, ± its standard error from differences paired by window; ≈ where that "
           "is "
           "within two standard errors";
}

std::vector<std::string> make_notes(const comparison& c) {
    std::vector<std::string> notes;
    notes.push_back("* best of its group, with all that print the same figure");
    notes.push_back(
        "inflation: geometric mean of perplexity over that of the first row, over all texts but ‡; bytes: of "
        "the compressed layers as they are stored");
    notes.push_back(average_note(c));
    bool uncounted = false;
    for (std::size_t i = 0; i < c.text_names.size(); ++i)
        uncounted |= left_uncounted(c, i);
    if (c.in_domain) notes.push_back("† of the calibration's kind, not in the average");
    if (uncounted) {
        notes.push_back("‡ the dense model itself does no better than guessing here, not in the average");
    }
    notes.push_back(fmt::format(
        "perplexity over non-overlapping windows of {} tokens; calibrated on {} windows ({} tokens) "
        "of {}, seed {}; nested methods give {} of the rank to their first stage",
        c.context, c.calibration_windows, c.calibration_tokens, c.calibration, c.seed,
        percent_text(c.share)));
    return notes;
}

}  // namespace

std::string perplexity_text(double perplexity) {
    if (std::isnan(perplexity)) return "nan";
    if (std::isinf(perplexity)) return "inf";
    if (perplexity < 9.995) return fmt::format("{:.2f}", perplexity);
    if (perplexity < 99.95) return fmt::format("{:.1f}", perplexity);
    if (perplexity < 9999.5) return fmt::format("{:.0f}", perplexity);
    return exponent_text(perplexity);
}

std::string improvement_text(const improvement& gain) {
    if (!std::isfinite(gain.value)) return "–";
    const double points = 100 * gain.value;
    const double size = std::abs(points);
    const bool decimal = size < 99.95;
    const char* sign = size < 0.05 ? "" : points > 0 ? "+" : "-";
    const auto text = fmt::format("{}{} %", sign, points_text(size, decimal));
    if (!std::isfinite(gain.standard_error)) return text;
    return fmt::format("{} ± {}", text, points_text(100 * gain.standard_error, decimal));
}

std::string bytes_text(std::int64_t bytes) {
    constexpr std::array<const char*, 4> units{"kB", "MB", "GB", "TB"};
    if (bytes < 1000) return fmt::format("{} B", bytes);
    double value = static_cast<double>(bytes) / 1000;
    std::size_t unit = 0;
    while (value >= 999.95 && unit + 1 < units.size()) {
        value /= 1000;
        ++unit;
    }
    const int decimals = value < 9.9995 ? 3 : value < 99.995 ? 2 : 1;
    return fmt::format("{:.{}f} {}", value, decimals, units.at(unit));
}

std::string percent_text(double share) {
    return fmt::format("{:.6g} %", 100 * share);
}

cell_table make_cells(const comparison& c) {
    check(c);
    cell_table table;
    table.baseline = c.baseline;
    table.baseline_bytes = bytes_text(c.dense_bytes);
    table.reference = reference_label(c);
    for (std::size_t i = 0; i < c.text_names.size(); ++i) {
        const bool same_kind = c.in_domain && *c.in_domain == c.text_names[i];
        table.headings.push_back(c.text_names[i] + (same_kind ? " †" : "") +
                                 (left_uncounted(c, i) ? " ‡" : ""));
        table.dense.push_back(perplexity_text(c.dense[i].perplexity));
    }
    for (const auto& row : c.rows) {
        const bool known =
            std::any_of(table.groups.begin(), table.groups.end(),
                        [&](const cell_group& group) { return group.compression == row.compression; });
        if (!known) table.groups.push_back(make_group(c, row.compression));
    }
    table.notes = make_notes(c);
    return table;
}

}  // namespace llm
