// SPDX-License-Identifier: MIT
#pragma once

#include "../storage.hpp"
#include "policy.hpp"

#include <cmath>
#include <cstdint>

namespace nsvd::inline NSVD_ABI {

/// Rank policy: remove the given fraction of the parameters.
///
/// The largest k that takes at most `(1 − ratio)·m·n` numbers in that storage: for `storage::plain`
/// `floor((1 − ratio)·m·n / (m + n))`; for `storage::pivoted` more, up to min(m, n), that is W itself, at
/// ratio 0. The ratio is read as the nearest multiple of 1e-9 and the rest is integer arithmetic: in floating
/// point a rank is lost at times. Throws `nsvd::error` unless 0 ≤ ratio < 1, and where no rank is left (1×1
/// at 30 %).
struct compression {
    double ratio = 0.0;                            ///< what is removed, in [0, 1)
    nsvd::storage storage = nsvd::storage::plain;  ///< what the rank is counted for

    /// The rank.
    [[nodiscard]] index operator()(const shape& s) const {
        const index k = largest_rank(storage, s, kept(s));
        if (k == 0)
            throw error("compression: ratio = " + detail::text(ratio) + " leaves rank 0 for a " +
                        detail::shape_text(s.rows, s.cols) + " matrix");
        return k;
    }

    /// floor((1 − ratio)·m·n), the numbers that are left. Throws `nsvd::error` unless 0 ≤ ratio < 1 and the
    /// matrix has entries, at most 2^62 of them.
    [[nodiscard]] std::int64_t kept(const shape& s) const {
        constexpr std::int64_t unit = 1'000'000'000;
        if (!(ratio >= 0.0 && ratio < 1.0))
            throw error("compression: ratio = " + detail::text(ratio) + " is outside [0, 1)");
        if (s.rows < 1 || s.cols < 1)
            throw error("compression: a " + detail::shape_text(s.rows, s.cols) + " matrix has no rank");
        if (s.rows > (std::int64_t{1} << 62) / s.cols)
            throw error("compression: a " + detail::shape_text(s.rows, s.cols) +
                        " matrix has more than 2^62 entries");
        const std::int64_t part = unit - std::llround(ratio * static_cast<double>(unit));
        // Without the product part·mn, which could overflow.
        const std::int64_t all = s.rows * s.cols;
        return part * (all / unit) + part * (all % unit) / unit;
    }
};

}  // namespace nsvd::inline NSVD_ABI
