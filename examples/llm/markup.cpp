#include "markup.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace llm {
namespace {

struct style {
    std::string_view method;
    std::string_view light;
    std::string_view dark;
    std::string_view dash;
    std::string_view marker;  ///< SVG path around 0,0
    bool filled;
};

// Of two methods that often coincide, the second is dashed with a larger, hollow marker, so that
// the first shows through.
constexpr std::array<style, 8> styles{{
    {"svd", "#777777", "#9a9a9a", "2 3", "M-3-3L3 3M-3 3L3-3", false},
    {"asvd-0", "#000000", "#ffffff", "8 3 2 3", "M-4 0H4M0-4V4", false},
    {"asvd-1", "#0072b2", "#2f9be0", "", "M-3 0A3 3 0 1 1 3 0A3 3 0 1 1-3 0Z", true},
    {"asvd-2", "#56b4e9", "#a5dbff", "5 4", "M-5-5H5V5H-5Z", false},
    {"nsvd-1", "#d55e00", "#f0762b", "", "M0-4L3.6 2.4H-3.6Z", true},
    {"nsvd-2", "#e69f00", "#ffc94d", "5 4", "M0-7L6.4 4.2H-6.4Z", false},
    {"nid-1", "#009e73", "#1fc796", "", "M0-3.6L3.6 0L0 3.6L-3.6 0Z", true},
    {"nid-2", "#cc79a7", "#f0a3cd", "5 4", "M0-6.4L6.4 0L0 6.4L-6.4 0Z", false},
}};

}  // namespace

std::vector<std::size_t> styles_of(const std::vector<std::string>& methods) {
    std::vector<std::size_t> chosen(methods.size(), styles.size());
    std::array<bool, styles.size()> taken{};
    for (std::size_t i = 0; i < methods.size(); ++i) {
        const auto found = std::find_if(styles.begin(), styles.end(),
                                        [&](const style& s) { return s.method == methods[i]; });
        if (found == styles.end()) continue;
        chosen[i] = static_cast<std::size_t>(found - styles.begin());
        taken[chosen[i]] = true;
    }
    // From the last one, whose markers are the largest, so that they stand out among the papers'.
    std::size_t next = 0;
    for (auto& style : chosen) {
        if (style != styles.size()) continue;
        const auto free = std::find(taken.rbegin(), taken.rend(), false);
        style =
            free == taken.rend() ? next++ % styles.size() : static_cast<std::size_t>(taken.rend() - free) - 1;
        taken[style] = true;
    }
    return chosen;
}

std::string marker(std::size_t kind, double x, double y) {
    return fmt::format("<path class=\"{}\" transform=\"translate({:.1f} {:.1f})\" d=\"{}\"/>",
                       styles[kind].filled ? "mark full" : "mark", x, y, styles[kind].marker);
}

std::string plot_style() {
    std::string sheet =
        "svg{display:block;width:100%;height:auto;overflow:visible}"
        "svg text{font-size:12px;fill:var(--ink)}svg .title{font-size:14px;font-weight:600}"
        "svg .soft{fill:var(--soft)}svg .middle{text-anchor:middle}svg .end{text-anchor:end}"
        "svg path{fill:none;stroke:currentColor}svg .axis{stroke:var(--soft)}svg .grid{stroke:var(--line)}"
        "svg .lead{stroke:var(--soft);stroke-width:.6;opacity:.7}"
        "svg .level{stroke:var(--ink);stroke-dasharray:9 4}"
        "svg .line{stroke-width:1.6;stroke-linejoin:round}svg .mark,svg .off{stroke-width:1.5}"
        "svg .full{fill:currentColor}svg .bar{stroke-width:1.2}";
    std::string dark;
    for (std::size_t i = 0; i < styles.size(); ++i) {
        sheet += fmt::format(".s{}{{color:{}}}", i, styles[i].light);
        dark += fmt::format(".s{}{{color:{}}}", i, styles[i].dark);
        if (!styles[i].dash.empty())
            sheet += fmt::format("svg .s{} .line{{stroke-dasharray:{}}}", i, styles[i].dash);
    }
    return sheet + "@media(prefers-color-scheme:dark){" + dark + "}";
}

std::string escaped(std::string_view text) {
    std::string out;
    for (const char c : text) {
        switch (c) {
            case '&':
                out += "&amp;";
                break;
            case '<':
                out += "&lt;";
                break;
            case '>':
                out += "&gt;";
                break;
            case '"':
                out += "&quot;";
                break;
            case '\'':
                out += "&#39;";
                break;
            default:
                if (static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t') {
                    out += "\xEF\xBF\xBD";
                } else {
                    out += c;
                }
        }
    }
    return out;
}

}  // namespace llm
