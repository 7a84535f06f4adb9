// SPDX-License-Identifier: MIT
/// The processes that share a run: this one alone, or all that mpirun has started.
#pragma once

#include <nsvd/calibration.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace llm {

/// What they say to each other; every process has to make the same calls in the same order, from its main
/// thread. They read and write the same files: nothing large but statistics travels between them.
class processes {
public:
    /// This one alone.
    processes() = default;
    processes(const processes&) = delete;
    processes& operator=(const processes&) = delete;
    /// Takes leave of the others.
    ~processes();

    /// Meets the others where a launcher of MPI has started this one (with_mpi.cpp). Throws nsvd::error where
    /// that has started several, but the program is built without MPI.
    void join();

    [[nodiscard]] std::size_t count() const { return count_; }
    /// The number of this one, from 0 on.
    [[nodiscard]] std::size_t own() const { return own_; }
    [[nodiscard]] bool alone() const { return count_ == 1; }
    /// Whether this is the one that talks to the user, and does what is done once.
    [[nodiscard]] bool is_first() const { return own_ == 0; }
    /// Whether job number i of those dealt out in turn falls to this one.
    [[nodiscard]] bool has_turn(std::size_t i) const { return i % count_ == own_; }
    /// Whether this one is among the owners of something.
    [[nodiscard]] bool is_among(std::span<const int> owners) const {
        return std::find(owners.begin(), owners.end(), static_cast<int>(own_)) != owners.end();
    }

    /// Threads for this process where `asked` is 0: its part of the processors that it may run on, shared
    /// with those that may run on the same; else as asked for.
    [[nodiscard]] unsigned threads(unsigned asked) const;

    /// Returns when all processes have come here.
    void wait() const;
    /// Whether any of them says yes.
    [[nodiscard]] bool any(bool mine) const;
    /// The same for each of several questions.
    void any(std::vector<std::uint8_t>& mine) const;
    /// Whether some say yes and others no.
    [[nodiscard]] bool differ(bool mine) const {
        std::vector<std::uint8_t> said{std::uint8_t{mine}, std::uint8_t{!mine}};
        any(said);
        return said[0] != 0 && said[1] != 0;
    }
    /// Returns where all could read their command lines; those that could not end all, and say why.
    void agree() const {
        if (differ(true)) wait();
    }
    /// Sums over all processes, the same to the bit on all of them.
    void sum(std::span<double> mine) const;
    /// The sum of all calibrations at the owners, in a fixed order; nothing is left with the others.
    void reduce(nsvd::calibration<float>& calib, std::span<const int> owners) const;

    /// Ends all of them.
    [[noreturn]] void abort(int code) const;

private:
    std::size_t own_ = 0, count_ = 1;
    std::size_t sharing_ = 1;  // processes, with it, its processors
    bool joined_ = false;
};

}  // namespace llm
