#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace llm {

/// Text for use between tags and in quoted attributes of HTML and XML. Control characters, which
/// XML can't hold, become U+FFFD.
[[nodiscard]] std::string escaped(std::string_view text);

/// Number of the line and marker style of a method, the same in every plot. A method without one of
/// its own gets that of its position.
[[nodiscard]] std::size_t style_of(std::string_view method, std::size_t position);

/// SVG of a style's marker at a point; its colour comes from a parent of class `s<style>`.
[[nodiscard]] std::string marker(std::size_t style, double x, double y);

/// Style sheet of all plots: colours that stay apart for the colour-blind (palette of Okabe and
/// Ito), for light and dark pages. Expects the page's colours `--ink`, `--soft` and `--line`.
[[nodiscard]] std::string plot_style();

}  // namespace llm
