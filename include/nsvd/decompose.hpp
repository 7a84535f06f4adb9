// SPDX-License-Identifier: MIT
/// The one mechanism under all methods: stages, each a metric or a column selection with a share of the rank.
#pragma once

#include "interpolative.hpp"
#include "low_rank.hpp"
#include "metric.hpp"
#include "rank/policy.hpp"
#include "solver/deflated_eigen.hpp"

#include <Eigen/Core>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <initializer_list>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace nsvd::inline NSVD_ABI {

/// A stage that takes columns of the residual by interpolative decomposition, as in NID (2503.17101).
struct column_selection {};

/// One stage: what it optimises, and the fraction of the rank it is given. Stage i of rank k gives
/// floor(share·k + ½) directions, the first at least 1, the last whatever is left. The shares of all stages
/// sum to 1.
struct stage {
    std::variant<nsvd::metric, column_selection> by;
    double share = 1.0;
};

namespace detail {

/// W through a metric with nothing left to project out.
struct stage_operand {
    Eigen::MatrixXd values;  ///< (W − Q Qᵀ W) S, scaled
    int exponent = 0;
    double floor = 0.0;  ///< singular values at or below are rounding of W S
};

template <class Real>
class projection_builder {
public:
    projection_builder(const scaled_matrix& w, double scalar_eps) : w_(w), scalar_eps_(scalar_eps) {
        basis_.resize(w_.values.rows(), 0);
    }

    /// Runs all stages. `k` is the rank if it needs no spectrum, else `choose(spectrum)` is asked.
    void run(std::span<const stage> stages, std::optional<index> k,
             const std::function<index(const spectrum&)>& choose, const char* where);

    /// `left` (`m×k`) and `right` (`k×n`), in the units of the data.
    [[nodiscard]] std::pair<Eigen::MatrixXd, Eigen::MatrixXd> factors() const;

    decomposition_info info;

private:
    /// A column stage: where its block of `left` and `right` comes from.
    struct column_block {
        index first;
        Eigen::MatrixXd columns;
        Eigen::MatrixXd coefficients;
    };

    [[nodiscard]] shape full_shape() const { return {w_.values.rows(), w_.values.cols()}; }
    [[nodiscard]] index given() const { return basis_.cols(); }
    [[nodiscard]] stage_operand operand(const metric& m) const;
    void append(Eigen::MatrixXd directions);
    void append_span(const Eigen::MatrixXd& columns);
    void worsen(status s) { info.status = std::max(info.status, s); }
    void describe(const deflated_eigen<Real>& solver, const stage_operand& a, const metric& m);
    /// The rank of a stage: known, or asked for once the spectrum is there.
    struct ask {
        std::optional<index> known;
        std::function<index()> choose;
    };
    void run_metric(const metric& m, stage_info& done, const ask& wanted);
    void run_columns(index wanted, stage_info& done);

