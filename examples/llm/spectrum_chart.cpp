// SPDX-License-Identifier: MIT
#include "spectrum_chart.hpp"

#include "markup.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <iterator>
#include <string_view>
#include <utility>

namespace llm {
namespace {

// One unit is one CSS pixel where the chart is shown at its own size.
constexpr double width = 300;
constexpr double height = 194;
constexpr double left = 40;
constexpr double right = width - 10;
constexpr double top = 30;
constexpr double bottom = height - 34;

// From the first block to the last: of Viridis, whose lightness alone tells the order, without its palest
// and on dark pages without its darkest end.
constexpr std::size_t tones = 8;
constexpr std::array<std::string_view, tones> light{"#440154", "#46327e", "#365c8d", "#277f8e",
                                                    "#1fa187", "#35b06f", "#5fb848", "#8fb021"};
constexpr std::array<std::string_view, tones> dark{"#8b6fc9", "#6f86d6", "#4f9fd0", "#35b5b0",
                                                   "#3fc48d", "#6fd36a", "#a5dd4b", "#fde725"};

std::size_t tone_of(std::int64_t block, std::int64_t blocks) {
    if (blocks < 2) return 0;
    const double part = static_cast<double>(block) / static_cast<double>(blocks - 1);
    return std::min(tones - 1, static_cast<std::size_t>(std::lround(std::max(0., part) * (tones - 1))));
}

std::string power_text(int power) {
    static constexpr std::array<std::string_view, 10> raised{"⁰", "¹", "²", "³", "⁴",
                                                             "⁵", "⁶", "⁷", "⁸", "⁹"};
    if (power == 0) return "1";
    std::string text = power < 0 ? "10⁻" : "10";
    for (const char digit : fmt::format("{}", std::abs(power)))
        text += raised[static_cast<std::size_t>(digit - '0')];
    return text;
}

/// "rank 33", "ranks 12–40", "dense".
std::string cut_text(const spectrum_chart& chart) {
    std::int64_t least = 0;
    std::int64_t most = 0;
    for (const auto& line : chart.lines) {
        if (!line.cut) continue;
        least = least == 0 ? line.rank : std::min(least, line.rank);
        most = std::max(most, line.rank);
    }
    if (most == 0) return "dense";
    const auto ranks = least == most ? fmt::format("rank {}", most) : fmt::format("ranks {}–{}", least, most);
    return fmt::format("{} of {}", ranks, chart.full_rank);
}

class drawing {
public:
    explicit drawing(const spectrum_chart& chart) : chart_(chart) {}

    std::string draw() {
        put("<svg class=\"spectrum\" viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">", width, height,
            escaped(chart_.title + ": " + cut_text(chart_)));
        put("<text class=\"title\" x=\"4\" y=\"14\">{}</text>", escaped(chart_.title));
        put("<text class=\"end soft\" x=\"{}\" y=\"14\">{}</text>", right, cut_text(chart_));
        axes();
        for (const auto& line : chart_.lines)
            curve(line);
        // Above all lines, so that none hides another's cut.
        for (const auto& line : chart_.lines)
            cut(line);
        return out_ + "</svg>";
    }

private:
    template <typename... Args>
    void put(fmt::format_string<Args...> format, Args&&... args) {
        fmt::format_to(std::back_inserter(out_), format, std::forward<Args>(args)...);
    }

    [[nodiscard]] double x(double index) const {
        const auto last = static_cast<double>(std::max<std::int64_t>(chart_.full_rank, 2));
        return left + std::clamp((index - 1) / (last - 1), 0., 1.) * (right - left);
    }

    [[nodiscard]] double y(double log_ratio) const {
        return top + std::clamp(log_ratio / chart_.lowest, 0., 1.) * (bottom - top);
    }

    void axes() {
        const int last = static_cast<int>(std::floor(chart_.lowest)) * -1;
        const int stride = std::max(1, (last + 3) / 4);
        for (int power = 0; power <= last; power += stride) {
            put("<path class=\"grid\" d=\"M{} {:.1f}H{}\"/>", left, y(-power), right);
            put("<text class=\"end\" x=\"{}\" y=\"{:.1f}\">{}</text>", left - 5, y(-power) + 4,
                power_text(-power));
        }
        put("<path class=\"axis\" d=\"M{} {}V{}H{}\"/>", left, top, bottom, right);
        put("<text class=\"middle\" x=\"{}\" y=\"{}\">1</text>", left, bottom + 15);
        put("<text class=\"end\" x=\"{}\" y=\"{}\">{}</text>", right, bottom + 15, chart_.full_rank);
        put("<text class=\"middle soft\" x=\"{}\" y=\"{}\">index of σ²</text>", (left + right) / 2,
            bottom + 15);
    }

    void curve(const spectrum_line& line) {
        if (line.spectrum.empty()) return;
        std::string path;
        double before = 1;
        for (const auto i : line.spectrum.index) {
            auto at = static_cast<double>(i);
            const double level = line.spectrum.log_ratio(at);
            const bool leaves = level < chart_.lowest;
            if (leaves && i > line.spectrum.index.front()) {
                const double above = line.spectrum.log_ratio(before);
                at = before + (at - before) * (above - chart_.lowest) / (above - level);
            }
            path += fmt::format("{}{:.1f} {:.1f}", path.empty() ? 'M' : 'L', x(at), y(level));
            if (leaves) break;
            before = at;
        }
        put("<path class=\"line t{}\" d=\"{}\"><title>{}</title></path>", tone_of(line.block, chart_.blocks),
            path, escaped(about(line)));
    }

    void cut(const spectrum_line& line) {
        if (line.spectrum.empty() || !line.cut) return;
        const auto at = static_cast<double>(line.rank);
        put("<circle class=\"cut t{}\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3.2\"><title>{}</title></circle>",
            tone_of(line.block, chart_.blocks), x(at), y(line.spectrum.log_ratio(at)), escaped(about(line)));
    }

    [[nodiscard]] std::string about(const spectrum_line& line) const {
        return line.cut ? fmt::format("{}: cut at rank {} of {}", line.name, line.rank, chart_.full_rank)
                        : line.name + ": dense";
    }

    const spectrum_chart& chart_;
    std::string out_;
};

}  // namespace

std::string draw(const spectrum_chart& chart) {
    return drawing(chart).draw();
}

std::string spectrum_legend(std::int64_t blocks) {
    if (blocks < 2) return {};
    std::string out = "<span class=\"legend\">block 0 ";
    for (std::size_t i = 0; i < tones; ++i)
        out += fmt::format("<i class=\"t{}\"></i>", i);
    return out + fmt::format(" block {}</span>", blocks - 1);
}

std::string spectrum_chart_style() {
    std::string sheet =
        ".spectra{display:grid;gap:20px 24px;grid-template-columns:repeat(auto-fill,minmax(min(100%,290px),"
        "1fr))}.spectrum .line{stroke-width:1.4}"
        ".spectrum .cut{fill:var(--page);stroke:currentColor;stroke-width:1.8}"
        ".legend i[class^=t]{background:currentColor}";
    std::string night;
    for (std::size_t i = 0; i < tones; ++i) {
        sheet += fmt::format(".t{}{{color:{}}}", i, light[i]);
        night += fmt::format(".t{}{{color:{}}}", i, dark[i]);
    }
    return sheet + "@media(prefers-color-scheme:dark){" + night + "}";
}

}  // namespace llm
