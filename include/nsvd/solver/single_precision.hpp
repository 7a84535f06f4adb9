// SPDX-License-Identifier: MIT
/// The heavy work of a stage in single precision, with its error estimated and its outliers taken off first.
#pragma once

#include "../accuracy.hpp"
#include "../detail/blas.hpp"
#include "../detail/factorizations.hpp"
#include "../matrix.hpp"
#include "../metric.hpp"
#include "../progress.hpp"
#include "../workspace.hpp"
#include "block_krylov.hpp"
#include "choose.hpp"
#include "gram_operator.hpp"

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <concepts>
#include <functional>
#include <limits>
#include <numeric>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace nsvd::inline NSVD_ABI::detail {

/// The leading left singular subspace of a stage's operand, and how good it is.
template <class Scalar>
struct leading_subspace {
    dense_matrix<Scalar> basis;  ///< `m×k`, orthonormal to single precision, by descending singular value
    Eigen::VectorXd spectrum;    ///< the leading σ², in units of the operand
    double total = 0.0;          ///< ‖A‖²
    double total_error = 0.0;    ///< standard error of the total, where it was estimated
    double gap = 0.0;            ///< estimate of loss/optimum − 1, squared errors
    bool certified = false;      ///< the gap is below what was allowed by a bound on the dropped eigenvalues
    std::string solver;
};

/// Asks for a rank when all σ² are known.
using rank_request = std::function<index(const Eigen::VectorXd&)>;

/// Rounding as a random perturbation of G by this many eps·‖G‖_F in Frobenius norm. Measured (diagnosed by
/// the loss it causes, n = 1024 and 2048): products that form G or apply it 0.4, the tridiagonal eigensolver
/// in `float` 45.
inline constexpr double product_noise = 1.0;
inline constexpr double eigensolver_noise = 60.0;

/// The estimate of a Krylov iteration is that much too small at worst. Measured: the truth is 0.4 to 1.5 of
/// it, where blocks are no smaller than k/10.
inline constexpr double krylov_margin = 1.5;

/// Before a stage is solved its loss, and its eigenvalue at the cut, are taken for this part of what they
/// would be if all that outliers leave were spread evenly.
inline constexpr double least_loss = 0.1;

template <class Scalar>
class single_precision_solver {
public:
    /// For the residual of `w` after `q` (`wq = wᵀ q`) in the metric `m`. `columns`, unless it is null, is
    /// the Gram matrix that an earlier stage has left, and takes that of this stage if it forms one.
    single_precision_solver(dense_ref<Scalar> w, const dense_matrix<Scalar>& q, dense_ref<Scalar> wq,
                            const metric& m, accuracy level, workspace& pool,
                            std::optional<residual_gram>* columns = nullptr, observer* watch = nullptr)
        : w_(w), q_(q), wq_(wq), metric_(m), level_(level), pool_(pool), columns_(columns), watch_(watch) {
        if (std::min(w.rows(), w.cols()) <= exact_up_to) level_ = accuracy::exact;
        const double tau = excess_allowed(level_);
        allowed_ = tau * (2.0 + tau);  // squared errors
    }

    /// Nothing if single precision can't answer to the accuracy asked for: then double precision must.
    /// `known` is the rank, or nothing and `ask` is called for it.
    [[nodiscard]] std::optional<leading_subspace<Scalar>> solve(const solver_choice& choice,
                                                                std::optional<index> known,
                                                                const rank_request& ask) {
        if (known && *known > metric_.rank_limit(w_.cols())) return std::nullopt;
        // Of all directions none is lost: no rounding is small against that.
        if (known && *known >= std::min(w_.rows(), w_.cols())) return std::nullopt;
        auto found = attempt(choice, known, ask, search::late);
        // A fresh Gram matrix is more accurate than a known one was; and few directions mostly come out
        // well enough without a look at the others first.
        if (!found && columns_known(choice)) {
            columns_->reset();
            found = attempt(choice, known, ask, search::late);
        } else if (!found && choice.route == route::krylov) {
            found = attempt(choice, known, ask, search::early);
        }
        // What was taken off W in vain is not in Q.
        if (!found && columns_ != nullptr) columns_->reset();
        return found;
    }

private:
    enum class search : bool { late, early };
    [[nodiscard]] std::optional<leading_subspace<Scalar>> attempt(const solver_choice& choice,
                                                                  std::optional<index> known,
                                                                  const rank_request& ask, search first);

