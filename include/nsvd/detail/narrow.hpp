// SPDX-License-Identifier: MIT
/// The one checked conversion from our 64-bit sizes to whatever integer another library takes.
#pragma once

#include "../error.hpp"

#include <limits>
#include <string>
#include <type_traits>

namespace nsvd::inline NSVD_ABI::detail {

/// True if the nonnegative `value` is representable in `Integer`.
template <class Integer>
[[nodiscard]] constexpr bool fits(std::int64_t value) noexcept {
    static_assert(std::is_signed_v<Integer> && sizeof(Integer) <= sizeof(std::int64_t));
    return value >= 0 && value <= std::numeric_limits<Integer>::max();
}

/// `value` as `Integer`; throws `nsvd::error` naming `what` and the library if it doesn't fit.
template <class Integer>
[[nodiscard]] Integer narrow(std::int64_t value, const char* what, const char* library = "this BLAS/LAPACK") {
    if (!fits<Integer>(value))
        throw error(std::string(what) + " = " + std::to_string(value) + " does not fit the " +
                    std::to_string(8 * sizeof(Integer)) + "-bit integers of " + library);
    return static_cast<Integer>(value);
}

}  // namespace nsvd::inline NSVD_ABI::detail
