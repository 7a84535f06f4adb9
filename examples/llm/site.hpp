// SPDX-License-Identifier: MIT
/// The places of a block where linear layers take their input.
#pragma once

#include <array>
#include <cstddef>

namespace llm {

/// q, k and v share the first; a feed-forward's first layers share the third. The layers of the second and
/// the fourth write to the residual stream.
enum class site { attention, attention_output, feed_forward, feed_forward_output };
inline constexpr std::size_t sites_per_block = 4;

inline constexpr std::array<site, sites_per_block> all_sites{site::attention, site::attention_output,
                                                             site::feed_forward, site::feed_forward_output};

[[nodiscard]] constexpr std::size_t index_of(site where) {
    return static_cast<std::size_t>(where);
}

}  // namespace llm
