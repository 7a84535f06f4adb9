// SPDX-License-Identifier: MIT
/// A table whose cells are coloured by a number.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace llm {

struct heat_cell {
    std::optional<double> value{};  ///< what the colour goes by; none, or not finite: no colour
    std::string text{};
    std::string about{};  ///< shown when the cell is pointed at
};

/// One hue from pale to dark, so that a printer and the colour-blind see the same order.
enum class heat_hue { blue, orange };

struct heat_map {
    std::string title{};
    std::string corner{};  ///< what the rows are
    heat_hue hue = heat_hue::blue;
    double low = 0;  ///< values at or beyond the ends get the colours of the ends
    double high = 1;
    std::string low_text{}, high_text{};  ///< the ends in the legend
    std::vector<std::string> rows{}, columns{};
    std::vector<std::vector<heat_cell>> cells{};  ///< row by row
};

/// The map as a `<figure>`: title, legend, a table that scrolls in its own box.
[[nodiscard]] std::string draw(const heat_map& map);

/// Style sheet of all heat maps. Dark pages have the dark end low. Expects the page's colours.
[[nodiscard]] std::string heat_map_style();

}  // namespace llm
