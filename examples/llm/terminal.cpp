// SPDX-License-Identifier: MIT
#include "terminal.hpp"

#include <algorithm>
#include <cstdlib>
#include <sys/ioctl.h>
#include <unistd.h>

namespace llm {

std::size_t text_width(std::string_view text) {
    return static_cast<std::size_t>(std::count_if(
        text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; }));
}

std::string wrapped(const std::string& note, std::size_t limit) {
    std::string out;
    std::size_t column = 0;
    for (std::size_t begin = 0; begin < note.size();) {
        const auto end = std::min(note.find(' ', begin), note.size());
        const auto word = note.substr(begin, end - begin);
        if (column > 0 && column + 1 + text_width(word) > limit) {
            out += "\n  ";
            column = 2;
        } else if (column > 0) {
            out += ' ';
            ++column;
        }
        out += word;
        column += text_width(word);
        begin = end + 1;
    }
    return out + '\n';
}

std::string without_controls(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    for (std::size_t i = 0; i < text.size(); ++i) {
        const auto byte = static_cast<unsigned char>(text[i]);
        const bool c1 = byte == 0xC2U && i + 1 < text.size() &&
                        (static_cast<unsigned char>(text[i + 1]) & 0xE0U) == 0x80U;
        out += c1 || byte < ' ' || byte == 0x7FU ? ' ' : text[i];
        if (c1) ++i;
    }
    return out;
}

std::size_t terminal_width() {
    winsize size{};
    if (isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        return size.ws_col;
    return 80;
}

bool terminal_has_colours() {
    const char* plain = std::getenv("NO_COLOR");
    const char* kind = std::getenv("TERM");
    return isatty(STDOUT_FILENO) != 0 && (plain == nullptr || *plain == '\0') && kind != nullptr &&
           std::string_view(kind) != "dumb";
}

}  // namespace llm
