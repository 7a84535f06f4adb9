// SPDX-License-Identifier: MIT
/// The windows of tokens that are passed through a model, and what they count.
#pragma once

#include "tokens.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace llm {

/// Which windows a calibration sees: at most `windows` of `context` tokens, drawn with `seed`.
struct sampling {
    std::size_t context = 0;
    std::size_t windows = 256;
    std::uint64_t seed = 0;
};

/// Windows of tokens, and what each token of a window counts.
struct weighted_windows {
    std::vector<std::vector<token>> windows;
    std::vector<double> weights;

    /// More windows, whose tokens count `weight` all together.
    void add(std::vector<std::vector<token>> more, double weight);
    /// Those that fall to number `own` of so many processes, in turn.
    [[nodiscard]] weighted_windows share(std::size_t own, std::size_t processes) const;
    /// The weight of all tokens.
    [[nodiscard]] double weight() const;
    /// At most `count` windows, spread evenly over the weight.
    [[nodiscard]] std::vector<std::vector<token>> spread(std::size_t count) const;
};

/// The windows drawn from `tokens`, each token with the weight 1; `name` is the text's in errors.
[[nodiscard]] weighted_windows draw_text(std::span<const token> tokens, const sampling& sample,
                                         const std::string& name);

}  // namespace llm
