// SPDX-License-Identifier: MIT
/// What launchers of MPI programs say in the environment.
#pragma once

#include <cstdlib>
#include <fcntl.h>
#include <string>
#include <unistd.h>

namespace llm {

/// Whether this process was started by one: Open MPI and others by PMIx, MPICH and Intel MPI by PMI, or
/// Slurm's srun by either. (srun without a plugin for MPI sets neither.)
[[nodiscard]] inline bool is_launched() {
    for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK", "PMI_FD"})
        if (std::getenv(name) != nullptr) return true;
    return false;
}

/// How many processes it has started, as far as it says so; 1 where it doesn't.
[[nodiscard]] inline int launched_processes() {
    for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE"})
        if (const char* const value = std::getenv(name)) return std::atoi(value);
    return 1;
}

/// Whether what is written to standard error comes out on a terminal: a launcher reads it from a pipe, and
/// writes it to its own. (Linux; where there is no /proc, or the launcher is on another machine: no.)
[[nodiscard]] inline bool launcher_has_terminal() {
    if (isatty(STDERR_FILENO) != 0) return true;
    if (!is_launched()) return false;
    const auto errors = "/proc/" + std::to_string(getppid()) + "/fd/2";
    const int descriptor = ::open(errors.c_str(), O_WRONLY | O_NOCTTY | O_CLOEXEC);
    if (descriptor < 0) return false;
    const bool terminal = isatty(descriptor) != 0;
    ::close(descriptor);
    return terminal;
}

}  // namespace llm
