// SPDX-License-Identifier: MIT
/// How many numbers a rank costs, in the one place that counts them.
#pragma once

#include "rank/policy.hpp"

#include <algorithm>
#include <cstdint>

namespace nsvd::inline NSVD_ABI {

/// How a rank-k approximation of an `m×n` matrix is stored.
enum class storage : std::uint8_t {
    plain,    ///< `low_rank`: two factors, k(m + n) numbers
    pivoted,  ///< `pivoted_low_rank`: k(m + n − k) numbers, and k indices; all of W at k = min(m, n)
};

/// Numbers that a rank-k approximation of a matrix of shape `s` takes, indices not among them.
[[nodiscard]] constexpr std::int64_t stored_numbers(storage how, const shape& s, index k) noexcept {
    return k * (s.rows + s.cols - (how == storage::pivoted ? k : 0));
}

/// The largest rank in [0, min(m, n)] that takes at most this many numbers.
[[nodiscard]] constexpr index largest_rank(storage how, const shape& s, std::int64_t numbers) noexcept {
    // Both counts grow with k as far as min(m, n).
    index fits = 0;
    index too_large = s.full_rank() + 1;
    while (too_large - fits > 1) {
        const index middle = fits + (too_large - fits) / 2;
        (stored_numbers(how, s, middle) <= numbers ? fits : too_large) = middle;
    }
    return fits;
}

}  // namespace nsvd::inline NSVD_ABI
