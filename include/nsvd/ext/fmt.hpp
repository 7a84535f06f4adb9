// SPDX-License-Identifier: MIT
/// Results through fmt: `fmt::print("{}\n", d)`, and `{:>120}`, width, fill, alignment and precision as for
/// strings. Text as `nsvd::to_string` makes it (describe.hpp). Needs fmt 9 or newer.
#pragma once

#include "../describe.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <string>
#include <string_view>
#include <type_traits>

/// @cond
template <nsvd::describable T>
struct fmt::formatter<T, char> : fmt::formatter<std::string_view, char> {
    template <class Context>
    auto format(const T& x, Context& context) const {
        const std::string text(nsvd::to_string(x));
        return fmt::formatter<std::string_view, char>::format(text, context);
    }
};

// A spectrum is a range too, and a low_rank tuple-like: fmt must not take them for no more than that.
template <nsvd::describable T>
struct fmt::is_range<T, char> : std::false_type {};
template <nsvd::describable T>
struct fmt::is_tuple_like<T> : std::false_type {};
template <nsvd::describable T>
struct fmt::is_tuple_formattable<T, char> : std::false_type {};
/// @endcond
