// SPDX-License-Identifier: MIT
#pragma once

#include "policy.hpp"

namespace nsvd::inline NSVD_ABI {

/// Rank policy: exactly this rank, in [1, min(m, n)].
struct rank {
    index value = 0;  ///< k

    /// The rank.
    [[nodiscard]] index operator()(const shape& s) const { return detail::checked_rank(value, s, "rank"); }
};

}  // namespace nsvd::inline NSVD_ABI
