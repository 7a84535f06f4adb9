#include "axis.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace llm {
namespace {

constexpr std::size_t fewest = 4;
constexpr std::size_t most = 8;

/// Multiples of a round step.
std::vector<double> linear_ticks(double low, double high) {
    const double rough = (high - low) / 7;
    const double power = std::pow(10, std::floor(std::log10(rough)));
    double step = 10 * power;
    for (const double factor : {5., 2., 1.}) {
        if (factor * power >= rough) step = factor * power;
    }
    const double first = std::ceil(low / step);
    const double count = std::floor(high / step) - first + 1;
    std::vector<double> ticks;
    // Not so many, or not a number, where the range is at the limits of double.
    for (int i = 0; count < 20 && i < count; ++i)
        ticks.push_back((first + i) * step);
    return ticks;
}

/// Every one of `digits` times a power of ten, the powers `stride` apart, between two logarithms.
std::vector<double> decade_ticks(double log_low, double log_high, const std::vector<double>& digits,
                                 int stride) {
    std::vector<double> ticks;
    const int first = static_cast<int>(std::floor(log_low / std::log(10)));
    const int last = static_cast<int>(std::floor(log_high / std::log(10)));
    for (int power = first - (first % stride + stride) % stride; power <= last; power += stride) {
        for (const double digit : digits) {
            const double tick = digit * std::pow(10, power);
            if (!std::isfinite(tick)) break;
            if (std::log(tick) >= log_low && std::log(tick) <= log_high) ticks.push_back(tick);
        }
    }
    return ticks;
}

std::vector<double> log_ticks(double log_low, double log_high) {
    const auto fit = [](const std::vector<double>& ticks) {
        return ticks.size() >= fewest && ticks.size() <= most;
    };
    for (const int stride : {64, 32, 16, 8, 4, 2, 1}) {
        auto ticks = decade_ticks(log_low, log_high, {1}, stride);
        if (fit(ticks)) return ticks;
    }
    for (const auto& digits : {std::vector<double>{1, 3}, {1, 2, 5}, {1, 1.5, 2, 3, 4, 6, 8}}) {
        auto ticks = decade_ticks(log_low, log_high, digits, 1);
        if (fit(ticks)) return ticks;
    }
    return linear_ticks(std::exp(log_low), std::exp(log_high));
}

}  // namespace

axis::axis(double low, double high, bool log) : log_(log) {
    low_ = log ? std::log(low) : low;
    high_ = log ? std::log(high) : high;
    const double least = log ? 0.01 : high > low ? 0 : std::max(0.01, 0.1 * std::abs(high));
    const double margin = std::max(0.05 * (high_ - low_), least);
    low_ -= margin;
    high_ += margin;
    ticks_ = log ? log_ticks(low_, high_) : linear_ticks(low_, high_);
}

double axis::place(double value) const {
    return ((log_ ? std::log(value) : value) - low_) / (high_ - low_);
}

std::string tick_text(double value) {
    if (std::abs(value) < 9999.5) return fmt::format("{:.4g}", value);
    static constexpr const char* raised[] = {"⁰", "¹", "²", "³", "⁴", "⁵", "⁶", "⁷", "⁸", "⁹"};
    const int power = static_cast<int>(std::floor(std::log10(std::abs(value)) + 1e-9));
    const auto factor = fmt::format("{:.3g}", value / std::pow(10, power));
    std::string text = factor == "1" ? "10" : factor + "·10";
    for (const char digit : fmt::format("{}", power))
        text += raised[digit - '0'];
    return text;
}

}  // namespace llm
