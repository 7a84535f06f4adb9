// SPDX-License-Identifier: MIT
/// LAPACK made to fail. The linker passes every LAPACKE function that nsvd calls to us first
/// (CMakeLists.txt).
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>

namespace support {

/// While it lives, the calls of LAPACK on this thread are counted, and end as its rule says. One at a time.
class lapack_faults {
public:
    /// Of a routine ("dsyevd") and the number of the call, from 0 on, the `info` it is to return: 0 for one
    /// that does its work. One that fails does nothing but leave NaN in its outputs.
    using rule = std::function<int(std::string_view routine, int call)>;

    explicit lapack_faults(rule fails = [](std::string_view, int) { return 0; });
    ~lapack_faults();
    lapack_faults(const lapack_faults&) = delete;
    lapack_faults& operator=(const lapack_faults&) = delete;

    /// Calls so far.
    [[nodiscard]] int calls() const { return calls_; }
    /// The same by routine.
    [[nodiscard]] const std::map<std::string, int, std::less<>>& by_routine() const { return by_routine_; }

    /// What a wrapper asks.
    [[nodiscard]] static int info_for(std::string_view routine);

private:
    rule fails_;
    int calls_ = 0;
    std::map<std::string, int, std::less<>> by_routine_;
};

}  // namespace support
