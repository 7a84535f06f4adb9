// SPDX-License-Identifier: MIT
#pragma once

#include "detail/config.hpp"

#include <cstdint>
#include <string_view>

namespace nsvd::inline NSVD_ABI {

/// How close to the optimum the error of each stage must be: at most (1 + τ) times the smallest error in the
/// stage's metric, plus c·eps·‖W S‖ for the rounding of the factors. Up to min(m, n) = 1024 every level is
/// `exact`.
enum class accuracy : std::uint8_t {
    exact,     ///< τ = 1e-6
    balanced,  ///< τ = 5e-4, the default
    fast,      ///< τ = 1e-2
};

namespace detail {

/// Up to this smaller side every level of accuracy is `exact`.
inline constexpr std::int64_t exact_up_to = 1024;

/// τ of a level.
[[nodiscard]] constexpr double excess_allowed(accuracy level) noexcept {
    switch (level) {
        case accuracy::exact:
            return 1e-6;
        case accuracy::balanced:
            return 5e-4;
        case accuracy::fast:
            return 1e-2;
    }
    return 1e-6;
}

}  // namespace detail
}  // namespace nsvd::inline NSVD_ABI
