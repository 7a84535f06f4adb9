// SPDX-License-Identifier: MIT
#include "launcher.hpp"
#include "processes.hpp"

#include <nsvd/error.hpp>

#include <cstdlib>

namespace llm {

void processes::join() {
    if (launched_processes() > 1)
        throw nsvd::error(
            "started by mpirun, but built without MPI: each process would do everything. Configure with "
            "-DNSVD_MPI=ON, or start it without mpirun");
}

processes::~processes() = default;
void processes::wait() const {}
bool processes::any(bool mine) const {
    return mine;
}
void processes::any(std::vector<std::uint8_t>&) const {}
void processes::sum(std::span<double>) const {}
void processes::reduce(nsvd::calibration<float>&, std::span<const int>) const {}
void processes::abort(int code) const {
    std::exit(code);
}

}  // namespace llm
