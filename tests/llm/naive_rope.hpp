// SPDX-License-Identifier: MIT
// Stretched rotary frequencies once more, case by case as the documentation of the transformers has them.
#pragma once

#include "naive_llama.hpp"

#include <cmath>
#include <numbers>

namespace llm_test {

inline naive_variant naive_linear(double theta, std::size_t dim, double factor) {
    naive_variant v{naive_frequencies(theta, dim), 1, {}};
    for (auto& f : v.frequencies)
        f /= factor;
    return v;
}

inline naive_variant naive_dynamic(double theta, std::size_t dim, double factor, double max, double tokens) {
    const double d = static_cast<double>(dim);
    if (tokens > max) theta *= std::pow(factor * tokens / max - (factor - 1), d / (d - 2));
    return {naive_frequencies(theta, dim), 1, {}};
}

inline naive_variant naive_llama3(double theta, std::size_t dim, double factor, double original, double low,
                                  double high) {
    naive_variant v{naive_frequencies(theta, dim), 1, {}};
    for (auto& f : v.frequencies) {
        const double wavelength = 2 * std::numbers::pi / f;
        if (wavelength > original / low) {
            f /= factor;
        } else if (wavelength >= original / high) {
            const double smooth = (original / wavelength - low) / (high - low);
            f = (1 - smooth) * f / factor + smooth * f;
        }
    }
    return v;
}

inline naive_variant naive_yarn(double theta, std::size_t dim, double factor, double original, double scale,
                                double fast = 32, double slow = 1, bool truncate = true) {
    const double d = static_cast<double>(dim);
    const auto at = [&](double rotations) {
        return d * std::log(original / (rotations * 2 * std::numbers::pi)) / (2 * std::log(theta));
    };
    double low = at(fast), high = at(slow);
    if (truncate) low = std::floor(low), high = std::ceil(high);
    if (low < 0) low = 0;
    if (high > d - 1) high = d - 1;
    naive_variant v{naive_frequencies(theta, dim), scale, {}};
    for (std::size_t i = 0; i < dim / 2; ++i) {
        double ramp = (static_cast<double>(i) - low) / (high - low);
        if (ramp < 0) ramp = 0;
        if (ramp > 1) ramp = 1;
        const double keep = 1 - ramp;
        v.frequencies[i] = v.frequencies[i] / factor * (1 - keep) + v.frequencies[i] * keep;
    }
    return v;
}

}  // namespace llm_test
