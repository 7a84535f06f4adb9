// SPDX-License-Identifier: MIT
/// The places of a block where linear layers take their input.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace llm {

/// q, k and v share the first; a feed-forward's first layers share the third. The layers of the second and
/// the fourth write to the residual stream.
enum class site_kind : std::uint8_t { attention, attention_output, feed_forward, feed_forward_output };

inline constexpr std::array<site_kind, 4> site_kinds{site_kind::attention, site_kind::attention_output,
                                                     site_kind::feed_forward, site_kind::feed_forward_output};

[[nodiscard]] constexpr std::size_t index_of(site_kind kind) {
    return static_cast<std::size_t>(kind);
}

/// Whether a kind of site has a feed-forward's layers: there is one for each expert.
[[nodiscard]] constexpr bool is_of_experts(site_kind kind) {
    return kind == site_kind::feed_forward || kind == site_kind::feed_forward_output;
}

struct site {
    site_kind kind = site_kind::attention;
    std::size_t expert = 0;  ///< of the sites of a feed-forward; a block without experts has one, number 0

    // Of a block without experts.
    static const site attention, attention_output, feed_forward, feed_forward_output;

    [[nodiscard]] constexpr bool writes() const {
        return kind == site_kind::attention_output || kind == site_kind::feed_forward_output;
    }
    friend constexpr bool operator==(const site&, const site&) = default;
};

inline constexpr site site::attention{site_kind::attention};
inline constexpr site site::attention_output{site_kind::attention_output};
inline constexpr site site::feed_forward{site_kind::feed_forward};
inline constexpr site site::feed_forward_output{site_kind::feed_forward_output};

}  // namespace llm
