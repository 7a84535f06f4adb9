// SPDX-License-Identifier: MIT
/// Calibrations of several MPI processes added up. Needs MPI 3.
#pragma once

#include "../calibration.hpp"
#include "../error.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <mpi.h>
#include <span>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace nsvd::inline NSVD_ABI {

/// In which order the processes' sums are added, which decides how they are rounded.
enum class summation : std::uint8_t {
    any,    ///< the MPI library's own reduction: the fastest, rounded as the library likes
    fixed,  ///< neighbours first, (0 + 1) + (2 + 3), …: the same bits in every run on so many processes
};

/// How calibrations travel. Has to be the same on all processes of a call.
struct transfer {
    summation order = summation::any;  ///< of the processes' sums
    /// Numbers of 8 bytes that are packed into one message. Without MPI 4, whose counts are wider, never more
    /// than 2^31 − 1 of them are.
    std::int64_t buffer = std::int64_t{1} << 24;
};

namespace detail {

inline void check_mpi(int code, const char* call) {
    if (code == MPI_SUCCESS) return;
    std::array<char, MPI_MAX_ERROR_STRING> text{};
    int length = 0;
    MPI_Error_string(code, text.data(), &length);
    throw error(std::string(call) + ": " + std::string(text.data(), static_cast<std::size_t>(length)));
}

/// @cond
#if MPI_VERSION >= 4
using mpi_count = MPI_Count;
#define NSVD_MPI(call) call##_c
#else
using mpi_count = int;
#define NSVD_MPI(call) call
#endif
/// @endcond

/// The calls that are needed, on doubles; a message may have as many as `mpi_count` can tell.
class mpi_communicator {
public:
    explicit mpi_communicator(MPI_Comm handle) : handle_(handle) {
        check_mpi(MPI_Comm_rank(handle_, &rank_), "MPI_Comm_rank");
        check_mpi(MPI_Comm_size(handle_, &size_), "MPI_Comm_size");
    }

    [[nodiscard]] int rank() const noexcept { return rank_; }
    [[nodiscard]] int size() const noexcept { return size_; }

    void all_reduce(std::span<double> x, MPI_Op operation) const {
        check_mpi(NSVD_MPI(MPI_Allreduce)(MPI_IN_PLACE, x.data(), count(x), MPI_DOUBLE, operation, handle_),
                  "MPI_Allreduce");
    }
    /// The sum at `root`; elsewhere x is as it was.
    void reduce(std::span<double> x, int root) const {
        const bool here = rank_ == root;
        check_mpi(NSVD_MPI(MPI_Reduce)(here ? MPI_IN_PLACE : x.data(), here ? x.data() : nullptr, count(x),
                                       MPI_DOUBLE, MPI_SUM, root, handle_),
                  "MPI_Reduce");
    }
    void broadcast(std::span<double> x, int root) const {
        check_mpi(NSVD_MPI(MPI_Bcast)(x.data(), count(x), MPI_DOUBLE, root, handle_), "MPI_Bcast");
    }
    void send(std::span<double> x, int to) const {
        check_mpi(NSVD_MPI(MPI_Send)(x.data(), count(x), MPI_DOUBLE, to, 0, handle_), "MPI_Send");
    }
    void receive(std::span<double> x, int from) const {
        check_mpi(NSVD_MPI(MPI_Recv)(x.data(), count(x), MPI_DOUBLE, from, 0, handle_, MPI_STATUS_IGNORE),
                  "MPI_Recv");
    }
    /// The largest of each.
    template <std::size_t Size>
    void largest(std::array<std::int64_t, Size>& x) const {
        check_mpi(
            MPI_Allreduce(MPI_IN_PLACE, x.data(), static_cast<int>(Size), MPI_INT64_T, MPI_MAX, handle_),
            "MPI_Allreduce");
    }

private:
    [[nodiscard]] static mpi_count count(std::span<double> x) { return static_cast<mpi_count>(x.size()); }