    /// What is taken off W beside Q, known to double precision.
    struct giants {
        Eigen::MatrixXd vectors;  ///< `m×g`
        dense_matrix<Scalar> w;   ///< `n×g`, `Wᵀ vectors`
    };

    struct problem {
        gram_operator<float> g;
        std::optional<scratch> gram = {};  ///< of the smaller side, lower triangle
        std::optional<double> whole = {};  ///< trace of the operator
        double taken = 0.0;                ///< of the trace: eigenvalues that are locked
        Eigen::MatrixXf locked = {};       ///< directions that are left out

        [[nodiscard]] double trace() const { return *whole - taken; }
        [[nodiscard]] index side() const { return gram ? gram->span().rows() : g.rows(); }
        /// Whether the vectors of the operator are those of the right side.
        [[nodiscard]] bool mapped(const solver_choice& choice) const { return choice.right && gram; }
    };

    [[nodiscard]] bool columns_known(const solver_choice& choice) const {
        return columns_ != nullptr && *columns_ && choice.right;
    }
    [[nodiscard]] problem begin(const solver_choice& choice, const giants& off);
    void complete(problem& p, const solver_choice& choice, index taken);
    [[nodiscard]] double taken_by_q() const;
    void project_out_all(dense_out<double> x, const giants& off) const {
        project_out_in_double<Scalar>(x, q_);
        project_out<double>(x, off.vectors);
    }
    /// Random entries of ±1.
    [[nodiscard]] static Eigen::MatrixXd signs(index rows, index cols) {
        std::mt19937_64 random(5489);
        Eigen::MatrixXd z(rows, cols);
        for (double* x = z.data(); x != z.data() + z.size(); ++x)
            *x = (random() & 1) != 0 ? 1.0 : -1.0;
        return z;
    }
    [[nodiscard]] static double sum_of_squares(const Eigen::VectorXd& values, index count) {
        return std::inner_product(values.data(), values.data() + count, values.data(), 0.0);
    }
    /// Appends the first `count` numbers, at least 0 and times `factor`.
    static void append(Eigen::VectorXd& spectrum, const Eigen::VectorXd& values, index count, double factor) {
        const index before = spectrum.size();
        Eigen::VectorXd all(before + count);
        std::copy_n(spectrum.data(), before, all.data());
        std::transform(values.data(), values.data() + count, all.data() + before,
                       [&](double value) { return std::max(value, 0.0) * factor; });
        spectrum.swap(all);
    }
    [[nodiscard]] symmetric_operator product(problem& p) const;
    /// Directions that stand out of the rest, and have converged.
    template <class Vectors>
    struct outliers {
        Vectors vectors;
        Eigen::VectorXd values;
        double cost = 0.0;  ///< what taking them for eigenvectors adds to the loss, by their residuals
        bool drown_the_rest = false;  ///< single precision would lose the rest behind them
    };
    template <class Vectors>
    static void keep_first(outliers<Vectors>& found, index count) {
        using scalar = typename Vectors::Scalar;
        found.vectors = converted<scalar, scalar>(dense_ref<scalar>(found.vectors).leftCols(count));
        found.values.conservativeResize(count);
    }
    template <class Vectors>
    void judge(outliers<Vectors>& found, const Eigen::VectorXd& residuals, double bulk, double side) const;
    [[nodiscard]] outliers<Eigen::MatrixXd> giant_channels(const giants& off, index limit) const;
    [[nodiscard]] outliers<Eigen::MatrixXf> search_outliers(problem& p, index limit);
    static void lock(problem& p, const outliers<Eigen::MatrixXf>& found);
    static void take_out(scratch& gram, const Eigen::MatrixXf& u);
    [[nodiscard]] Eigen::MatrixXd weigh(const Eigen::MatrixXd& x) const;
    [[nodiscard]] static bool orthonormal(const dense_matrix<Scalar>& q);
    [[nodiscard]] double measured_gap(const leading_subspace<Scalar>& found, index k) const;
    [[nodiscard]] Eigen::MatrixXd refine(const Eigen::MatrixXd& directions, const giants& off) const;
    /// Relative excess of the loss that a random perturbation of `factor`·eps·√squares causes, to second
    /// order.
    [[nodiscard]] static double noise(double factor, double squares, double cut, double loss) {
        const double eps = factor * static_cast<double>(std::numeric_limits<float>::epsilon());
        return cut > 0.0 && loss > 0.0 ? eps * eps * squares / (cut * loss)
                                       : std::numeric_limits<double>::infinity();
    }

