// SPDX-License-Identifier: MIT
#include "processes.hpp"

#include "threads.hpp"

#include <algorithm>

namespace llm {

unsigned processes::threads(unsigned asked) const {
    if (asked != 0 || alone()) return asked;
    return std::max(1U, default_threads() / static_cast<unsigned>(sharing_));
}

}  // namespace llm
