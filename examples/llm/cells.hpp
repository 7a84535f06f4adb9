#pragma once

#include "comparison.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace llm {

/// "8.35", "38.5", "287", "7325", "1.2e6": three significant digits up to 100, whole numbers up to
/// 10000, then two digits and the exponent; "inf" and "nan" as they are.
[[nodiscard]] std::string perplexity_text(double perplexity);

/// "+14.7 % ± 1.2"; without the error where it isn't known, "–" where the value isn't.
[[nodiscard]] std::string improvement_text(const improvement& gain);

/// "703.8 kB", "13.48 GB": four digits, decimal units.
[[nodiscard]] std::string bytes_text(std::int64_t bytes);

/// "10 %", "12.5 %" of a share in [0, 1].
[[nodiscard]] std::string percent_text(double share);

/// One entry of the table. `best` is set for the best of the group and for all that read the same:
/// the figures printed don't tell them apart.
struct cell {
    std::string text;
    bool best = false;
};

struct cell_row {
    std::string label;
    std::string bytes;
    std::vector<cell> texts;
    cell inflation;
    cell average;
};

struct cell_group {
    double compression = 0;
    std::vector<cell_row> rows;
};

/// The table as text, shared by its terminal and HTML forms.
struct cell_table {
    std::vector<std::string> headings;  ///< text names; † calibration's kind, ‡ not counted
    std::string baseline;
    std::string baseline_bytes;
    std::string reference;  ///< label of the method that `average` is against
    std::vector<std::string> dense;
    std::vector<cell_group> groups;  ///< a group for each compression, in order of appearance
    std::vector<std::string> notes;  ///< footnotes, one line each
};

[[nodiscard]] cell_table make_cells(const comparison& c);

}  // namespace llm
