#pragma once

#include <string>
#include <vector>

namespace llm {

/// A vertical scale from values to [0, 1], linear or logarithmic, with its ticks.
class axis {
public:
    /// Covers [low, high] with a small margin. For `log`, both positive. An empty range is widened.
    axis(double low, double high, bool log);

    [[nodiscard]] double place(double value) const;

    /// About four to eight round values within the range.
    [[nodiscard]] const std::vector<double>& ticks() const { return ticks_; }

private:
    double low_;  ///< with the margin; their logarithms for a logarithmic scale
    double high_;
    bool log_;
    std::vector<double> ticks_;
};

/// "0.5", "350", "7000", "10⁵", "2·10⁶".
[[nodiscard]] std::string tick_text(double value);

}  // namespace llm