    MPI_Comm handle_;
    int rank_ = 0, size_ = 1;
};

#undef NSVD_MPI

/// What all processes have to know before their statistics can be added.
struct calibration_agreement {
    bool pairs = false;      ///< whether any has pairs
    bool tokens = false;     ///< whether any has tokens
    std::size_t buffer = 1;  ///< numbers in a message
};

/// Throws on all processes, or on none.
[[nodiscard]] inline calibration_agreement agree(const mpi_communicator& comm, const calibration_state& state,
                                                 const transfer& how, std::span<const int> owners,
                                                 const std::string& call) {
    const std::int64_t n = state.sum.size();
    const auto about = static_cast<std::int64_t>(state.about);
    const auto order = static_cast<std::int64_t>(how.order);
    const bool any = state.tokens > 0;
    const bool pairs = any && state.cross.size() > 0;
    std::int64_t bad_owner = -1;
    std::uint64_t all_owners = 0;  // a digest: they have to be the same everywhere
    for (const int owner : owners) {
        if (owner < 0 || owner >= comm.size()) bad_owner = 1;
        all_owners = all_owners * 1000003U + static_cast<std::uint64_t>(owner) + 1;
    }
    const auto digest = static_cast<std::int64_t>(all_owners >> 1U);
    std::array<std::int64_t, 14> most{n,         -n,         about,       -about, order,
                                      -order,    how.buffer, -how.buffer, pairs,  any && !pairs,
                                      bad_owner, digest,     -digest,     any};
    comm.largest(most);
    const auto differ = [&](std::size_t i) { return most[i] != -most[i + 1]; };
    const auto range = [&](std::size_t i) {
        return std::to_string(-most[i + 1]) + " to " + std::to_string(most[i]);
    };
    if (differ(0)) throw error(call + ": processes have calibrations of " + range(0) + " features");
    if (differ(2)) throw error(call + ": some processes have raw moments, others central ones");
    if (differ(4) || differ(6)) throw error(call + ": how differs between processes");
    if (most[8] > 0 && most[9] > 0)
        throw error(call + ": some processes have pairs of inputs, others tokens without a partner");
    if (most[10] > 0 || differ(11))
        throw error(call + ": the owner must be one of the " + std::to_string(comm.size()) +
                    " processes, and the same on all of them");
    if (how.buffer < 1)
        throw error(call + ": buffer = " + std::to_string(how.buffer) + " must be at least 1");
    constexpr auto widest = static_cast<std::int64_t>(std::numeric_limits<mpi_count>::max());
    return {.pairs = most[8] > 0,
            .tokens = most[13] > 0,
            .buffer = static_cast<std::size_t>(std::min(how.buffer, widest))};
}

/// Everything in a calibration that is added up, in one order: the lower triangle, column by column, the
/// channel sums and counts, for pairs the cross moments.
[[nodiscard]] inline std::vector<std::span<double>> summed_numbers(calibration_state& state,
                                                                   std::array<double, 2>& counts) {
    std::vector<std::span<double>> parts{std::span<double>(counts)};
    const auto add = [&](double* first, index size) {
        if (size > 0) parts.emplace_back(first, static_cast<std::size_t>(size));
    };
    add(state.sum.data(), state.sum.size());
    add(state.sum_abs.data(), state.sum_abs.size());
    add(state.sum_original.data(), state.sum_original.size());
    for (index j = 0; j < state.gram.cols(); ++j)
        add(state.gram.data() + j * state.gram.rows() + j, state.gram.rows() - j);
    add(state.cross.data(), state.cross.size());
    return parts;
}

/// Hands `exchange` all numbers, packed, at most `limit` at a time, and puts back what it makes of them.
template <class Exchange>
void in_messages(const std::vector<std::span<double>>& parts, std::size_t limit, const Exchange& exchange) {
    std::size_t total = 0;
    for (const auto& part : parts)
        total += part.size();
    std::vector<double> packed(std::min(limit, total));
    std::size_t part = 0, at = 0;  // where the next message begins
    for (std::size_t sent = 0; sent < total;) {
        const std::size_t size = std::min(limit, total - sent);
        const auto walk = [&](std::size_t p, std::size_t first, const auto& copy) {
            for (std::size_t done = 0; done < size;) {
                const auto some = std::min(size - done, parts[p].size() - first);
                copy(parts[p].subspan(first, some), std::span(packed).subspan(done, some));
                done += some;
                first += some;
                if (first < parts[p].size()) continue;
                ++p;
                first = 0;
            }
            return std::pair(p, first);
        };
        walk(part, at, [](auto own, auto message) { std::copy(own.begin(), own.end(), message.begin()); });
        exchange(std::span(packed).first(size));
        std::tie(part, at) = walk(
            part, at, [](auto own, auto message) { std::copy(message.begin(), message.end(), own.begin()); });
        sent += size;
    }
}

/// `in_messages` for a whole state.
template <class Exchange>
void exchange_state(calibration_state& state, std::size_t limit, const Exchange& exchange) {
    std::array<double, 2> counts{static_cast<double>(state.tokens), state.weight};  // exact below 2^53
    in_messages(summed_numbers(state, counts), limit, exchange);
    state.tokens = static_cast<std::int64_t>(counts[0]);
    state.weight = counts[1];
}

/// Brings central moments to the mean of all processes, so that they can be added (Chan, Golub and LeVeque).
/// Distances are from the mean of the heaviest process: that moves least, and constant channels stay so.
inline void move_to_common_mean(const mpi_communicator& comm, calibration_state& state) {
    const index n = state.sum.size();
    const double weight = state.weight;
    std::array<double, 1> all{weight}, most{weight};
    comm.all_reduce(all, MPI_SUM);
    comm.all_reduce(most, MPI_MAX);
    std::array<std::int64_t, 1> heaviest{weight == most[0] ? comm.rank() : -1};
    comm.largest(heaviest);
    const auto shift = [&](Eigen::VectorXd& sum) {
        Eigen::VectorXd own = sum;
        for (double& x : own)
            x = weight > 0.0 ? x / weight : 0.0;
        Eigen::VectorXd mean = own;
        comm.broadcast({mean.data(), static_cast<std::size_t>(n)}, static_cast<int>(heaviest[0]));
        Eigen::VectorXd distance(n), common(n);
        for (index i = 0; i < n; ++i) {
            // Means are rounded quotients: what that makes of a constant channel is dropped.
            const double noise =
                4.0 * std::numeric_limits<double>::epsilon() * std::max(std::abs(own(i)), std::abs(mean(i)));
            const double d = own(i) - mean(i);
            distance(i) = weight > 0.0 && std::abs(d) > noise ? d : 0.0;
            common(i) = weight / all[0] * distance(i);
        }
        comm.all_reduce({common.data(), static_cast<std::size_t>(n)}, MPI_SUM);
        for (index i = 0; i < n; ++i) {
            distance(i) -= common(i);
            sum(i) = weight * (mean(i) + common(i));
        }
        return distance;
    };
    const Eigen::VectorXd b = shift(state.sum);
    for (index j = 0; j < n; ++j)
        for (index i = j; i < n; ++i)
            state.gram(i, j) += weight * b(i) * b(j);
    if (state.cross.size() == 0) return;
    const Eigen::VectorXd a = shift(state.sum_original);
    for (index j = 0; j < n; ++j)
        for (index i = 0; i < n; ++i)
            state.cross(i, j) += weight * a(i) * b(j);
}

/// The sum of all processes at `owners`, everywhere where there are none; the others are left empty.
template <real_scalar Scalar>
void add_up(calibration<Scalar>& calib, std::span<const int> owners, const transfer& how, MPI_Comm handle,
            const char* call) {
    const mpi_communicator comm(handle);
    const auto agreed = agree(comm, calib.state(), how, owners, call);
    if (comm.size() == 1 || !agreed.tokens) return;
    const index n = calib.features();
    const moments about = calib.about();
    calibration_state state = std::move(calib).state();
    if (agreed.pairs && state.cross.size() == 0) {
        state.cross = zeros<double>(n, n);
        state.sum_original = zeros<double>(n, 1);
    }
    if (!agreed.pairs) {  // pairs without a token
        state.cross.resize(0, 0);
        state.sum_original.resize(0);
    }
    comm.all_reduce({state.max_abs.data(), static_cast<std::size_t>(n)}, MPI_MAX);

    const int root = owners.empty() ? 0 : owners.front();
    const bool is_owner =
        owners.empty() || std::find(owners.begin(), owners.end(), comm.rank()) != owners.end();
    // From the one that has the sum to all that want it.
    const auto hand_on = [&](std::span<double> message, int from) {
        if (owners.empty()) return comm.broadcast(message, from);
        for (const int to : owners) {
            if (to == from) continue;
            if (comm.rank() == from) comm.send(message, to);
            if (comm.rank() == to) comm.receive(message, from);
        }
    };
    if (how.order == summation::any) {
        if (about == moments::central) move_to_common_mean(comm, state);
        exchange_state(state, agreed.buffer, [&](std::span<double> message) {
            if (owners.empty()) return comm.all_reduce(message, MPI_SUM);
            comm.reduce(message, root);
            hand_on(message, root);
        });
        calib = is_owner ? calibration<Scalar>(std::move(state)) : calibration<Scalar>(n, about);
        return;
    }
    calib = calibration<Scalar>(std::move(state));
    for (int step = 1; step < comm.size(); step *= 2) {
        const int partner = comm.rank() % (2 * step) == 0 ? comm.rank() + step : comm.rank() - step;
        if (comm.rank() % step != 0 || partner >= comm.size()) continue;
        if (partner < comm.rank()) {
            calibration_state own = std::move(calib).state();
            exchange_state(own, agreed.buffer,
                           [&](std::span<double> message) { comm.send(message, partner); });
            calib = calibration<Scalar>(std::move(own));
            break;
        }
        calibration_state other = calib.state();
        exchange_state(other, agreed.buffer,
                       [&](std::span<double> message) { comm.receive(message, partner); });
        calib.merge(calibration<Scalar>(std::move(other)));
    }
    state = std::move(calib).state();
    exchange_state(state, agreed.buffer, [&](std::span<double> message) { hand_on(message, 0); });
    calib = is_owner ? calibration<Scalar>(std::move(state)) : calibration<Scalar>(n, about);
}

}  // namespace detail

