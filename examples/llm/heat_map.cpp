// SPDX-License-Identifier: MIT
#include "heat_map.hpp"

#include "markup.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <string_view>

namespace llm {
namespace {

// Sequential palettes of ColorBrewer (Blues, Oranges), from pale to dark.
constexpr std::size_t steps = 9;
constexpr std::size_t pale_steps = 6;  // so many bear dark text, the others white
using palette = std::array<std::string_view, steps>;
constexpr palette blues{"#f0f6fd", "#deebf7", "#c6dbef", "#9ecae1", "#6baed6",
                        "#4f9bcb", "#2171b5", "#08519c", "#08306b"};
constexpr palette oranges{"#fff5eb", "#fee6ce", "#fdd0a2", "#fdae6b", "#fd8d3c",
                          "#f47a25", "#c44100", "#a63603", "#7f2704"};

std::string_view name_of(heat_hue hue) {
    return hue == heat_hue::blue ? "blue" : "orange";
}

std::size_t step_of(const heat_map& map, double value) {
    if (!(map.high > map.low)) return steps / 2;
    const double place = std::clamp((value - map.low) / (map.high - map.low), 0., 1.);
    return std::min(steps - 1, static_cast<std::size_t>(place * static_cast<double>(steps)));
}

void add_palette(std::string& sheet, heat_hue hue, const palette& colours, bool dark) {
    for (std::size_t i = 0; i < steps; ++i) {
        const auto from = dark ? steps - 1 - i : i;
        sheet += fmt::format(".{} .h{}{{background:{};color:{}}}", name_of(hue), i, colours[from],
                             from < pale_steps ? "#15181b" : "#fff");
    }
}

}  // namespace

std::string draw(const heat_map& map) {
    std::string out = fmt::format("<figure class=\"heat {}\"><figcaption>{} <span class=\"legend\">{} ",
                                  name_of(map.hue), escaped(map.title), escaped(map.low_text));
    for (std::size_t i = 0; map.high > map.low && i < steps; ++i)
        out += fmt::format("<i class=\"h{}\"></i>", i);
    if (map.high > map.low) out += ' ' + escaped(map.high_text);
    out += "</span></figcaption><div class=\"wide\"><table><thead><tr><th scope=\"col\">" +
           escaped(map.corner) + "</th>";
    for (const auto& name : map.columns)
        out += "<th scope=\"col\">" + escaped(name) + "</th>";
    out += "</tr></thead><tbody>";
    for (std::size_t row = 0; row < map.rows.size(); ++row) {
        out += "\n<tr><th scope=\"row\">" + escaped(map.rows[row]) + "</th>";
        for (const auto& cell : map.cells[row]) {
            out += "<td";
            if (cell.value && std::isfinite(*cell.value))
                out += fmt::format(" class=\"h{}\"", step_of(map, *cell.value));
            if (!cell.about.empty()) out += " title=\"" + escaped(cell.about) + '"';
            out += '>' + escaped(cell.text) + "</td>";
        }
        out += "</tr>";
    }
    return out + "</tbody></table></div></figure>";
}

std::string heat_map_style() {
    std::string sheet =
        ".maps{display:flex;flex-wrap:wrap;gap:28px 40px}.maps figure{max-width:100%}"
        ".heat figcaption{font-weight:600;font-size:14px;margin-bottom:4px}"
        ".heat th,.heat td{padding:2px 3px;font-size:12px;line-height:18px}"
        ".heat td{text-align:center;min-width:40px;border:1px solid var(--page)}"
        ".heat thead th{text-align:center;border:0;font-weight:400;color:var(--soft)}"
        ".heat thead th:first-child{text-align:left;font-weight:400}.heat tbody{border:0}"
        ".heat tbody th:first-child{color:var(--soft)}"
        ".legend{display:inline-block;white-space:nowrap;font-weight:400;font-size:12px;color:var(--soft);"
        "margin-left:8px}.legend i{display:inline-block;width:12px;height:10px}";
    std::string dark;
    for (const auto hue : {heat_hue::blue, heat_hue::orange}) {
        const auto& colours = hue == heat_hue::blue ? blues : oranges;
        add_palette(sheet, hue, colours, false);
        add_palette(dark, hue, colours, true);
    }
    return sheet + "@media(prefers-color-scheme:dark){" + dark + "}";
}

}  // namespace llm
