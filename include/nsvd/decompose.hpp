// SPDX-License-Identifier: MIT
/// The one mechanism under all methods: stages, each a metric or a column selection with a share of the rank.
#pragma once

#include "accuracy.hpp"
#include "detail/dense_span.hpp"
#include "detail/scaled_source.hpp"
#include "interpolative.hpp"
#include "low_rank.hpp"
#include "metric.hpp"
#include "progress.hpp"
#include "rank/policy.hpp"
#include "solver/choose.hpp"
#include "solver/deflated_eigen.hpp"
#include "solver/single_precision.hpp"
#include "workspace.hpp"

#include <Eigen/Core>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <concepts>
#include <functional>
#include <initializer_list>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <tuple>
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
    std::variant<nsvd::metric, column_selection> by;  ///< what it optimises
    double share = 1.0;                               ///< of the rank, in [0, 1]
};

/// How a decomposition is computed, apart from what it optimises.
struct decompose_options {
    nsvd::accuracy accuracy = nsvd::accuracy::balanced;  ///< how close to the optimum each stage must be
    nsvd::workspace* workspace = nullptr;                ///< memory to reuse; not owned
    nsvd::progress_callback progress = {};               ///< told how far the call is (progress.hpp)
    nsvd::cancel_token cancel = {};                      ///< asked whether it is to stop
};

namespace detail {

/// `A ← A − Q Qᵀ A` down to the rounding of A. A `Q` in `float` is orthonormal to eps of that, and leaves as
/// much of what it takes in every round: directions above the floor, which are those of Q once more.
template <factor_scalar Scalar>
void take_off(Eigen::MatrixXd& a, const dense_matrix<Scalar>& q) {
    constexpr int rounds = std::same_as<Scalar, float> ? 3 : 1;
    for (int round = 0; round < rounds; ++round)
        project_out_in_double<Scalar>(a, q);
}

/// W through a metric with nothing left to project out, in double.
struct stage_operand {
    Eigen::MatrixXd values;  ///< (W − Q Qᵀ W) S, scaled
    int exponent = 0;
    double floor = 0.0;  ///< singular values at or below are rounding of W S
    double whole = 0.0;  ///< ‖W S‖, scaled alike
};

/// Builds `W′ = Q Qᵀ W` stage by stage; `Scalar` is that of W and of the factors.
template <class Scalar>
class projection_builder {
public:
    projection_builder(const scaled_source<Scalar>& w, const decompose_options& options)
        : w_(w),
          level_(options.accuracy),
          pool_(options.workspace != nullptr ? *options.workspace : own_pool_),
          watch_(options.progress, options.cancel) {
        basis_.resize(w_.values().rows(), 0);
        right_.resize(0, w_.values().cols());
    }

    /// Runs all stages. `k` is the rank if it needs no spectrum, else `choose(spectrum)` is asked.
    void run(std::span<const stage> stages, std::optional<index> k,
             const std::function<index(const spectrum&)>& choose, const char* where);

    /// `left` (`m×k`) and `right` (`k×n`), in the units of the data; to be asked for once.
    [[nodiscard]] std::pair<dense_matrix<Scalar>, row_major_matrix<Scalar>> factors();

    /// Tells that the call is done.
    void finish() { watch_.finish(); }

    decomposition_info info;

private:
    /// A column stage: where its block of `left` and `right` comes from.
    struct column_block {
        index first;
        Eigen::MatrixXd columns;
        Eigen::MatrixXd coefficients;
    };

    [[nodiscard]] shape full_shape() const { return {w_.values().rows(), w_.values().cols()}; }
    [[nodiscard]] index given() const { return basis_.cols(); }
    [[nodiscard]] stage_operand operand(const metric& m) const;
    enum class precision : bool { single, twofold };
    template <class Matrix>
    void append(Matrix directions, precision orthonormal_to);
    void append_span(const Eigen::MatrixXd& columns);
    void grow(dense_matrix<Scalar> directions);
    void worsen(status s) { info.status = std::max(info.status, s); }
    void describe(const deflated_eigen<double>& solver, const stage_operand& a, const metric& m);
    /// The rank of a stage: known, or asked for once the spectrum is there.
    struct ask {
        std::optional<index> known;
        std::function<index()> choose;
    };
    void run_metric(const metric& m, stage_info& done, const ask& wanted);
    [[nodiscard]] bool squares_in_range(const metric& m) const;
    [[nodiscard]] bool run_single(const metric& m, stage_info& done, const ask& wanted);
    [[nodiscard]] std::optional<index> taken_since_columns();
    void run_double(const metric& m, stage_info& done, const ask& wanted);
    void run_columns(index wanted, stage_info& done);
    void set_loss(stage_info& done, double loss, double total, int exponent) const;

