// SPDX-License-Identifier: MIT
#pragma once

#include "policy.hpp"

#include <cmath>
#include <cstdint>

namespace nsvd::inline NSVD_ABI {

/// Rank policy: remove the given fraction of the parameters.
///
/// `k = floor((1 − ratio)·m·n / (m + n))`: the factors `m×k` and `k×n` hold at most `(1 − ratio)·m·n`
/// numbers. The ratio is read as the nearest multiple of 1e-9 and the rest is integer arithmetic: in floating
/// point a rank is lost at times. Throws `nsvd::error` unless 0 ≤ ratio < 1, and where no rank is left (1×1
/// at 30 %).
struct compression {
    double ratio = 0.0;

    [[nodiscard]] index operator()(const shape& s) const {
        constexpr std::int64_t unit = 1'000'000'000;
        if (!(ratio >= 0.0 && ratio < 1.0))
            throw error("compression: ratio = " + detail::text(ratio) + " is outside [0, 1)");
        if (s.rows < 1 || s.cols < 1)
            throw error("compression: a " + detail::shape_text(s.rows, s.cols) + " matrix has no rank");
        const std::int64_t kept = unit - std::llround(ratio * static_cast<double>(unit));
        // floor(kept·mn / (unit·(m + n))) without the product kept·mn, which could overflow: with
        // mn = q·(m + n) + r, floors of floors are exact.
        const std::int64_t sum = s.rows + s.cols;
        const std::int64_t q = s.rows * s.cols / sum;
        const std::int64_t r = s.rows * s.cols % sum;
        const std::int64_t k = (kept * q + kept * r / sum) / unit;
        if (k == 0)
            throw error("compression: ratio = " + detail::text(ratio) + " leaves rank 0 for a " +
                        detail::shape_text(s.rows, s.cols) + " matrix");
        return k;
    }
};

}  // namespace nsvd::inline NSVD_ABI
