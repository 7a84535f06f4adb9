#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace llm {

struct plot_point {
    double x;
    double y;
    double error = 0;  ///< half the length of the bar; 0 or NaN: none
};

struct plot_series {
    std::string method;
    std::size_t style;  ///< colour, dash and marker (styles_of)
    std::string label;
    std::vector<plot_point> points;  ///< x ascending; points that aren't finite break the line
};

/// A horizontal line across the plot.
struct plot_level {
    std::string label;
    double y;
};

/// What x is: a share, shown in percent, with a tick at each value that occurs, or bytes, with round ticks.
enum class plot_x { share, bytes };

struct plot {
    std::string title;
    std::string y_title;
    bool log_y = false;  ///< otherwise linear, shown in percent
    plot_x x = plot_x::share;
    std::optional<double> floor{};  ///< bounds of y, if any: a line that crosses one ends in an arrow
    std::optional<double> ceiling{};
    double spread = 0;  ///< shift between series in pixels, so that error bars part
    std::vector<plot_series> series{};
    std::optional<plot_level> level{};
};

/// The plot as an `<svg>` that scales with its container, every line labelled at its right end.
[[nodiscard]] std::string draw(const plot& p);

}  // namespace llm
