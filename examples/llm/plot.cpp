#include "plot.hpp"

#include "axis.hpp"
#include "markup.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <utility>

namespace llm {
namespace {

// One unit is one CSS pixel where the plot is shown at its own size.
constexpr double width = 420;
constexpr double height = 300;
constexpr double left = 50;
constexpr double top = 30;
constexpr double bottom = height - 42;
constexpr double line_height = 14;
constexpr double key_width = 24;

bool shown(const plot_point& point, bool log) {
    return std::isfinite(point.y) && (!log || point.y > 0);
}

std::string percent_tick(double share) {
    return (share < 0 ? "−" : "") + tick_text(std::abs(100 * share)) + " %";
}

/// "400 kB", "1.5 GB".
std::string short_bytes(double bytes) {
    std::string unit = "B";
    for (const auto* next : {"kB", "MB", "GB", "TB"}) {
        if (bytes < 999.5) break;
        bytes /= 1000;
        unit = next;
    }
    return fmt::format("{:.3g} {}", bytes, unit);
}

double bar(const plot_point& point) {
    return std::isfinite(point.error) ? point.error : 0;
}

struct spot {
    double x;
    double y;
};

/// The segment without what lies above or below the plot.
std::pair<spot, spot> cut(spot a, spot b) {
    const auto moved = [&](spot end) {
        const double y = std::clamp(end.y, top, bottom);
        return y == end.y ? end : spot{a.x + (b.x - a.x) * (y - a.y) / (b.y - a.y), y};
    };
    return {moved(a), moved(b)};
}

/// Where a line leaves the plot through its upper or lower edge.
std::string arrow(spot at) {
    const double back = at.y < (top + bottom) / 2 ? 5 : -5;
    return fmt::format("<path class=\"off\" d=\"M{:.1f} {:.1f}l3.5 {}l3.5 {}\"/>", at.x - 3.5, at.y + back,
                       -back, back);
}

struct label {
    double wanted;  ///< y of the line's end
    double y;       ///< y of the text
    double from;    ///< x of the line's end
    std::string key;
    std::string text;
};

/// Moves labels that overlap apart, in their order, within the height of the plot.
void part(std::vector<label>& labels) {
    std::stable_sort(labels.begin(), labels.end(),
                     [](const label& a, const label& b) { return a.wanted < b.wanted; });
    double lowest = top + 4;
    for (auto& l : labels) {
        l.y = std::max(l.wanted, lowest);
        lowest = l.y + line_height;
    }
    double highest = bottom - 4;
    for (auto l = labels.rbegin(); l != labels.rend(); ++l) {
        l->y = std::min(l->y, highest);
        highest = l->y - line_height;
    }
}

/// Draws one plot; `out` grows from back to front.
class drawing {
public:
    explicit drawing(const plot& p) : plot_(p), y_(y_axis(p)) {
        for (const auto& s : p.series) {
            for (const auto& point : s.points)
                x_values_.push_back(point.x);
        }
        std::sort(x_values_.begin(), x_values_.end());
        x_values_.erase(std::unique(x_values_.begin(), x_values_.end()), x_values_.end());
        std::size_t longest = 5;
        for (const auto& s : p.series)
            longest = std::max(longest, s.label.size());
        if (p.level) longest = std::max(longest, p.level->label.size());
        right_ = width - key_width - 18 - 6.9 * static_cast<double>(longest);
    }

    std::string draw() {
        put("<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">", width, height,
            escaped(plot_.title));
        put("<text class=\"title\" x=\"{}\" y=\"16\">{}</text>", 4, escaped(plot_.title));
        axes();
        std::vector<label> labels;
        if (plot_.level) labels.push_back(level());
        for (std::size_t i = 0; i < plot_.series.size(); ++i)
            series(i, labels);
        part(labels);
        for (const auto& l : labels) {
            put("<path class=\"lead\" d=\"M{:.1f} {:.1f}L{:.1f} {:.1f}\"/>", l.from + 8, l.wanted,
                right_ + 12, l.y);
            put("<g transform=\"translate({:.1f} {:.1f})\">{}</g>", right_ + 14, l.y, l.key);
            put("<text x=\"{:.1f}\" y=\"{:.1f}\">{}</text>", right_ + 18 + key_width, l.y + 4,
                escaped(l.text));
        }
        return out_ + "</svg>";
    }

private:
    static axis y_axis(const plot& p) {
        double low = HUGE_VAL;
        double high = -HUGE_VAL;
        const auto take = [&](double y) {
            if (p.floor) y = std::max(y, *p.floor);
            if (p.ceiling) y = std::min(y, *p.ceiling);
            low = std::min(low, y);
            high = std::max(high, y);
        };
        for (const auto& s : p.series) {
            for (const auto& point : s.points) {
                if (!shown(point, p.log_y)) continue;
                take(point.y - bar(point));
                take(point.y + bar(point));
            }
        }
        if (p.level && shown({0, p.level->y}, p.log_y)) take(p.level->y);
        if (low > high) low = high = 1;
        return {low, high, p.log_y};
    }

    template <typename... Args>
    void put(fmt::format_string<Args...> format, Args&&... args) {
        fmt::format_to(std::back_inserter(out_), format, std::forward<Args>(args)...);
    }