    const dense_ref<Scalar> w_;
    const dense_matrix<Scalar>& q_;
    const dense_ref<Scalar> wq_;
    const metric& metric_;
    accuracy level_;
    workspace& pool_;
    std::optional<residual_gram>* columns_;
    observer* watch_;
    double step_ = 0.0;  ///< the part of a stage that an iteration's step is reckoned to take
    double allowed_ = 0.0;
};

/// ‖W‖² less ‖W − Q Qᵀ W‖²: `2‖R‖² − ‖Q R‖²` with `R = QᵀW`, which is ‖R‖² as far as Q is orthonormal. How
/// far it is, to single precision, is seen along a few random combinations.
template <class Scalar>
double single_precision_solver<Scalar>::taken_by_q() const {
    const dense_matrix<Scalar> z = converted<Scalar, double>(signs(wq_.rows(), 4));
    const Eigen::MatrixXd y = converted<double, Scalar>(multiply<Scalar>(wq_, op::transpose, z, op::none));
    const double before = squared_norm<double>(y);
    const double after = squared_norm<double>(multiply_in_double<Scalar>(q_, op::none, y));
    return squared_norm<Scalar>(wq_) * (before > 0.0 ? 2.0 - after / before : 1.0);
}

/// The operator, of which nothing is formed yet.
template <class Scalar>
auto single_precision_solver<Scalar>::begin(const solver_choice& choice, const giants& off) -> problem {
    if (choice.route == route::krylov && metric_.is_identity() && off.vectors.cols() == 0 && q_.cols() > 0) {
        // Where the residual is not small against W, it is cheaper to leave Q out of what is iterated on.
        const double whole = squared_norm<Scalar>(w_);
        const double left = whole - taken_by_q();
        if (left > 0.25 * whole) {
            problem p{gram_operator<float>(w_, dense_matrix<Scalar>(w_.rows(), 0),
                                           dense_matrix<Scalar>(w_.cols(), 0), off.vectors, metric_, pool_)};
            p.whole = std::ldexp(left, -2 * p.g.exponent());
            p.locked = converted<float, Scalar>(q_);
            return p;
        }
    }
    if (columns_known(choice))
        return problem{gram_operator<float>(**columns_, w_.rows(), wq_, off.w, metric_, pool_)};
    return problem{gram_operator<float>(w_, q_, wq_, off.vectors, metric_, pool_)};
}

/// Forms the Gram matrix where the route wants it, and the trace unless it is to be estimated. `taken` is
/// how many directions are off W.
template <class Scalar>
void single_precision_solver<Scalar>::complete(problem& p, const solver_choice& choice, index taken) {
    if (choice.route == route::krylov) {
        const bool estimated = choice.estimate_trace && p.locked.cols() == 0;
        if (!p.whole && !estimated) p.whole = p.g.trace();
        return;
    }
    if (choice.right) {
        scratch columns = p.g.form_columns();
        if (columns_ != nullptr && !*columns_) *columns_ = p.g.unscale(columns, taken);
        p.gram.emplace(p.g.form_right(std::move(columns)));
    } else {
        p.gram.emplace(p.g.form_left());
    }
    p.whole = trace_of<float>(p.gram->span());
    take_out(*p.gram, p.locked);
}

