// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace llm {

/// How fast memory is read, beyond all caches: the bound of making tokens one by one.
class bandwidth_meter {
public:
    /// Reads 1 GiB in so many threads (0: one a processor).
    explicit bandwidth_meter(unsigned threads);
    /// Bytes a second, of one pass.
    [[nodiscard]] double measure() const;

private:
    std::size_t threads_;
    std::vector<std::uint64_t> numbers_;
};

}  // namespace llm
