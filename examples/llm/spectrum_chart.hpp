// SPDX-License-Identifier: MIT
/// Spectra of the layers of one kind, a line for each block, with the rank at which each was cut.
#pragma once

#include "sampled_spectrum.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace llm {

struct spectrum_line {
    std::string name;  ///< of the layer
    std::int64_t block = 0;
    std::int64_t rank = 0;
    bool cut = true;  ///< false for a layer that was left as it was
    sampled_spectrum spectrum{};
};

struct spectrum_chart {
    std::string title;
    std::int64_t full_rank = 1;  ///< the right end of the axis
    std::int64_t blocks = 1;     ///< of the model: a block has the same colour in every chart
    double lowest = -4;          ///< log₁₀(σ²/σ₁²) at the lower end: lines end there
    std::vector<spectrum_line> lines{};
};

/// The chart as an `<svg>`: log σ²/σ₁² against the index, a ring where a layer was cut.
[[nodiscard]] std::string draw(const spectrum_chart& chart);

/// Which colour is which block.
[[nodiscard]] std::string spectrum_legend(std::int64_t blocks);

/// Style sheet of all charts. Expects the page's colours and plot_style.
[[nodiscard]] std::string spectrum_chart_style();

}  // namespace llm