template <class Scalar>
symmetric_operator single_precision_solver<Scalar>::product(problem& p) const {
    return [this, &p](dense_out<float> y, dense_ref<float> x) {
        if (watch_ != nullptr) watch_->step(step_, 0.85);
        if (p.gram) {
            multiply_symmetric_into<float>(y, p.gram->span(), x);
        } else {
            p.g.apply(y, x);
            project_out<float>(y, p.locked);
        }
    };
}

/// Keeps what stands out of a bulk of eigenvalues and has converged; `found` has more, by descending value.
template <class Scalar>
template <class Vectors>
void single_precision_solver<Scalar>::judge(outliers<Vectors>& found, const Eigen::VectorXd& residuals,
                                            double bulk, double side) const {
    // Below a few eps of the largest the bulk is rounding.
    const auto eps = static_cast<double>(std::numeric_limits<float>::epsilon());
    bulk = std::max(bulk, 4.0 * eps * found.values(0));
    const double loss = least_loss * bulk * side;
    // Behind a huge one the rest is rounding, and so is what is known of it.
    const index huge_ones = std::count_if(found.values.begin(), found.values.end(),
                                          [&](double value) { return value > 100.0 * bulk; });
    found.drown_the_rest = huge_ones > 0 && (found.values(0) > 3e4 * bulk ||
                                             noise(product_noise, sum_of_squares(found.values, huge_ones),
                                                   least_loss * bulk, loss) > 0.1 * allowed_);
    index count = 0;
    for (; count < found.values.size() && found.values(count) > 10.0 * bulk; ++count) {
        double cost = residuals(count) / (found.values(count) - bulk);
        if (found.drown_the_rest) {
            if (count == huge_ones) break;
            cost *= std::pow(bulk / found.values(count), 2);  // by the power step that follows
        } else if (!(found.cost + cost <= 0.01 * allowed_ * loss)) {
            break;
        }
        found.cost += cost;
    }
    keep_first(found, count);
}

/// Channels that are, in the metric, more than 16 times as long as the median one announce giants before
/// anything costly is done: their vectors are nearly spanned by those columns of W, and a power step in
/// double makes them so. Nothing, unless the rest would drown.
template <class Scalar>
auto single_precision_solver<Scalar>::giant_channels(const giants& off, index limit) const
    -> outliers<Eigen::MatrixXd> {
    const index n = w_.cols();
    const auto side = static_cast<double>(std::min(w_.rows(), n));
    std::vector<double> taken(static_cast<std::size_t>(n), 0.0);
    for (const dense_ref<Scalar>& coefficients : {dense_ref<Scalar>(wq_), dense_ref<Scalar>(off.w)})
        for (index i = 0; i < coefficients.cols(); ++i)
            for (index j = 0; j < n; ++j)
                taken[static_cast<std::size_t>(j)] += std::pow(static_cast<double>(coefficients(j, i)), 2);
    Eigen::VectorXd lengths = metric_.diagonal(n);  // squared
    for (index j = 0; j < n; ++j) {
        const double whole = squared_norm_of_column<Scalar>(w_, j);
        const double left = whole - taken[static_cast<std::size_t>(j)];
        lengths(j) *= left > 1e-3 * whole ? left : 0.0;  // less would be rounding
    }
    Eigen::VectorXd sorted = lengths;
    std::nth_element(sorted.begin(), sorted.begin() + n / 2, sorted.end());
    const double typical = sorted(n / 2);
    if (typical == 0.0) return {};
    const index most = std::min<index>({32, limit - 1, w_.rows()});
    Eigen::MatrixXd x(w_.rows(), 0);
    const auto longest = [&] { return std::max_element(lengths.begin(), lengths.end()); };
    for (auto length = longest(); x.cols() < most && *length > 16.0 * 16.0 * typical; length = longest()) {
        const dense_span<double> channel = append_columns<double>(x, 1);
        assign<double, Scalar>(channel, w_.middleCols(length - lengths.begin(), 1));
        project_out_all(channel, off);
        normalize_columns<double>(channel);
        *length = 0.0;
    }
    const double bulk = typical * static_cast<double>(n) / side;
    constexpr int steps = 3;
    for (int step = 0; x.cols() > 0 && step < steps; ++step) {
        orthonormalize<double>(x);
        Eigen::MatrixXd y = weigh(x);
        project_out_all(y, off);
        const tridiagonal_eigen<double> eigen(multiply<double>(x, op::transpose, y, op::none));
        if (!eigen.converged()) break;
        const Eigen::MatrixXd v = eigen.vectors(x.cols());
        outliers<Eigen::MatrixXd> found;
        found.values = eigen.values();
        found.vectors = multiply<double>(y, op::none, v, op::none);
        Eigen::MatrixXd difference = multiply<double>(x, op::none, v, op::none);
        assign_scaled<double, double>(difference, difference, found.values.data());
        add_multiple<double>(difference, -1.0, found.vectors);
        const Eigen::VectorXd residuals = squared_norms_of_columns<double>(difference);
        x = found.vectors;
        judge(found, residuals, bulk, side);
        if (!found.drown_the_rest) break;
        // Of a vector at an angle s to the true one the quotient uᵀG²u/uᵀGu is off by s²·μ, μ being what is
        // mixed in: a few times the bulk, or channels that were not taken.
        const double mixed = std::max(10.0 * bulk, *longest());
        index count = 0;
        while (count < found.values.size() &&
               residuals(count) * mixed <= 1e-6 * found.values(0) * found.values(count) * found.values(count))
            ++count;
        if (count == 0) continue;
        keep_first(found, count);
        const Eigen::VectorXd squares = squared_norms_of_columns<double>(found.vectors);
        for (index i = 0; i < count; ++i)
            found.values(i) = squares(i) / found.values(i);
        orthonormalize<double>(found.vectors);
        return found;
    }
    return {};
}