    const scaled_source<Scalar>& w_;
    accuracy level_;
    workspace own_pool_;
    workspace& pool_;
    dense_matrix<Scalar> basis_;      ///< Q so far
    row_major_matrix<Scalar> right_;  ///< Qᵀ W
    std::vector<column_block> columns_;
    std::optional<residual_gram> columns_gram_;  ///< of an earlier stage, for those that follow
    bool keep_columns_ = false;                  ///< whether any do
    observer watch_;
};

template <class Scalar>
stage_operand projection_builder<Scalar>::operand(const metric& m) const {
    stage_operand a;
    a.values = converted<double, Scalar>(w_.values());
    if (!m.is_identity()) a.values = m.factor().apply_right(a.values);
    a.exponent = normalize(a.values);
    a.whole = std::sqrt(squared_norm<double>(a.values));
    a.floor = rounding_floor(a.values.rows(), w_.values().cols(), a.whole);
    take_off<Scalar>(a.values, basis_);
    return a;
}

template <class Scalar>
void projection_builder<Scalar>::grow(dense_matrix<Scalar> directions) {
    const index before = given();
    const index count = directions.cols();
    if (before == 0)
        basis_ = std::move(directions);
    else
        assign<Scalar, Scalar>(append_columns<Scalar>(basis_, count), directions);
    right_.conservativeResize(given(), Eigen::NoChange);
    multiply_into<Scalar>(transposed_span(right_).rightCols(count), w_.values(), op::transpose,
                          dense_ref<Scalar>(basis_).rightCols(count), op::none);
}

/// Adds orthonormal directions to `Q`. They are orthogonal to it in exact arithmetic; where the residual was
/// small against `W` only a second projection makes them so in floating point.
template <class Scalar>
template <class Matrix>
void projection_builder<Scalar>::append(Matrix directions, precision orthonormal_to) {
    if (given() == 0 && orthonormal_to == precision::twofold) {
        if constexpr (std::same_as<Matrix, dense_matrix<Scalar>>)
            grow(std::move(directions));
        else
            grow(converted<Scalar, typename Matrix::Scalar>(directions));
        return;
    }
    Eigen::MatrixXd precise;
    if constexpr (std::same_as<Matrix, Eigen::MatrixXd>) {
        precise = std::move(directions);
        project_out_in_double<Scalar>(precise, basis_);
    } else {
        // What came from single precision is not known any better.
        project_out<Scalar>(directions, basis_);
        precise = converted<double, Scalar>(directions);
    }
    orthonormalize<double>(precise);
    grow(converted<Scalar, double>(precise));
}

/// Adds an orthonormal basis of the span of any columns to `Q`, completed where they are dependent.
template <class Scalar>
void projection_builder<Scalar>::append_span(const Eigen::MatrixXd& columns) {
    const index before = given();
    Eigen::MatrixXd all(basis_.rows(), before + columns.cols());
    const dense_span<double> parts(all);
    assign<double, Scalar>(parts.leftCols(before), basis_);
    assign<double, double>(parts.rightCols(columns.cols()), columns);
    householder_orthonormalize<double>(all);
    grow(converted<Scalar, double>(dense_ref<double>(all).rightCols(columns.cols())));
}

/// Squared error left in the metric of a stage, in the units of the data.
template <class Scalar>
void projection_builder<Scalar>::set_loss(stage_info& done, double loss, double total, int exponent) const {
    std::array<double, 2> both{std::max(loss, 0.0), total};
    restore_units(both, exponent + w_.exponent);
    done.loss = both[0];
    done.total = both[1];
}

template <class Scalar>
void projection_builder<Scalar>::describe(const deflated_eigen<double>& solver, const stage_operand& a,
                                          const metric& m) {
    const index n = w_.values().cols();
    info.spectrum.resize(full_shape().full_rank());
    std::fill(std::copy(solver.spectrum().begin(), solver.spectrum().end(), info.spectrum.begin()),
              info.spectrum.end(), 0.0);
    // W S is a rounding of the scalar of W off one of lower rank if its smallest values are below what such
    // rounding, seen through S, can leave: 4·eps of the largest, on the scale of the least direction of S.
    const double rounding = 4.0 * static_cast<double>(std::numeric_limits<Scalar>::epsilon()) * m.rcond();
    const double least = std::max(a.floor * a.floor, info.spectrum(0) * rounding * rounding);
    const index possible = std::min(w_.values().rows(), m.rank(n));
    const auto above = [&](double square) { return square > least; };
    info.numerical_rank =
        solver.complete() ? std::count_if(info.spectrum.begin(), info.spectrum.end(), above) : possible;
    restore_units(info.spectrum, a.exponent + w_.exponent);
    if (m.rank(n) < n) worsen(status::singular_metric);
    if (info.numerical_rank < possible) worsen(status::rank_deficient);
}

template <class Scalar>
void projection_builder<Scalar>::run_columns(index wanted, stage_info& done) {
    done.metric = "columns";
    done.solver = "pivoted QR";
    done.columns = true;
    done.rank = wanted;
    if (wanted == 0) return;
    const Eigen::MatrixXd residual = [&] {
        Eigen::MatrixXd e = converted<double, Scalar>(w_.values());
        take_off<Scalar>(e, basis_);
        return e;
    }();
    const double norm = std::sqrt(squared_norm<Scalar>(w_.values()));
    const pivoted_qr<double> qr(residual, rounding_floor(residual.rows(), residual.cols(), norm), wanted, -1,
                                &watch_);
    set_loss(done, qr.squared_error(std::min(wanted, qr.steps())), norm * norm, 0);
    Eigen::MatrixXd columns(residual.rows(), wanted);
    const dense_span<double> selected(columns);
    for (index j = 0; j < wanted; ++j)
        assign<double, double>(selected.middleCols(j, 1), dense_ref<double>(residual).middleCols(
                                                              qr.pivots()[static_cast<std::size_t>(j)], 1));
    columns_.push_back({given(), columns, qr.coefficients(wanted)});
    if (qr.steps() < wanted) worsen(status::rank_deficient);
    // Dependent columns span nothing new; Householder QR completes the basis in their place.
    set_constant<double>(selected.rightCols(wanted - qr.steps()), 0.0);
    append_span(columns);
}

/// Directions that are in Q but not yet off the Gram matrix of the columns, if that is known. It is forgotten
/// once too little is left of it.
template <class Scalar>
std::optional<index> projection_builder<Scalar>::taken_since_columns() {
    if (!columns_gram_) return std::nullopt;
    const index since = given() - columns_gram_->taken;
    const double whole = trace_of<float>(columns_gram_->lower.span());
    const double taken = squared_norm<Scalar>(transposed_span(std::as_const(right_)).rightCols(since));
    if (whole - taken > residual_gram::least_left * whole) return since;
    columns_gram_.reset();
    return std::nullopt;
}

/// Whether squared singular values of `W S` are in the range of double, and their sums, in the units of W and
/// without them: the solver in single precision has all of them in one unit.
template <class Scalar>
bool projection_builder<Scalar>::squares_in_range(const metric& m) const {
    const double largest = m.is_identity() ? 1.0 : largest_entry<double>(m.diagonal(w_.values().cols()));
    if (!(largest > 0.0 && std::isfinite(largest))) return false;
    constexpr int limit = 800;
    const int exponent = binary_exponent(largest);
    return std::abs(exponent) <= limit && std::abs(exponent + 2 * w_.exponent) <= limit;
}

/// The stage in single precision; false, with nothing done, if that can't give the accuracy asked for.
template <class Scalar>
bool projection_builder<Scalar>::run_single(const metric& m, stage_info& done, const ask& wanted) {
    const solver_choice choice = choose_solver({.rows = w_.values().rows(),
                                                .cols = w_.values().cols(),
                                                .rank = wanted.known,
                                                .inner = m.has_matrix(),
                                                .level = level_,
                                                .taken_since = taken_since_columns()});
    if (choice.route == route::double_precision || !squares_in_range(m)) return false;
    const bool first = info.stages.empty();
    single_precision_solver<Scalar> solver(w_.values(), basis_, transposed_span(right_), m, level_, pool_,
                                           keep_columns_ ? &columns_gram_ : nullptr, &watch_);
    const auto report = [&](const Eigen::VectorXd& squares) {
        info.spectrum = squares;
        restore_units(info.spectrum, w_.exponent);
    };
    std::optional<leading_subspace<Scalar>> found =
        solver.solve(choice, wanted.known, [&](const auto& squares) {
            report(squares);
            return wanted.choose();
        });
    if (!found) return false;
    done.solver = found->solver;
    done.rank = found->basis.cols();
    done.gap = found->gap;
    done.certified = found->certified;
    set_loss(done, found->total - sum_of(found->spectrum, 0, done.rank), found->total, 0);
    if (done.total > 0.0) done.loss_error = found->total_error * (done.total / found->total);
    if (first) {
        report(found->spectrum);
        info.numerical_rank = std::min(w_.values().rows(), m.rank_limit(w_.values().cols()));
        if (m.rank_limit(w_.values().cols()) < w_.values().cols()) worsen(status::singular_metric);
    }
    // To single precision Q is orthonormal already. For factors in `float` that will do, unless what is lost
    // by it (of the squared norm, measured) counts against the loss.
    constexpr double lost = 4e-12;
    const bool good =
        std::same_as<Scalar, float> && lost * done.total <= 0.01 * excess_allowed(level_) * done.loss;
    append(std::move(found->basis), good ? precision::twofold : precision::single);
    return true;
}

template <class Scalar>
void projection_builder<Scalar>::run_double(const metric& m, stage_info& done, const ask& wanted) {
    if (!m.converged()) worsen(status::not_converged);
    const bool first = info.stages.empty();
    std::optional<index> rank = wanted.known;
    stage_operand a = operand(m);
    const double total = squared_norm<double>(a.values);
    const index limit = std::min<index>(a.values.rows(), a.values.cols());
    const deflated_eigen<double> solver(std::move(a.values), a.floor, std::min(limit, rank.value_or(limit)),
                                        &watch_);
    done.solver = std::string(solver.name());
    if (!solver.converged()) worsen(status::not_converged);
    if (first) describe(solver, a, m);
    if (!rank) rank = wanted.choose();
    done.rank = std::min(*rank, solver.resolved());
    if (done.rank < std::min(*rank, m.rank(w_.values().cols()))) worsen(status::rank_deficient);
    const double loss = solver.complete() ? sum_of(solver.spectrum(), done.rank, solver.spectrum().size())
                                          : total - sum_of(solver.spectrum(), 0, done.rank);
    set_loss(done, loss, total, a.exponent);
    done.certified = solver.converged();
    append(solver.leading(done.rank), precision::twofold);
}

template <class Scalar>
void projection_builder<Scalar>::run_metric(const metric& m, stage_info& done, const ask& wanted) {
    done.metric = m.name();
    if (wanted.known && *wanted.known == 0) return;
    // A factor that was given; of a matrix, products with it tell how good the result is.
    if (!m.has_matrix() && !m.converged()) worsen(status::not_converged);
    if (!run_single(m, done, wanted)) run_double(m, done, wanted);
}

template <class Scalar>
void projection_builder<Scalar>::run(std::span<const stage> stages, std::optional<index> k,
                                     const std::function<index(const spectrum&)>& choose, const char* where) {
    using clock = std::chrono::steady_clock;
    const clock::time_point start = clock::now();
    watch_.begin(where);
    keep_columns_ = stages.size() > 1;
    const auto record = [&](stage_info done, clock::time_point begin) {
        done.seconds = std::chrono::duration<double>(clock::now() - begin).count();
        info.gap = std::max(info.gap, done.gap);
        if (done.rank > 0 && !done.columns && done.metric != "completion")
            info.certified = info.certified && done.certified;
        info.stages.push_back(std::move(done));
    };
    double reached = 0.0;
    for (std::size_t i = 0; i < stages.size(); ++i) {
        const clock::time_point begin = clock::now();
        const auto wanted = [&] {
            return stage_rank(stages[i].share, i == 0, i + 1 == stages.size(), *k, given());
        };
        const index before = given();
        const metric* const m = std::get_if<metric>(&stages[i].by);
        // Some of the time goes with the rank, some does not.
        const double part = 0.98 * (0.5 / static_cast<double>(stages.size()) + 0.5 * stages[i].share);
        watch_.enter("stage " + std::to_string(i + 1) + ": " + (m == nullptr ? "columns" : m->name()),
                     reached, reached + part);
        reached += part;
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
        append_span(zeros<double>(basis_.rows(), missing));
        stage_info completion;
        completion.metric = "completion";
        completion.solver = "Householder QR";
        completion.rank = missing;
        completion.filler = true;
        record(completion, begin);
    }
    info.solver = info.stages.front().solver;
    info.loss = info.stages.front().loss;
    info.seconds = std::chrono::duration<double>(clock::now() - start).count();
}

template <class Scalar>
std::pair<dense_matrix<Scalar>, row_major_matrix<Scalar>> projection_builder<Scalar>::factors() {
    std::pair<dense_matrix<Scalar>, row_major_matrix<Scalar>> result{std::move(basis_), std::move(right_)};
    scale_by_power(result.second, w_.exponent);
    for (const column_block& block : columns_) {
        dense_matrix<Scalar> columns = converted<Scalar, double>(block.columns);
        scale_by_power(columns, w_.exponent);
        assign<Scalar, Scalar>(dense_span<Scalar>(result.first).middleCols(block.first, columns.cols()),
                               columns);
        assign<Scalar, double>(transposed_span(result.second).middleCols(block.first, columns.cols()),
                               transposed<double>(block.coefficients));
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
        if (m != nullptr && !m->is_identity() && m->size() != n)
            throw error(name + ": the metric is for " + std::to_string(m->size()) + " features but W has " +
                        std::to_string(n) + " columns");
    }
    if (std::abs(sum - 1.0) > 1e-9)
        throw error(std::string(where) + ": the shares of the stages sum to " + text(sum) + ", not to 1");
}

/// What all methods call; `where` is how messages call the method.
template <matrix W, rank_policy Policy>
[[nodiscard]] low_rank<factor_scalar_t<W>> decompose(const W& w, std::span<const stage> stages,
                                                     const Policy& policy, const decompose_options& options,
                                                     const char* where) {
    using scalar = factor_scalar_t<W>;
    const scaled_source<scalar> scaled(w, (std::string(where) + ": W").c_str());
    const shape s{scaled.values().rows(), scaled.values().cols()};
    check_stages(stages, s.cols, where);
    std::optional<index> known;
    if constexpr (shape_policy<Policy>)
        known = choose_rank(
            policy, s, [] { return spectrum{}; }, where);
    projection_builder<scalar> builder(scaled, options);
    builder.run(
        stages, known,
        [&](const spectrum& values) {
            return choose_rank(
                policy, s, [&] { return values; }, where);
        },
        where);
    low_rank<scalar> result;
    std::tie(result.left, result.right) = builder.factors();
    result.info = std::move(builder.info);
    require_in_range(
        result.left, result.right,
        std::string(where) + ": W has entries of 2^" + std::to_string(scaled.exponent - 1) + " and more");
    builder.finish();
    return result;
}

}  // namespace detail

