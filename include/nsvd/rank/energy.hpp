// SPDX-License-Identifier: MIT
#pragma once

#include "policy.hpp"

#include <optional>

namespace nsvd::inline NSVD_ABI {

namespace detail {

/// The smallest k with `rest_after(k) ≤ allowed`, in one pass from the smallest value up; empty if that needs
/// values that are not shown.
[[nodiscard]] inline std::optional<index> smallest_rank(const spectrum& values, double allowed) {
    double sum = values.rest;
    if (sum > allowed)
        return values.complete ? std::optional<index>(static_cast<index>(values.size())) : std::nullopt;
    std::size_t k = values.size();
    while (k > 0 && sum + values[k - 1] <= allowed)
        sum += values[--k];
    return static_cast<index>(k);
}

}  // namespace detail

/// Rank policy: the smallest rank that keeps the given fraction of `‖W S‖_F²` in the metric of the first
/// stage
/// (`Σ_{i≤k} σ_i² ≥ fraction · Σ σ_i²`). Throws `nsvd::error` unless 0 < fraction ≤ 1, and where nothing is
/// worth keeping (`W S = 0`).
struct energy {
    double fraction = 1.0;  ///< of Σσ², in (0, 1]

    /// The rank; empty to ask for more of the spectrum.
    [[nodiscard]] std::optional<index> operator()(const spectrum& values, const shape&) const {
        if (!(fraction > 0.0 && fraction <= 1.0))
            throw error("energy: fraction = " + detail::text(fraction) + " is outside (0, 1]");
        return detail::smallest_rank(values, (1.0 - fraction) * values.total());
    }
};

}  // namespace nsvd::inline NSVD_ABI