/// The same of the operator itself, by a short Krylov iteration.
template <class Scalar>
auto single_precision_solver<Scalar>::search_outliers(problem& p, index limit) -> outliers<Eigen::MatrixXf> {
    constexpr index block = 32;
    constexpr index dimension = 3 * block;
    outliers<Eigen::MatrixXf> result;
    const index most = std::min(block, limit - 1);
    if (most <= 0) return result;
    eigen_estimate found = block_krylov(
        product(p), p.side(), most,
        {.block = block, .first_check = dimension, .largest = dimension, .tolerance = 0.0, .total = 0.0},
        pool_);
    if (found.vectors.size() == 0) return result;
    const auto side = static_cast<double>(p.side());
    // Before the trace is known the least of the Ritz values stands for the rest.
    const double bulk =
        p.whole ? (p.trace() - sum_of(found.values, 0, most)) / side : found.values(found.values.size() - 1);
    result.vectors = std::move(found.vectors);
    result.values = found.values;
    result.values.conservativeResize(most);
    judge(result, found.residuals, bulk, side);
    return result;
}

/// Leaves directions out of the operator from now on.
template <class Scalar>
void single_precision_solver<Scalar>::lock(problem& p, const outliers<Eigen::MatrixXf>& found) {
    p.taken += sum_of(found.values, 0, found.values.size());
    if (p.locked.cols() == 0) p.locked.resize(p.side(), 0);
    assign<float, float>(append_columns<float>(p.locked, found.vectors.cols()), found.vectors);
    if (p.gram) take_out(*p.gram, found.vectors);
}

/// `G ← P G P` with `P = I − U Uᵀ`: `G − U Zᵀ − Z Uᵀ` with `Z = G U − ½ U (Uᵀ G U)`.
template <class Scalar>
void single_precision_solver<Scalar>::take_out(scratch& gram, const Eigen::MatrixXf& u) {
    Eigen::MatrixXf z(u.rows(), u.cols());
    multiply_symmetric_into<float>(z, gram.span(), u);
    // With the signs of U and Z exchanged: `U (½ UᵀGU) − G U` and `+ U Zᵀ`.
    const Eigen::MatrixXf inner = multiply<float>(u, op::transpose, z, op::none);
    Eigen::MatrixXf negative(z.rows(), z.cols());
    multiply_into<float>(negative, u, op::none, inner, op::none);
    for (index j = 0; j < z.cols(); ++j)
        for (index i = 0; i < z.rows(); ++i)
            z(i, j) = 0.5F * negative(i, j) - z(i, j);
    add_symmetric_lower<float>(gram.span(), u, z);
}

