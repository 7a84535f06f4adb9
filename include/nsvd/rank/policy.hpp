// SPDX-License-Identifier: MIT
/// What a rank policy is: anything callable that turns a shape, or a spectrum and a shape, into a rank.
#pragma once

#include "../matrix.hpp"

#include <algorithm>
#include <concepts>
#include <optional>
#include <span>
#include <string>
#include <type_traits>

namespace nsvd::inline NSVD_ABI {

/// The shape of the matrix that is decomposed.
struct shape {
    index rows = 0;  ///< m
    index cols = 0;  ///< n

    /// The largest rank there is: min(m, n).
    [[nodiscard]] constexpr index full_rank() const noexcept { return std::min(rows, cols); }
};

/// Squared singular values of `W S` in the metric of the first stage: the leading ones in descending order
/// and the sum of all others. Dropping the directions beyond k costs exactly `rest_after(k)` in squared
/// error.
struct spectrum {
    std::span<const double> leading;  ///< σ₁² ≥ σ₂² ≥ …
    double rest = 0.0;                ///< Σ σ_i² over the others; 0 if `leading` is complete
    bool complete = true;             ///< whether `leading` holds all min(m, n) values

    /// How many values are shown.
    [[nodiscard]] std::size_t size() const noexcept { return leading.size(); }
    /// Of the values that are shown.
    [[nodiscard]] auto begin() const noexcept { return leading.begin(); }
    /// Of the values that are shown.
    [[nodiscard]] auto end() const noexcept { return leading.end(); }
    /// σ²_{i+1}.
    [[nodiscard]] double operator[](std::size_t i) const noexcept { return leading[i]; }

    /// Σ of all σ², i.e. ‖W S‖_F².
    [[nodiscard]] double total() const noexcept { return rest_after(0); }

    /// Σ_{i>k} σ_i², summed from the smallest up.
    [[nodiscard]] double rest_after(std::size_t k) const noexcept {
        double sum = rest;
        for (std::size_t i = leading.size(); i > k; --i)
            sum += leading[i - 1];
        return sum;
    }
};

/// A policy that needs the shape only: callable as `policy(shape)`, gives the rank.
template <class P>
concept shape_policy = requires(const P& policy, const shape& s) {
    { policy(s) } -> std::convertible_to<index>;
};

/// A policy that looks at the spectrum: callable as `policy(spectrum, shape)`, gives the rank, or an empty
/// `std::optional` to ask for more leading values than it was shown (never needed when `complete`).
template <class P>
concept spectrum_policy = requires(const P& policy, const spectrum& values, const shape& s) {
    { policy(values, s) } -> std::convertible_to<std::optional<index>>;
};

/// Whatever decides how many directions are kept: `compression`, `rank`, `energy`, `tolerance`, or your own
/// function object, a lambda say. It is called once per decomposition (a spectrum policy once more for each
/// time it asks for more), and what it returns must be in [1, min(m, n)].
template <class P>
concept rank_policy =
    detail::holds(shape_policy<P> || spectrum_policy<P>,
                  "nsvd: not a rank policy: pass nsvd::compression{0.3}, nsvd::rank{64}, nsvd::energy{0.99}, "
                  "nsvd::tolerance{0.05}, or a const function object of (const nsvd::shape&) or "
                  "(const nsvd::spectrum&, const nsvd::shape&) that returns a rank");

namespace detail {

/// Throws unless 1 ≤ k ≤ min(m, n). A floating-point k is cut to the integer below; NaN is outside.
template <class Number>
index checked_rank(Number k, const shape& s, const char* where) {
    const auto value = static_cast<double>(k);
    if (value >= 1.0 && value < static_cast<double>(s.full_rank()) + 1.0) return static_cast<index>(k);
    throw error(std::string(where) + ": rank " +
                (std::is_integral_v<Number> ? std::to_string(k) : text(value)) + " is outside [1, " +
                std::to_string(s.full_rank()) + "] for a " + shape_text(s.rows, s.cols) + " matrix");
}

/// The rank that `policy` picks for a matrix of shape `s`; `values()` gives its complete spectrum, and is not
/// called for a shape policy.
template <rank_policy Policy, class Spectrum>
[[nodiscard]] index choose_rank(const Policy& policy, const shape& s, Spectrum&& values, const char* where) {
    if constexpr (shape_policy<Policy>) {
        return checked_rank(policy(s), s, where);
    } else {
        const auto k = policy(values(), s);
        if constexpr (std::is_arithmetic_v<std::remove_const_t<decltype(k)>>) {
            return checked_rank(k, s, where);
        } else {
            const std::optional<index> wanted = k;
            if (!wanted)
                throw error(std::string(where) +
                            ": the rank policy asked for more than the complete spectrum");
            return checked_rank(*wanted, s, where);
        }
    }
}

}  // namespace detail
}  // namespace nsvd::inline NSVD_ABI
