#include "cells.hpp"
#include "report.hpp"
#include "terminal.hpp"

#include <algorithm>
#include <cstddef>

namespace llm {
namespace {

struct line {
    std::vector<std::string> fields;
    bool rule_above = false;
};

std::string marked(const cell& entry) {
    return entry.text + (entry.best ? "*" : " ");
}

std::vector<line> make_lines(const cell_table& table) {
    std::vector<line> lines;
    line head{{"", "method", "bytes "}};
    line dense{{"0 %", table.baseline, table.baseline_bytes + " "}, true};
    for (const auto& name : table.headings)
        head.fields.push_back(name + " ");
    for (const auto& figure : table.dense)
        dense.fields.push_back(figure + " ");
    for (const auto& name : {std::string("inflation "), "average vs " + table.reference + " "}) {
        head.fields.push_back(name);
        dense.fields.emplace_back("");
    }
    lines.push_back(std::move(head));
    lines.push_back(std::move(dense));
    for (const auto& group : table.groups) {
        for (const auto& row : group.rows) {
            const bool first = &row == &group.rows.front();
            line made{{first ? percent_text(group.compression) : "", row.label, row.bytes + " "}, first};
            for (const auto& entry : row.texts)
                made.fields.push_back(marked(entry));
            made.fields.push_back(marked(row.inflation));
            made.fields.push_back(marked(row.average));
            lines.push_back(std::move(made));
        }
    }
    return lines;
}

}  // namespace

std::string print_table(const comparison& c) {
    const auto table = make_cells(c);
    const auto lines = make_lines(table);
    std::vector<std::size_t> widths(table.headings.size() + 5);
    for (const auto& line : lines) {
        for (std::size_t i = 0; i < widths.size(); ++i) {
            widths[i] = std::max(widths[i], text_width(line.fields[i]));
        }
    }
    std::size_t total = 2 * (widths.size() - 1);
    for (const auto w : widths)
        total += w;

    std::string out;
    for (const auto& line : lines) {
        if (line.rule_above) out += std::string(total, '-') + '\n';
        std::string text;
        for (std::size_t i = 0; i < widths.size(); ++i) {
            const std::string padding(widths[i] - text_width(line.fields[i]), ' ');
            text += i == 0 ? "" : "  ";
            text += i == 1 ? line.fields[i] + padding : padding + line.fields[i];
        }
        text.erase(text.find_last_not_of(' ') + 1);
        out += text + '\n';
    }
    out += std::string(total, '-') + '\n';
    for (const auto& note : table.notes)
        out += wrapped(note, std::max<std::size_t>(total, 60));
    return out;
}

}  // namespace llm