/// `W M Wᵀ X` in double; W and M are read where they are.
template <class Scalar>
Eigen::MatrixXd single_precision_solver<Scalar>::weigh(const Eigen::MatrixXd& x) const {
    return multiply_in_double<Scalar>(w_, op::none,
                                      metric_.times(multiply_in_double<Scalar>(w_, op::transpose, x)));
}

/// One power step in double on directions that are right to single precision: squares their error.
template <class Scalar>
Eigen::MatrixXd single_precision_solver<Scalar>::refine(const Eigen::MatrixXd& directions,
                                                        const giants& off) const {
    Eigen::MatrixXd result = weigh(directions);
    project_out_all(result, off);
    orthonormalize<double>(result);
    return result;
}

/// Whether `QᵀQ z = z` to 16 eps of single precision for a few random z.
template <class Scalar>
bool single_precision_solver<Scalar>::orthonormal(const dense_matrix<Scalar>& q) {
    const Eigen::MatrixXd z = signs(q.cols(), 4);
    const Eigen::MatrixXd same =
        multiply_in_double<Scalar>(q, op::transpose, multiply_in_double<Scalar>(q, op::none, z));
    double difference = 0.0;
    for (index i = 0; i < z.size(); ++i)
        difference += std::pow(same.data()[i] - z.data()[i], 2);
    constexpr double allowed = 16.0 * static_cast<double>(std::numeric_limits<float>::epsilon());
    return std::sqrt(difference) <= allowed * std::sqrt(squared_norm<double>(z));
}

/// The same estimate as that of Krylov iterations, `Σ ‖r_i‖²/(θ_i − μ)` over the loss, of what was found,
/// from residuals in double along a few random combinations. It does not depend on anything that was rounded
/// to single precision on the way. μ is the mean of the eigenvalues that are dropped.
template <class Scalar>
double single_precision_solver<Scalar>::measured_gap(const leading_subspace<Scalar>& found, index k) const {
    constexpr index probes = 8;
    const double loss = found.total - sum_of(found.spectrum, 0, k);
    const auto dropped = static_cast<double>(std::max<index>(1, std::min(w_.rows(), w_.cols()) - k));
    Eigen::MatrixXd combinations = signs(k, probes);
    const double least = 0.3 * found.spectrum(k - 1);
    for (index j = 0; j < probes; ++j)
        for (index i = 0; i < k; ++i)
            combinations(i, j) /=
                std::sqrt(std::max(found.spectrum(i) - loss / dropped, least) / found.total) * found.total;
    Eigen::MatrixXd residuals = weigh(multiply_in_double<Scalar>(found.basis, op::none, combinations));
    project_out_in_double<Scalar>(residuals, q_);
    project_out_in_double<Scalar>(residuals, found.basis);
    return squared_norm<double>(residuals) / static_cast<double>(probes) * (found.total / loss);
}