/// Decomposes `W` (`m×n`) by any list of stages: `W′ = Q Qᵀ W` with orthonormal `Q = [Q₁ Q₂ …]`, where `Q_i`
/// is the leading left singular subspace of `(W − Σ_{j<i} Q_j Q_jᵀ W) S_i` for the metric `S_i S_iᵀ` of stage
/// i, or spans the columns that stage i selects from that residual.
///
/// `svd`, `asvd` and `nested` are this with one or two stages; a stage per calibration domain is a natural
/// use of more. The factors have the scalar of `W`, which is copied once. Which solver a stage gets follows
/// from shape, rank and `options.accuracy` (solver/choose.hpp); most of the work is done in single precision
/// and checked, `info` says how good it is, and what single precision can't answer is solved in double. Cost
/// of a stage at m = n = 4096, rank 0.35 n: four to five and a half products of `W` with a square matrix; of
/// a column stage 4mn flops a column.
///
/// Throws `nsvd::error` if `W` is empty or not finite, a metric has another size than `W` has columns, a
/// share is outside [0, 1] or they do not sum to 1, or the rank is outside [1, min(m, n)]. Numerical
/// trouble is in `info.status`. Throws `nsvd::cancelled` where `options.cancel` asks for it.
template <matrix W, rank_policy Policy>
[[nodiscard]] low_rank<detail::factor_scalar_t<W>> decompose(const W& w, std::span<const stage> stages,
                                                             const Policy& policy,
                                                             const decompose_options& options = {}) {
    return detail::decompose(w, stages, policy, options, "decompose");
}

/// The same with the stages written in place: `decompose(W, {{gram_metric(a), 0.5}, {gram_metric(b), 0.5}},
/// rank{64})`.
template <matrix W, rank_policy Policy>
[[nodiscard]] low_rank<detail::factor_scalar_t<W>> decompose(const W& w, std::initializer_list<stage> stages,
                                                             const Policy& policy,
                                                             const decompose_options& options = {}) {
    return decompose(w, std::span<const stage>(stages.begin(), stages.size()), policy, options);
}

}  // namespace nsvd::inline NSVD_ABI
