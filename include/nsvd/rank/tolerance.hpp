// SPDX-License-Identifier: MIT
#pragma once

#include "energy.hpp"

namespace nsvd::inline NSVD_ABI {

/// Rank policy: the smallest rank whose relative error `‖(W − W′) S‖_F / ‖W S‖_F` in the metric of the first
/// stage is at most this, for a decomposition of one stage. Throws `nsvd::error` unless 0 ≤ relative_error <
/// 1, and where rank 0 would do (`W S = 0`).
struct tolerance {
    double relative_error = 0.0;  ///< in [0, 1)

    /// The rank; empty to ask for more of the spectrum.
    [[nodiscard]] std::optional<index> operator()(const spectrum& values, const shape&) const {
        if (!(relative_error >= 0.0 && relative_error < 1.0))
            throw error("tolerance: relative_error = " + detail::text(relative_error) + " is outside [0, 1)");
        return detail::smallest_rank(values, relative_error * relative_error * values.total());
    }
};

}  // namespace nsvd::inline NSVD_ABI