/// Replaces the statistics of every process of `communicator` by the sum over all of them, as if each had
/// seen all tokens; the same to the bit on all. Returns `calib`. Collective.
///
/// What travels is the lower triangle of the Gram matrix, the channel sums and the counts, packed, in one
/// pass of messages of `how.buffer` numbers: `n(n+1)/2 + 2n + 2` numbers, for pairs of inputs `n² + n` more.
/// Central moments are first brought to the common mean. With `summation::fixed` pairs of processes are
/// merged, log₂ of their number times, in an order that depends on nothing else. The sum differs from that of
/// one process by rounding, as in any other order of adding: relative to `√(c_ii c_jj)` by at most T·eps.
///
/// Memory beside the calibration: one message, and the calibration of another process with
/// `summation::fixed`. Processes without tokens take part.
///
/// Throws `nsvd::error`, on all processes, where features, moments, pairs or `how` differ between them; and
/// where a call of MPI fails (if the communicator's error handler returns), after which `calib` is empty.
template <real_scalar Scalar>
calibration<Scalar>& all_reduce(calibration<Scalar>& calib, MPI_Comm communicator, const transfer& how = {}) {
    detail::add_up(calib, {}, how, communicator, "all_reduce");
    return calib;
}

/// The same, with the sum at process `owner` alone: the one that decomposes the layer. The calibrations of
/// the others are left without tokens. Throws as well, on all, unless `owner` is one of the processes and the
/// same on all of them.
template <real_scalar Scalar>
calibration<Scalar>& reduce(calibration<Scalar>& calib, int owner, MPI_Comm communicator,
                            const transfer& how = {}) {
    detail::add_up(calib, std::span<const int>(&owner, 1), how, communicator, "reduce");
    return calib;
}

/// The same for several owners: those of layers that share the input. No process may be named twice.
template <real_scalar Scalar>
calibration<Scalar>& reduce(calibration<Scalar>& calib, std::span<const int> owners, MPI_Comm communicator,
                            const transfer& how = {}) {
    if (owners.empty()) throw error("reduce: no owners: name one at least, or call all_reduce");
    detail::add_up(calib, owners, how, communicator, "reduce");
    return calib;
}

}  // namespace nsvd::inline NSVD_ABI