template <class Scalar>
std::optional<leading_subspace<Scalar>> single_precision_solver<Scalar>::attempt(const solver_choice& choice,
                                                                                 std::optional<index> known,
                                                                                 const rank_request& ask,
                                                                                 search first) {
    leading_subspace<Scalar> result;
    result.basis.resize(w_.rows(), 0);
    giants off{Eigen::MatrixXd(w_.rows(), 0), dense_matrix<Scalar>(w_.cols(), 0)};
    std::optional<problem> p;
    const auto scale = [&p] { return std::ldexp(1.0, 2 * p->g.exponent()); };

    // Outliers get out of the way of the rest in one of two ways. Where even the products would lose the rest
    // behind them, they are taken off W in double and all begins anew; else they are locked, for the sake of
    // the eigensolver.
    double locked_squares = 0.0;
    double locked_cost = 0.0;
    const auto keep = [&](const Eigen::MatrixXd& directions, const Eigen::VectorXd& values, double cost) {
        assign<Scalar, double>(append_columns<Scalar>(result.basis, directions.cols()), directions);
        result.spectrum.conservativeResize(result.basis.cols() - directions.cols());
        append(result.spectrum, values, directions.cols(), 1.0);
        locked_cost += cost;
    };
    const auto take_off = [&](const Eigen::MatrixXd& directions) {
        const index count = directions.cols();
        assign<double, double>(append_columns<double>(off.vectors, count), directions);
        multiply_into<Scalar>(append_columns<Scalar>(off.w, count), w_, op::transpose,
                              converted<Scalar, double>(directions), op::none);
    };
    const auto taken = [&] { return q_.cols() + off.vectors.cols(); };
    constexpr int passes = 4;
    for (int pass = 1;; ++pass) {
        const index limit = (known ? *known : std::min(w_.rows(), w_.cols())) - result.basis.cols();
        if (pass < passes) {
            const outliers<Eigen::MatrixXd> found = giant_channels(off, limit);
            if (found.vectors.cols() > 0) {
                keep(found.vectors, found.values, found.cost);
                take_off(found.vectors);
                continue;
            }
        }
        p.reset();
        tell(watch_, 0.05);
        p.emplace(begin(choice, off));
        tell(watch_, 0.1);
        // What is left of W may be its rounding: nothing to solve for.
        if (p->g.share_left() < (columns_known(choice) ? residual_gram::least_left : 1e-20))
            return std::nullopt;
        if (first == search::late) {
            complete(*p, choice, taken());
            if (choice.route == route::krylov) break;
        }
        const outliers<Eigen::MatrixXf> found = search_outliers(*p, limit);
        if (found.vectors.cols() > 0) {
            Eigen::MatrixXf mapped(w_.rows(), found.vectors.cols());
            if (p->mapped(choice))
                p->g.template map_back<Scalar>(mapped, found.vectors, w_, q_, off.vectors);
            else
                mapped = found.vectors;
            Eigen::MatrixXd directions = converted<double, float>(mapped);
            const bool again = found.drown_the_rest && pass < passes;
            if (again)
                directions = refine(directions, off);
            else if (p->mapped(choice))
                orthonormalize<double>(directions);
            Eigen::VectorXd values(0);
            append(values, found.values, found.values.size(), scale());
            keep(directions, values, found.cost * scale());
            if (again) {
                take_off(directions);
                if (columns_ != nullptr) columns_->reset();  // what was formed has lost the rest
                continue;
            }
            lock(*p, found);
            locked_squares = sum_of_squares(found.values, found.values.size());
        }
        if (first == search::early) complete(*p, choice, taken());
        break;
    }
    const index given = result.basis.cols();
    const index side = p->side();
    tell(watch_, choice.route == route::krylov ? 0.1 : 0.35);
    step_ =
        0.5 * static_cast<double>(choice.block) / static_cast<double>(std::max<index>(choice.dimension, 1));

    eigen_estimate found;
    std::optional<index> wanted = known;
    if (wanted) *wanted -= given;
    if (choice.route != route::gram_direct) {
        found = block_krylov(product(*p), side, *wanted,
                             {.block = choice.block,
                              .first_check = choice.dimension,
                              .largest = side * 9 / 10,
                              .tolerance = 0.6 * allowed_,
                              .total = p->whole ? std::optional(p->trace()) : std::nullopt},
                             pool_);
        result.solver =
            choice.route == route::krylov ? "block Krylov (single)" : "Gram + block Krylov (single)";
        if (found.converged) {
            if (!p->whole) {
                p->whole = found.total + p->taken;
                result.total_error = found.total_error * scale();
            }
            result.gap = krylov_margin * found.missing / (p->trace() - sum_of(found.values, 0, *wanted));
        }
    }
    // Of a metric that is not positive semi-definite, which the solver in double says. Of one that is, the
    // last Ritz value is negative by rounding alone.
    const auto indefinite = [&] {
        const double rounding = 64.0 * static_cast<double>(std::numeric_limits<float>::epsilon()) *
                                std::sqrt(static_cast<double>(side));
        return found.values.size() > 0 &&
               found.values(found.values.size() - 1) < -rounding * (found.values(0) + p->taken);
    };
    if (indefinite()) return std::nullopt;
    double squares = 0.0;
    if (!found.converged) {
        if (!p->gram) {
            if (p->g.rows() > p->g.cols()) return std::nullopt;
            p->gram.emplace(p->g.form_left());
            take_out(*p->gram, p->locked);
            p->whole = trace_of<float>(p->gram->span()) + p->taken;
        }
        tell(watch_, 0.4);
        const tridiagonal_eigen<float> eigen(converted<float, float>(p->gram->span()));
        if (!eigen.converged()) return std::nullopt;
        found.values = converted<double, float>(eigen.values());
        if (indefinite()) return std::nullopt;
        squares = sum_of_squares(found.values, found.values.size());
        if (!wanted) {
            Eigen::VectorXd all = result.spectrum;
            append(all, found.values, std::min(found.values.size(), std::min(w_.rows(), w_.cols()) - given),
                   scale());
            append(all, Eigen::VectorXd::Zero(w_.rows()), std::min(w_.rows(), w_.cols()) - all.size(), 1.0);
            wanted = ask(all) - given;
            if (*wanted <= 0) return std::nullopt;
        }
        if (*wanted > found.values.size()) return std::nullopt;  // beyond the rank of the metric
        found.vectors = eigen.vectors(*wanted);
        result.solver = "Gram + " + std::string(eigen.name()) + " (single)";
        result.gap = 0.0;
        // The trace is a sum of rounded squares, the eigenvalues are off by at most ‖E‖ each.
        const double loss = sum_of(found.values, *wanted, found.values.size());
        const double slack = eigensolver_noise * std::numeric_limits<float>::epsilon() * std::sqrt(squares) *
                             static_cast<double>(found.values.size() - *wanted);
        result.certified = slack <= allowed_ * (loss - slack);
    } else {
        const double rest = p->trace() - sum_of(found.values, 0, *wanted);
        squares = sum_of_squares(found.values, *wanted) + rest * found.values(*wanted - 1);
    }
    const double loss = p->trace() - sum_of(found.values, 0, *wanted);
    result.gap += noise(eigensolver_noise, squares, found.values(*wanted - 1), loss) +
                  noise(product_noise, squares + locked_squares + p->g.product_scale(),
                        found.values(*wanted - 1), loss);
    result.gap += locked_cost / (loss * scale());
    if (!(result.gap <= allowed_)) return std::nullopt;

    tell(watch_, 0.85);
    const dense_span<Scalar> found_basis = append_columns<Scalar>(result.basis, *wanted);
    const auto map_to = [&](dense_span<float> u) {
        p->g.template map_back<Scalar>(u, found.vectors, w_, q_, off.vectors);
        normalize_columns<float>(u);
    };
    if (!p->mapped(choice)) {
        assign<Scalar, float>(found_basis, found.vectors);
    } else if constexpr (std::same_as<Scalar, float>) {
        map_to(found_basis);
    } else {
        Eigen::MatrixXf u(w_.rows(), *wanted);
        map_to(u);
        assign<Scalar, float>(found_basis, u);
    }
    found.vectors.resize(0, 0);
    // What was locked is left out to rounding on the scale of what was locked, not of what is left; without
    // it the others are no longer orthonormal.
    project_out<Scalar>(found_basis, dense_ref<Scalar>(result.basis).leftCols(given));
    // Beyond k the values of a Krylov iteration are lower bounds and no more.
    const index values = found.converged
                             ? *wanted
                             : std::min<index>(found.values.size(), std::min(w_.rows(), w_.cols()) - given);
    append(result.spectrum, found.values, values, scale());
    result.total = sum_of(result.spectrum, 0, given) + p->trace() * scale();
    const bool as_found = given == 0 && !p->mapped(choice);
    p.reset();
    tell(watch_, 0.95);
    if (!as_found || !orthonormal(result.basis)) orthonormalize<Scalar>(result.basis);
    // What is left of the lengths' error is a float's.
    normalize_columns<Scalar>(result.basis);
    const double measured = measured_gap(result, given + *wanted);
    if (!(measured <= allowed_)) return std::nullopt;
    result.gap = std::max(result.gap, measured);
    return result;
}

}  // namespace nsvd::inline NSVD_ABI::detail
