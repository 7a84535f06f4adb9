// SPDX-License-Identifier: MIT
/// Memory that runs out. The program's `operator new` and, by the linker, `malloc` and `realloc` of Eigen ask
/// here first; OpenBLAS's own and those of the C library do not.
#pragma once

namespace support {

/// While it lives, the allocations of this thread are counted, from 0 on, and some of them fail. One at a
/// time.
class memory_faults {
public:
    enum class which { this_one, from_this_one_on };

    /// Fails number `first`, unless it is negative.
    explicit memory_faults(long first, which failing = which::this_one);
    ~memory_faults();
    memory_faults(const memory_faults&) = delete;
    memory_faults& operator=(const memory_faults&) = delete;

    [[nodiscard]] long allocations() const { return count_; }
    [[nodiscard]] bool any_failed() const { return any_failed_; }

    /// What an allocation asks.
    [[nodiscard]] static bool fails() noexcept;

private:
    long first_;
    which failing_;
    long count_ = 0;
    bool any_failed_ = false;
};

}  // namespace support