    /// Room for the first and last series that are shifted.
    [[nodiscard]] double inset() const {
        return 14 + 0.5 * plot_.spread * static_cast<double>(plot_.series.size());
    }

    [[nodiscard]] double x(double value) const {
        const double low = x_values_.front();
        const double range = x_values_.back() - low;
        return range > 0 ? left + inset() + (value - low) / range * (right_ - left - 2 * inset())
                         : (left + right_) / 2;
    }

    [[nodiscard]] double y(double value) const { return bottom - y_.place(value) * (bottom - top); }

    /// Shares are those that occur, bytes are round.
    [[nodiscard]] std::vector<double> x_ticks() const {
        if (plot_.x == plot_x::share || x_values_.size() < 2) return x_values_;
        auto ticks = axis(x_values_.front(), x_values_.back(), false).ticks();
        std::erase_if(ticks, [&](double t) { return t < x_values_.front() || t > x_values_.back(); });
        return ticks;
    }

    void axes() {
        for (const double tick : y_.ticks()) {
            const auto text = plot_.log_y ? tick_text(tick) : percent_tick(tick);
            put("<path class=\"grid\" d=\"M{} {:.1f}H{:.1f}\"/>", left, y(tick), right_);
            put("<text class=\"end\" x=\"{}\" y=\"{:.1f}\">{}</text>", left - 5, y(tick) + 4, text);
        }
        put("<path class=\"axis\" d=\"M{} {}V{}H{:.1f}\"/>", left, top, bottom, right_);
        const bool in_bytes = plot_.x == plot_x::bytes;
        double free_from = 0;
        for (const double value : x_ticks()) {
            put("<path class=\"axis\" d=\"M{:.1f} {}v4\"/>", x(value), bottom);
            if (x(value) < free_from) continue;
            free_from = x(value) + (in_bytes ? 56 : 36);
            const auto text = in_bytes ? short_bytes(value) : fmt::format("{:.6g} %", 100 * value);
            put("<text class=\"middle\" x=\"{:.1f}\" y=\"{}\">{}</text>", x(value), bottom + 17, text);
        }
        put("<text class=\"middle soft\" x=\"{:.1f}\" y=\"{}\">{}</text>", (left + right_) / 2, height - 8,
            in_bytes ? "bytes" : "compression");
        put("<text class=\"end soft\" x=\"{:.1f}\" y=\"16\">{}</text>", width - 4, escaped(plot_.y_title));
    }

    label level() {
        const double at = y(plot_.level->y);
        put("<path class=\"level\" d=\"M{} {:.1f}H{:.1f}\"/>", left, at, right_);
        return {at, at, right_ - 8, "<path class=\"level\" d=\"M0 0H20\"/>", plot_.level->label};
    }

    [[nodiscard]] bool inside(const plot_point& point) const {
        return (!plot_.floor || point.y >= *plot_.floor) && (!plot_.ceiling || point.y <= *plot_.ceiling);
    }

    void series(std::size_t number, std::vector<label>& labels) {
        const auto& s = plot_.series[number];
        const auto kind = s.style;
        const double middle = 0.5 * static_cast<double>(plot_.series.size() - 1);
        const double shift = plot_.spread * (static_cast<double>(number) - middle);
        std::string line;
        std::string marks;
        std::optional<label> end;
        const plot_point* before = nullptr;
        for (const auto& point : s.points) {
            if (!shown(point, plot_.log_y)) {
                before = nullptr;
                continue;
            }
            const spot to{x(point.x) + shift, y(point.y)};
            const bool in = inside(point);
            if (before != nullptr && (in || inside(*before))) {
                const spot from{x(before->x) + shift, y(before->y)};
                const auto [a, b] = cut(from, to);
                line += fmt::format("M{:.1f} {:.1f}L{:.1f} {:.1f}", a.x, a.y, b.x, b.y);
                if (!in) marks += arrow(b);
            } else if (!in && before == nullptr) {
                marks += arrow({to.x, std::clamp(to.y, top, bottom)});
            }
            if (in && bar(point) > 0) marks += error_bar(point, to.x);
            if (in) marks += marker(kind, to.x, to.y);
            const double at = std::clamp(to.y, top, bottom);
            end = label{at, at, in ? to.x : right_ - 8, {}, s.label};
            before = &point;
        }
        if (!end) return;
        put("<g class=\"s{}\"><path class=\"line\" d=\"{}\"/>{}</g>", kind, line, marks);
        end->key = fmt::format("<g class=\"s{}\"><path class=\"line\" d=\"M0 0H20\"/>{}</g>", kind,
                               marker(kind, 10, 0));
        labels.push_back(*end);
    }

    [[nodiscard]] std::string error_bar(const plot_point& point, double px) const {
        return fmt::format("<path class=\"bar\" d=\"M{:.1f} {:.1f}V{:.1f}\"/>", px,
                           std::clamp(y(point.y + bar(point)), top, bottom),
                           std::clamp(y(point.y - bar(point)), top, bottom));
    }

    const plot& plot_;
    axis y_;
    std::vector<double> x_values_;
    double right_ = 0;
    std::string out_;
};

}  // namespace

std::string draw(const plot& p) {
    return drawing(p).draw();
}

}  // namespace llm
