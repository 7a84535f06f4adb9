#pragma once

#include "comparison.hpp"
#include "page.hpp"

#include <nlohmann/json.hpp>

#include <string>

namespace llm {

// All of these throw `std::invalid_argument` when a list of `c` doesn't fit its list of texts.

/// Table for a terminal in the shape of Table 1 of the NSVD paper: dense first, then a group for
/// each compression with a row for each method, a column of perplexities for each text, the best of
/// each group marked, inflation and the average improvement over the reference last, and footnotes. UTF-8,
/// ends with a newline.
[[nodiscard]] std::string print_table(const comparison& c);

/// The same with all figures. Figures that aren't finite are null. The windows themselves are left
/// out, their statistics are in. For `dump`, names that aren't UTF-8 want `error_handler_t::replace`.
[[nodiscard]] nlohmann::ordered_json to_json(const comparison& c);

/// Back from `to_json`, so that a report can be drawn again:
/// `to_json(from_json(to_json(c))) == to_json(c)`. Throws `std::invalid_argument` that says which
/// key is missing or of another type.
[[nodiscard]] comparison from_json(const nlohmann::ordered_json& from);

/// The table, a plot of the average improvement, plots of perplexity against compression and bytes, the
/// layers of each row and the similarity of the texts where they are known.
[[nodiscard]] page_section comparison_section(const comparison& c);

/// The page of one comparison.
[[nodiscard]] std::string html_report(const comparison& c);

}  // namespace llm
