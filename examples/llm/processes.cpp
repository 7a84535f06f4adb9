// SPDX-License-Identifier: MIT
#include "processes.hpp"

#include "threads.hpp"

#include <algorithm>
#include <unistd.h>

namespace llm {

unsigned processes::threads(unsigned asked) const {
    if (asked != 0 || alone()) return asked;
    // default_threads() counts the processors that this process may run on: fewer where it is bound to some.
    const auto online = sysconf(_SC_NPROCESSORS_ONLN);
    const auto mine = default_threads();
    if (online > 0 && mine < static_cast<unsigned>(online)) return mine;
    return std::max(1U, mine / static_cast<unsigned>(on_this_machine_));
}

}  // namespace llm
