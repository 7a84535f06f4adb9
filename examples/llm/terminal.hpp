// SPDX-License-Identifier: MIT
/// Text on a terminal: how wide it is, how wide the terminal is.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace llm {

/// Columns that a text takes: its code points, none of them wide or combining.
[[nodiscard]] std::size_t text_width(std::string_view text);

/// A note in lines of at most `limit` columns where its words allow it, all but the first indented.
[[nodiscard]] std::string wrapped(const std::string& note, std::size_t limit);

/// The text with a space for each control character (ASCII, and U+0080 to U+009F in UTF-8): what names and
/// strings of other people's files may have in them moves no cursor and ends no line.
[[nodiscard]] std::string without_controls(std::string_view text);

/// Standard output: columns of the terminal, or 80 where it is none.
[[nodiscard]] std::size_t terminal_width();

/// Whether standard output is a terminal whose user has not asked for plain text (NO_COLOR, TERM=dumb).
[[nodiscard]] bool terminal_has_colours();

}  // namespace llm
