// SPDX-License-Identifier: MIT
/// Random numbers that are the same with every compiler and standard library, and cheap: problems have 10⁸ of
/// them.
#pragma once

#include <cstdint>

namespace bench {

/// splitmix64 (Steele, Lea and Flood, 2014).
class generator {
public:
    explicit generator(std::uint64_t seed) : state_(seed) {}

    [[nodiscard]] std::uint64_t bits() {
        std::uint64_t z = state_ += 0x9e3779b97f4a7c15U;
        z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9U;
        z = (z ^ (z >> 27U)) * 0x94d049bb133111ebU;
        return z ^ (z >> 31U);
    }

    /// In [0, 1).
    [[nodiscard]] double uniform() { return static_cast<double>(bits() >> 11U) * 0x1p-53; }

    /// Below n.
    [[nodiscard]] std::uint64_t below(std::uint64_t n) { return bits() % n; }

    /// Mean 0, variance 1, close to normal: a sum of four 16-bit uniforms.
    [[nodiscard]] float normal() {
        const std::uint64_t b = bits();
        const auto sum =
            static_cast<float>((b & 0xffffU) + ((b >> 16U) & 0xffffU) + ((b >> 32U) & 0xffffU) + (b >> 48U));
        return (sum - 131070.0F) * (1.7320508F / 65536.0F);
    }

private:
    std::uint64_t state_;
};

}  // namespace bench
