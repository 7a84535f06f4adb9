// SPDX-License-Identifier: MIT
#include "launcher.hpp"
#include "processes.hpp"

#include <nsvd/ext/mpi.hpp>

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <mpi.h>
#ifdef __linux__
#include <sched.h>
#endif
#include <vector>

namespace llm {

namespace {

/// Of the processes on this machine, those that may run on the same processors as this one.
std::size_t sharing_processors() {
    MPI_Comm machine = MPI_COMM_NULL;
    MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &machine);
    int size = 1;
    MPI_Comm_size(machine, &size);
    auto count = static_cast<std::size_t>(size);
#ifdef __linux__
    cpu_set_t mine;
    CPU_ZERO(&mine);
    sched_getaffinity(0, sizeof mine, &mine);
    std::vector<cpu_set_t> all(count);
    MPI_Allgather(&mine, sizeof mine, MPI_BYTE, all.data(), sizeof mine, MPI_BYTE, machine);
    count = static_cast<std::size_t>(std::count_if(
        all.begin(), all.end(), [&](const cpu_set_t& other) { return CPU_EQUAL(&mine, &other); }));
#endif
    MPI_Comm_free(&machine);
    return count;
}

}  // namespace

void processes::join() {
    if (!is_launched()) return;  // MPI_Init would start helpers of its own
    int granted = 0;
    MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &granted);
    joined_ = true;
    int rank = 0, size = 1;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    own_ = static_cast<std::size_t>(rank);
    count_ = static_cast<std::size_t>(size);
    sharing_ = sharing_processors();
    if (granted < MPI_THREAD_FUNNELED) throw nsvd::error("MPI: this library allows no threads in a process");
}

processes::~processes() {
    if (joined_) MPI_Finalize();
}

void processes::wait() const {
    if (!alone()) MPI_Barrier(MPI_COMM_WORLD);
}

bool processes::any(bool mine) const {
    if (alone()) return mine;
    int answer = mine ? 1 : 0;
    MPI_Allreduce(MPI_IN_PLACE, &answer, 1, MPI_INT, MPI_LOR, MPI_COMM_WORLD);
    return answer != 0;
}

void processes::any(std::vector<std::uint8_t>& mine) const {
    if (!alone())
        MPI_Allreduce(MPI_IN_PLACE, mine.data(), static_cast<int>(mine.size()), MPI_UINT8_T, MPI_MAX,
                      MPI_COMM_WORLD);
}

void processes::sum(std::span<double> mine) const {
    if (alone()) return;
    constexpr std::size_t most = std::numeric_limits<int>::max();
    for (; !mine.empty(); mine = mine.subspan(std::min(most, mine.size()))) {
        // Added up in one place, so that all have the same bits.
        const int count = static_cast<int>(std::min(most, mine.size()));
        MPI_Reduce(is_first() ? MPI_IN_PLACE : mine.data(), mine.data(), count, MPI_DOUBLE, MPI_SUM, 0,
                   MPI_COMM_WORLD);
        MPI_Bcast(mine.data(), count, MPI_DOUBLE, 0, MPI_COMM_WORLD);
    }
}

void processes::reduce(nsvd::calibration<float>& calib, std::span<const int> owners) const {
    if (!alone()) nsvd::reduce(calib, owners, MPI_COMM_WORLD, {.order = nsvd::summation::fixed});
}

void processes::abort(int code) const {
    if (!alone()) MPI_Abort(MPI_COMM_WORLD, code);
    std::exit(code);
}

}  // namespace llm
