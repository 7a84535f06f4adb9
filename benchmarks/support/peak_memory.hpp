// SPDX-License-Identifier: MIT
/// How much memory a call took beyond what was there before, from the kernel's high-water mark (Linux).
#pragma once

#include <fstream>
#include <string>
#if defined(__GLIBC__)
#include <malloc.h>
#endif

namespace bench {

class peak_memory {
public:
    /// Starts: resets the high-water mark, where the kernel lets us.
    peak_memory() {
#if defined(__GLIBC__)
        malloc_trim(0);  // what earlier calls freed would be used again and not be seen
#endif
        std::ofstream reset("/proc/self/clear_refs");
        reset << "5" << std::flush;
        works_ = static_cast<bool>(reset);
        before_ = status("VmRSS:");
    }

    /// Bytes beyond the start at the highest point since; 0 where that can't be told.
    [[nodiscard]] double bytes() const {
        return works_ ? status("VmHWM:") - before_ : 0.0;
    }

private:
    static double status(const std::string& key) {
        std::ifstream file("/proc/self/status");
        std::string word;
        while (file >> word)
            if (word == key) {
                double kilobytes = 0.0;
                file >> kilobytes;
                return kilobytes * 1024.0;
            }
        return 0.0;
    }

    bool works_ = false;
    double before_ = 0.0;
};

}  // namespace bench
