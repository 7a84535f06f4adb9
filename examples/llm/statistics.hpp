#pragma once

#include "comparison.hpp"

#include <cstddef>
#include <span>
#include <string>

namespace llm {

/// Mean and standard error of the mean, `sd/√n` with `sd` over n − 1. NaN where they don't exist:
/// both for no differences, the error for a single one.
struct mean_and_error {
    double mean;
    double standard_error;
};

[[nodiscard]] mean_and_error mean_of(std::span<const double> values);

/// Paired comparison over windows: with `d_w = result.window_nll[w] − reference.window_nll[w]`,
/// `value = 1 − exp(mean d)` and `standard_error = exp(mean d) · se(d)`. Throws
/// `std::invalid_argument` when the two don't have the same number of windows.
[[nodiscard]] improvement improvement_over(const text_result& result, const text_result& reference);

/// How the reference method is called in a table; its name where it has no row.
[[nodiscard]] std::string reference_label(const comparison& c);

/// `exp` of the mean over the texts that count, the calibration's kind among them, of the nll less that of
/// the first row: the geometric mean of perplexity over dense perplexity. NaN where no text counts.
[[nodiscard]] double inflation(const comparison& c, const comparison_row& row);

/// Whether an improvement is within two standard errors of none.
[[nodiscard]] bool within_error(const improvement& gain);

/// Row of the reference method at this compression, or nullptr.
[[nodiscard]] const comparison_row* reference_row(const comparison& c, double compression);

/// Improvement of a row over the reference at the same compression, on text number `text`. Unknown
/// (NaN) without a reference; a result read from a file gives what the file says.
[[nodiscard]] improvement text_improvement(const comparison& c, const comparison_row& row, std::size_t text);

/// Does the text count in the average: not of the calibration's kind, and `counted`.
[[nodiscard]] bool in_average(const comparison& c, std::size_t text);

/// Mean over the texts that count; `standard_error = √(Σ se²)/count`, the texts being independent.
[[nodiscard]] improvement average_improvement(const comparison& c, const comparison_row& row);

/// Throws `std::invalid_argument` naming the part of `c` that doesn't fit its list of texts.
void check(const comparison& c);

}  // namespace llm
