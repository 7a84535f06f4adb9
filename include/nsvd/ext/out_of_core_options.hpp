// SPDX-License-Identifier: MIT
/// What a decomposition out of core is told: its stages, and how much memory there is. Needs nlohmann-json
/// and POSIX.
#pragma once

#include "../accuracy.hpp"
#include "../decompose.hpp"
#include "../progress.hpp"
#include "stored_gram.hpp"

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <variant>

namespace nsvd::inline NSVD_ABI::out_of_core {

/// A stage of a decomposition, whose Gram matrix may lie in a file.
struct stage {
    std::variant<nsvd::metric, stored_gram, column_selection> by;  ///< what it optimises
    double share = 1.0;                                            ///< of the rank, in [0, 1]
};

/// How much memory there is, where scratch files go, and what `decompose_options` has.
struct options {
    /// Bytes that may be allocated at a time. What `W` and the metrics given take is not in it, nor the
    /// factors where they are returned; nor what the BLAS allocates once (OpenBLAS: 32 MB and more a thread),
    /// nor pages of files, which the system gives up where it has to.
    std::size_t memory = std::size_t{4} << 30;
    std::filesystem::path scratch = {};  ///< folder of the scratch file; empty: the system's for temporaries
    nsvd::accuracy accuracy = nsvd::accuracy::balanced;  ///< how close to the optimum each stage must be
    nsvd::progress_callback progress = {};               ///< told how far the call is (progress.hpp)
    nsvd::cancel_token cancel = {};                      ///< asked whether it is to stop
};

namespace detail {

/// What memory is divided into.
struct memory_plan {
    /// Numbers that are there at a time beside panels, and those a row of a panel takes with it.
    memory_plan(index side, index metrics) {
        const auto s = static_cast<std::size_t>(side);
        const std::size_t square = s * s;
        fixed = (4 + static_cast<std::size_t>(metrics)) * square + 512 * s + least * least;
        a_row = 3 * s + std::max<std::size_t>(s, 256);
        // `decompose` in memory where all of it is solved in double, metrics and a scaled copy included; what
        // single precision answers takes half of that.
        solve = (10 + 3 * static_cast<std::size_t>(metrics)) * square + 1024 * s;
    }
    static constexpr std::size_t least = 64;  ///< rows of a panel
    [[nodiscard]] std::size_t needed() const {
        return sizeof(double) * std::max(fixed + least * a_row, solve);
    }
    [[nodiscard]] index rows(std::size_t memory, index side) const {
        const std::size_t most = std::max<std::size_t>(256, static_cast<std::size_t>(side));
        return static_cast<index>(std::clamp((memory / sizeof(double) - fixed) / a_row, least, most));
    }
    std::size_t fixed, a_row, solve;
};

}  // namespace detail

/// Bytes of `options.memory` that a decomposition of an `m×n` matrix needs at least, in stages of which
/// `metrics` have another metric than I: of the order of the square of the shorter side. (A metric with a
/// whitening factor that is not diagonal, n×r, takes 8·m·r more where n > m.)
[[nodiscard]] inline std::size_t memory_needed(index m, index n, index metrics) {
    return detail::memory_plan(std::min(m, n), metrics).needed();
}

}  // namespace nsvd::inline NSVD_ABI::out_of_core
