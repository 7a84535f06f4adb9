#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace llm {

/// Text for use between tags and in quoted attributes of HTML and XML. Control characters, which
/// XML can't hold, become U+FFFD.
[[nodiscard]] std::string escaped(std::string_view text);

/// Numbers of the line and marker styles of methods. Those of the papers have their own; the others get
/// what these leave, and only where nothing is left the same as others.
[[nodiscard]] std::vector<std::size_t> styles_of(const std::vector<std::string>& methods);

/// SVG of a style's marker at a point; its colour comes from a parent of class `s<style>`.
[[nodiscard]] std::string marker(std::size_t style, double x, double y);

/// Style sheet of all plots: colours that stay apart for the colour-blind (palette of Okabe and
/// Ito), for light and dark pages. Expects the page's colours `--ink`, `--soft` and `--line`.
[[nodiscard]] std::string plot_style();

}  // namespace llm
