// SPDX-License-Identifier: MIT
/// What the person who waits sees: which benchmark runs, for how long already.
#pragma once

#include <string>

namespace bench {

/// "[  12 s] text" on the terminal.
void note(const std::string& text);

}  // namespace bench
