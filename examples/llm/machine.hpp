// SPDX-License-Identifier: MIT
/// What a result says about where and when it was made.
#pragma once

#include <string>

namespace llm {

/// Processor, threads in use (0: all) and linear algebra backend, for example "AMD EPYC, 2 threads, LAPACK".
[[nodiscard]] std::string machine_description(unsigned threads);

/// The date in UTC, YYYY-MM-DD.
[[nodiscard]] std::string today();

}  // namespace llm