    const scaled_matrix& w_;
    double scalar_eps_;
    Eigen::MatrixXd basis_;  ///< Q so far
    std::vector<column_block> columns_;
};

template <class Real>
stage_operand projection_builder<Real>::operand(const metric& m) const {
    stage_operand a;
    a.values = m.is_identity() ? w_.values : m.factor().apply_right(w_.values);
    a.exponent = normalize(a.values);
    a.floor = rounding_floor(a.values.rows(), w_.values.cols(), a.values.norm());
    project_out(a.values, basis_);
    return a;
}

/// Adds orthonormal directions to `Q`. They are orthogonal to it in exact arithmetic; where the residual was
/// small against `W` only a second projection makes them so in floating point.
template <class Real>
void projection_builder<Real>::append(Eigen::MatrixXd directions) {
    if (given() > 0) {
        project_out(directions, basis_);
        orthonormalize<Real>(directions);
    }
    const index before = given();
    basis_.conservativeResize(Eigen::NoChange, before + directions.cols());
    basis_.rightCols(directions.cols()) = directions;
}

/// Adds an orthonormal basis of the span of any columns to `Q`, completed where they are dependent.
template <class Real>
void projection_builder<Real>::append_span(const Eigen::MatrixXd& columns) {
    const index before = given();
    Eigen::MatrixXd all(basis_.rows(), before + columns.cols());
    all << basis_, columns;
    orthonormalize<Real>(all);
    basis_.conservativeResize(Eigen::NoChange, all.cols());
    basis_.rightCols(columns.cols()) = all.rightCols(columns.cols());
}

template <class Real>
void projection_builder<Real>::describe(const deflated_eigen<Real>& solver, const stage_operand& a,
                                        const metric& m) {
    const index n = w_.values.cols();
    info.spectrum.setZero(full_shape().full_rank());
    info.spectrum.head(solver.spectrum().size()) = solver.spectrum();
    // W S is a rounding of the scalar of W off one of lower rank if its smallest values are below what such
    // rounding, seen through S, can leave: 4·eps of the largest, on the scale of the least direction of S.
    const double rounding = 4.0 * scalar_eps_ * m.rcond();
    const double least = std::max(a.floor * a.floor, info.spectrum(0) * rounding * rounding);
    const index possible = std::min(w_.values.rows(), m.rank(n));
    info.numerical_rank = solver.complete() ? index{(info.spectrum.array() > least).count()} : possible;
    restore_units(info.spectrum, a.exponent + w_.exponent);
    if (m.rank(n) < n) worsen(status::singular_metric);
    if (info.numerical_rank < possible) worsen(status::rank_deficient);
}

template <class Real>
void projection_builder<Real>::run_columns(index wanted, stage_info& done) {
    done.metric = "columns";
    done.solver = "pivoted QR";
    done.columns = true;
    done.rank = wanted;
    if (wanted == 0) return;
    Eigen::MatrixXd residual = w_.values;
    const double floor = rounding_floor(residual.rows(), residual.cols(), residual.norm());
    project_out(residual, basis_);
    const pivoted_qr qr(residual, floor, wanted);
    Eigen::MatrixXd columns(residual.rows(), wanted);
    for (index j = 0; j < wanted; ++j)
        columns.col(j) = residual.col(qr.pivots()[static_cast<std::size_t>(j)]);
    columns_.push_back({given(), columns, qr.coefficients(wanted)});
    if (qr.steps() < wanted) worsen(status::rank_deficient);
    // Dependent columns span nothing new; Householder QR completes the basis in their place.
    columns.rightCols(wanted - qr.steps()).setZero();
    append_span(columns);
}

template <class Real>
void projection_builder<Real>::run_metric(const metric& m, stage_info& done, const ask& wanted) {
    done.metric = m.name();
    if (!m.converged()) worsen(status::not_converged);
    const bool first = info.stages.empty();
    std::optional<index> rank = wanted.known;
    if (rank && *rank == 0) return;
    stage_operand a = operand(m);
    const index limit = std::min<index>(a.values.rows(), a.values.cols());
    const deflated_eigen<Real> solver(std::move(a.values), a.floor, std::min(limit, rank.value_or(limit)));
    done.solver = std::string(solver.name());
    if (!solver.converged()) worsen(status::not_converged);
    if (first) describe(solver, a, m);
    if (!rank) rank = wanted.choose();
    done.rank = std::min(*rank, solver.resolved());
    if (done.rank < std::min(*rank, m.rank(w_.values.cols()))) worsen(status::rank_deficient);
    append(solver.leading(done.rank));
}

template <class Real>
void projection_builder<Real>::run(std::span<const stage> stages, std::optional<index> k,
                                   const std::function<index(const spectrum&)>& choose, const char* where) {
    using clock = std::chrono::steady_clock;
    const clock::time_point start = clock::now();
    const auto record = [&](stage_info done, clock::time_point begin) {
        done.seconds = std::chrono::duration<double>(clock::now() - begin).count();
        info.stages.push_back(std::move(done));
    };
    for (std::size_t i = 0; i < stages.size(); ++i) {
        const clock::time_point begin = clock::now();
        const auto wanted = [&] {
            return stage_rank(stages[i].share, i == 0, i + 1 == stages.size(), *k, given());
        };
        const index before = given();
        const metric* const m = std::get_if<metric>(&stages[i].by);
        stage_info done;
        done.share = stages[i].share;
        if (m == nullptr) {
            if (!k)
                throw error(std::string(where) +
                            ": a policy that looks at the spectrum needs a metric first");
            run_columns(wanted(), done);
        } else if (k) {
            run_metric(*m, done, {wanted(), {}});
        } else {
            run_metric(*m, done, {{}, [&] {
                                      const auto size = static_cast<std::size_t>(info.spectrum.size());
                                      k = choose({.leading = {info.spectrum.data(), size}});
                                      return wanted();
                                  }});
        }
        record(done, begin);

        // Directions that the metric says nothing about are taken from I.
        const index missing =
            stage_rank(stages[i].share, i == 0, i + 1 == stages.size(), *k, before) - done.rank;
        if (missing > 0 && !m->is_identity()) {
            const clock::time_point again = clock::now();
            stage_info filler;
            filler.filler = true;
            run_metric(metric(), filler, {missing, {}});
            record(filler, again);
        }
    }
    if (const index missing = *k - given(); missing > 0) {
        // Beyond rank(W): any orthonormal completion, which adds nothing to W′.
        const clock::time_point begin = clock::now();
        append_span(Eigen::MatrixXd::Zero(basis_.rows(), missing));
        stage_info completion;
        completion.metric = "completion";
        completion.solver = "Householder QR";
        completion.rank = missing;
        completion.filler = true;
        record(completion, begin);
    }
    info.solver = info.stages.front().solver;
    info.seconds = std::chrono::duration<double>(clock::now() - start).count();
}

template <class Real>
std::pair<Eigen::MatrixXd, Eigen::MatrixXd> projection_builder<Real>::factors() const {
    std::pair<Eigen::MatrixXd, Eigen::MatrixXd> result{basis_,
                                                       multiply(basis_, op::transpose, w_.values, op::none)};
    scale_by_power(result.second, w_.exponent);
    for (const column_block& block : columns_) {
        Eigen::MatrixXd columns = block.columns;
        scale_by_power(columns, w_.exponent);
        result.first.middleCols(block.first, columns.cols()) = columns;
        result.second.middleRows(block.first, columns.cols()) = block.coefficients;
    }
    return result;
}

inline void check_stages(std::span<const stage> stages, index n, const char* where) {
    if (stages.empty()) throw error(std::string(where) + ": no stages");
    double sum = 0.0;
    for (std::size_t i = 0; i < stages.size(); ++i) {
        const std::string name = std::string(where) + ": stage " + std::to_string(i + 1);
        if (!(stages[i].share >= 0.0 && stages[i].share <= 1.0))
            throw error(name + ": share = " + text(stages[i].share) + " is outside [0, 1]");
        sum += stages[i].share;
        const metric* const m = std::get_if<metric>(&stages[i].by);
        if (m != nullptr && !m->is_identity() && m->factor().size() != n)
            throw error(name + ": the metric is for " + std::to_string(m->factor().size()) +
                        " features but W has " + std::to_string(n) + " columns");
    }
    if (std::abs(sum - 1.0) > 1e-9)
        throw error(std::string(where) + ": the shares of the stages sum to " + text(sum) + ", not to 1");
}

/// What all methods call; `where` is how messages call the method.
template <matrix W, rank_policy Policy>
[[nodiscard]] low_rank<factor_scalar_t<W>> decompose(const W& w, std::span<const stage> stages,
                                                     const Policy& policy, const char* where) {
    using scalar = factor_scalar_t<W>;
    const scaled_matrix scaled = read_scaled(w, (std::string(where) + ": W").c_str());
    const shape s{scaled.values.rows(), scaled.values.cols()};
    check_stages(stages, s.cols, where);
    std::optional<index> known;
    if constexpr (shape_policy<Policy>)
        known = choose_rank(
            policy, s, [] { return spectrum{}; }, where);
    projection_builder<double> builder(scaled, static_cast<double>(std::numeric_limits<scalar>::epsilon()));
    builder.run(
        stages, known,
        [&](const spectrum& values) {
            return choose_rank(
                policy, s, [&] { return values; }, where);
        },
        where);
    auto [left, right] = builder.factors();
    low_rank<scalar> result;
    result.left = left.template cast<scalar>();
    result.right = right.template cast<scalar>();
    result.info = std::move(builder.info);
    if (!result.left.allFinite() || !result.right.allFinite())
        throw error(std::string(where) + ": W has entries of 2^" + std::to_string(scaled.exponent - 1) +
                    " and more: the factors exceed the range of their scalar; scale W down");
    return result;
}

}  // namespace detail

