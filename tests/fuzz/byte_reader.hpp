// SPDX-License-Identifier: MIT
// Numbers of any kind from the bytes of an input.
#pragma once

#include <Eigen/Core>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace fuzz {

/// Zeros after the end.
class byte_reader {
public:
    byte_reader(const std::uint8_t* bytes, std::size_t size) : next_(bytes), end_(bytes + size) {}

    [[nodiscard]] bool empty() const { return next_ == end_; }
    std::uint8_t byte() { return empty() ? std::uint8_t{0} : *next_++; }
    /// In [0, count).
    int below(int count) { return byte() % count; }
    bool flag() { return (byte() & 1) != 0; }

    /// Any bits there are: NaN, infinities and denormal numbers among them.
    template <class Number>
    Number raw() {
        unsigned char bits[sizeof(Number)];
        for (auto& b : bits)
            b = byte();
        Number number;
        std::memcpy(static_cast<void*>(&number), bits, sizeof(Number));
        return number;
    }

    /// Mostly what makes sense: in [0, 1], or any bits.
    double fraction() {
        const int kind = byte();
        return kind < 0xF0 ? kind / 239.0 : raw<double>();
    }

    /// Entries are small integers, those times powers of two, or any bits.
    template <class Scalar>
    Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic> matrix(Eigen::Index rows, Eigen::Index cols) {
        const int kind = below(4);
        Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic> a(rows, cols);
        for (Eigen::Index j = 0; j < cols; ++j)
            for (Eigen::Index i = 0; i < rows; ++i) {
                if (kind == 0) {
                    a(i, j) = raw<Scalar>();
                    continue;
                }
                const auto whole = static_cast<double>(raw<std::int8_t>());
                a(i, j) = static_cast<Scalar>(kind == 1   ? whole
                                              : kind == 2 ? std::ldexp(whole, raw<std::int8_t>())
                                                          : std::ldexp(whole, 8 * raw<std::int8_t>()));
            }
        return a;
    }

private:
    const std::uint8_t* next_;
    const std::uint8_t* end_;
};

inline void require(bool holds) {
    if (!holds) std::abort();
}

}  // namespace fuzz
