// SPDX-License-Identifier: MIT
/// Misuse throws `nsvd::error`; numerical trouble is a `nsvd::status` in the result.
#pragma once

#include "detail/config.hpp"

#include <charconv>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>

namespace nsvd::inline NSVD_ABI {

/// Thrown for misuse: shapes that don't match, a ratio outside its range, empty or non-finite input, an
/// unreadable file; and for a LAPACK that refuses good arguments. The message is one line and names the
/// argument and the values.
class error : public std::invalid_argument {
public:
    using std::invalid_argument::invalid_argument;
};

/// What was met during a decomposition, in ascending order of severity; a result carries the most severe.
enum class status : std::uint8_t {
    /// Every metric is numerically nonsingular and `W` has full numerical rank in it.
    ok,
    /// A metric (the Gram matrix of a calibration) is numerically singular. The result is still the best one
    /// in that metric; directions it says nothing about are taken from the metric `I` when the rank needs
    /// them.
    singular_metric,
    /// `W`, seen through a metric, has a numerical rank below what its shape and the metric allow. The result
    /// is correct; directions beyond the numerical rank are taken from the metric `I`, then arbitrary.
    rank_deficient,
    /// No eigensolver of the chain converged. The factors still form `Q Qᵀ W` with orthonormal `Q`, but not
    /// the best one.
    not_converged,
};

/// The name of a status, for messages and reports.
[[nodiscard]] constexpr std::string_view to_string(status s) noexcept {
    switch (s) {
        case status::ok:
            return "ok";
        case status::singular_metric:
            return "singular metric";
        case status::rank_deficient:
            return "rank-deficient";
        case status::not_converged:
            return "not converged";
    }
    return "unknown";
}

namespace detail {

/// Twelve significant digits, with a decimal point in every locale.
[[nodiscard]] inline std::string text(double value) {
    char buffer[32];
    const auto end = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::general, 12);
    return {buffer, end.ptr};
}

/// "3×4", for messages.
template <class Integer>
[[nodiscard]] std::string shape_text(Integer rows, Integer cols) {
    return std::to_string(rows) + "×" + std::to_string(cols);
}

}  // namespace detail
}  // namespace nsvd::inline NSVD_ABI
