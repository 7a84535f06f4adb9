// SPDX-License-Identifier: MIT
/// Models, texts and reference figures that are not part of the project. Tests that want them ask here, and
/// skip, saying so, where they are absent.
#pragma once

#include "catch.hpp"

#include <filesystem>

namespace support {

/// The folder, or an empty path with a printed warning.
inline std::filesystem::path shared_folder(const char* inside) {
    const std::filesystem::path folder = std::filesystem::path(NSVD_SHARED_DIR) / inside;
    if (std::filesystem::exists(folder)) return folder;
    WARN("SKIPPED: " << folder.string() << " does not exist");
    return {};
}

}  // namespace support