/// Decomposes `W` (`m×n`) by any list of stages: `W′ = Q Qᵀ W` with orthonormal `Q = [Q₁ Q₂ …]`, where `Q_i`
/// is the leading left singular subspace of `(W − Σ_{j<i} Q_j Q_jᵀ W) S_i` for the metric `S_i S_iᵀ` of stage
/// i, or spans the columns that stage i selects from that residual.
///
/// `svd`, `asvd` and `nested` are this with one or two stages; a stage per calibration domain is a natural
/// use of more. All arithmetic is in double; `W` is copied once. Cost: per metric stage the product `W S` and
/// an eigenproblem of the smaller side of `W` (see solver/deflated_eigen.hpp), per column stage 4mn flops a
/// column.
///
/// Throws `nsvd::error` if `W` is empty or not finite, a metric has another size than `W` has columns, a
/// share is outside [0, 1] or they do not sum to 1, or the rank is outside [1, min(m, n)]. Numerical
/// trouble is in `info.status`.
template <matrix W, rank_policy Policy>
[[nodiscard]] low_rank<detail::factor_scalar_t<W>> decompose(const W& w, std::span<const stage> stages,
                                                             const Policy& policy) {
    return detail::decompose(w, stages, policy, "decompose");
}

/// The same with the stages written in place: `decompose(W, {{gram_metric(a), 0.5}, {gram_metric(b), 0.5}},
/// rank{64})`.
template <matrix W, rank_policy Policy>
[[nodiscard]] low_rank<detail::factor_scalar_t<W>> decompose(const W& w, std::initializer_list<stage> stages,
                                                             const Policy& policy) {
    return decompose(w, std::span<const stage>(stages.begin(), stages.size()), policy);
}

}  // namespace nsvd::inline NSVD_ABI
