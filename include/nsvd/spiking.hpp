// SPDX-License-Identifier: MIT
/// Layers whose inputs spike: candidates to be kept dense.
#pragma once

#include "calibration.hpp"
#include "error.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <ranges>
#include <span>
#include <string>
#include <vector>

namespace nsvd::inline NSVD_ABI {

/// `max |x| / rms(x)` over all channels and tokens of a calibration, with `rms² = tr C / (n·weight)`; 0 for
/// zero inputs. It does not depend on the scale of the inputs. Independent normal numbers have
/// √(2 log(n·tokens)), 5 to 7. Throws `nsvd::error` if there are no tokens.
template <real_scalar Scalar>
[[nodiscard]] double peak(const calibration<Scalar>& calib) {
    if (calib.tokens() == 0) throw error("peak: calib has no tokens: call update first");
    const double rms = std::sqrt(calib.mean_square().mean());
    return rms > 0.0 ? calib.max_abs().maxCoeff() / rms : 0.0;
}

/// The layers, by ascending number, whose peak is more than `factor` times the median one. Those of LLaMA
/// models are reported to be the first and last `down_proj` (2504.21553, which keeps them at a higher
/// precision than the others); `layer_profile::keep_dense` does the like for ranks.
///
/// The default of 10 leaves room for the ordinary differences between layers, in their outlier channels and
/// between the kinds of input; the massive activations of 2402.17762 are 10³ times the median magnitude and
/// more. They can't hide in their own rms: one of height h among N numbers has a peak of at least
/// min(h, √N)/√2, and for one token in 2048 and 11008 channels √N is 4700. Where half of the layers spike
/// none stands out. Throws `nsvd::error` unless the peaks are ≥ 0 and the factor is finite and at least 1.
[[nodiscard]] inline std::vector<std::size_t> spiking(std::span<const double> peaks, double factor = 10.0) {
    if (!(factor >= 1.0 && std::isfinite(factor)))
        throw error("spiking: factor = " + detail::text(factor) + " must be finite and at least 1");
    for (std::size_t i = 0; i < peaks.size(); ++i)
        if (!(peaks[i] >= 0.0))
            throw error("spiking: peaks[" + std::to_string(i) + "] = " + detail::text(peaks[i]) +
                        " is not at least 0");
    std::vector<std::size_t> layers;
    if (peaks.empty()) return layers;
    std::vector<double> sorted(peaks.begin(), peaks.end());
    // The lower of two middle ones: of two layers, one may stand out.
    const auto middle = sorted.begin() + static_cast<std::ptrdiff_t>((sorted.size() - 1) / 2);
    std::nth_element(sorted.begin(), middle, sorted.end());
    for (std::size_t i = 0; i < peaks.size(); ++i)
        if (peaks[i] > factor * *middle) layers.push_back(i);
    return layers;
}

/// The same from a range of calibrations. Throws `nsvd::error` also if one of them has no tokens.
template <std::ranges::input_range R>
requires requires(const std::ranges::range_value_t<R>& calib) {
    peak(calib);
}
[[nodiscard]] std::vector<std::size_t> spiking(const R& calibs, double factor = 10.0) {
    std::vector<double> peaks;
    for (const auto& calib : calibs)
        peaks.push_back(peak(calib));
    return spiking(std::span<const double>(peaks), factor);
}

}  // namespace nsvd::inline NSVD_ABI
