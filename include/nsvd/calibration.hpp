// SPDX-License-Identifier: MIT
/// Streaming statistics of a layer's inputs.
#pragma once

#include "detail/blas.hpp"
#include "detail/dense_span.hpp"
#include "matrix.hpp"

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <limits>
#include <numeric>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace nsvd::inline NSVD_ABI {

/// What second moments are taken about.
enum class moments : std::uint8_t {
    raw,  ///< zero: Σ w x xᵀ
    central,  ///< the mean: Σ w (x − x̄)(x − x̄)ᵀ, what is left for a layer whose bias takes care of the mean
};

/// Everything a calibration knows, as plain numbers: what a file holds. Sums run over all tokens, each times
/// its weight. Where there are pairs of inputs (a, b), x is b.
struct calibration_state {
    Eigen::MatrixXd gram;     ///< n×n, Σ w x xᵀ, or that of x − x̄; only the lower triangle is read
    Eigen::VectorXd sum;      ///< n, Σ w x
    Eigen::VectorXd sum_abs;  ///< n, Σ w |x|
    Eigen::VectorXd max_abs;  ///< n, max |x|
    std::int64_t tokens = 0;  ///< columns seen with a weight above 0
    double weight = 0.0;      ///< Σ w
    moments about = moments::raw;  ///< of `gram` and `cross`
    Eigen::MatrixXd cross;  ///< n×n, Σ w a bᵀ, or that of a − ā and b − b̄; empty without pairs
    Eigen::VectorXd sum_original;  ///< n, Σ w a; empty without pairs
};

namespace detail {

template <class T>
constexpr bool is_two_dimensional() {
    if constexpr (eigen_matrix<T>)
        return !T::IsVectorAtCompileTime;
    else
        return false;
}

/// Indexable numbers or bools, but no matrix of two dimensions.
template <class T>
concept weight_range = !is_two_dimensional<T>() && requires(const T& w) {
    static_cast<double>(w[0]);
    w.size();
};

/// What the entries of inputs are below.
inline constexpr double entry_limit = 0x1p450;

/// What weights of tokens are below.
inline constexpr double weight_limit = 0x1p100;

/// Counts beyond this are of no text, and would overflow where they are added.
inline constexpr std::int64_t most_tokens = std::int64_t{1} << 53;

/// The weights as a function of the token. Throws on behalf of `where` unless there is a good one for each.
template <weight_range Weights>
[[nodiscard]] auto checked_weights(const Weights& weights, index tokens, const char* where) {
    if (static_cast<index>(weights.size()) != tokens)
        throw error(std::string(where) + ": " + std::to_string(weights.size()) + " weights for " +
                    std::to_string(tokens) + " tokens");
    const auto weight = [&weights](index t) {
        return static_cast<double>(weights[static_cast<decltype(weights.size())>(t)]);
    };
    for (index t = 0; t < tokens; ++t)
        if (!(weight(t) >= 0.0 && weight(t) < weight_limit))
            throw error(std::string(where) + ": weight " + std::to_string(t) + " = " + text(weight(t)) +
                        " must be in [0, 2^100)");
    return weight;
}

/// Throws on behalf of `where` unless the columns of `x` with a weight are inputs of n = `features` channels.
/// Called before anything is added, so that a bad entry leaves nothing half done.
template <class Expression, class Weight>
void require_inputs(const Expression& x, index features, const Weight& weight, const std::string& where,
                    const char* name) {
    const std::string argument = where + ": " + name;
    if (x.rows() != features)
        throw error(argument + " is " + shape_text(index{x.rows()}, index{x.cols()}) + " but there are " +
                    std::to_string(features) + " features");
    require_nonempty(index{x.rows()}, index{x.cols()}, argument.c_str());
    for (index t = 0; t < x.cols(); ++t) {
        if (weight(t) == 0.0) continue;
        require_finite(x.col(t), argument.c_str(), t);
        if constexpr (std::same_as<typename Expression::Scalar, double>) {
            if (const double largest = x.col(t).cwiseAbs().maxCoeff(); largest >= entry_limit)
                throw error(where + ": max |" + name + "| = " + text(largest) + " in token " +
                            std::to_string(t) + " is too large: entries must be below 2^450");
        }
    }
}

}  // namespace detail

/// Statistics of the inputs `X` (`n×T`, a column a token) of a linear layer `y = W x`: the Gram matrix
/// `C = X Xᵀ`, the mean, the mean and the largest absolute value of each channel. Where layers before this
/// one are compressed already, it takes pairs: the inputs A of the original model and B of the compressed one
/// for the same tokens. All of the above is then of B, and the cross moments `A Bᵀ` and the mean of A come
/// with it.
///
/// Sums are kept in double whatever the scalar of the inputs; products of `float` entries are exact in
/// double. `Scalar` is the nominal scalar of the activations and only a label: every `update` accepts any
/// scalar. One calibration serves all layers that see the same input (q, k, v; gate, up).
///
/// Not thread-safe: give each thread its own and `merge` them in a fixed order, which makes the result
/// reproducible. Limits: |x| < 2^450 and weights below 2^100, so that their products can be summed; squares
/// of entries below 2^-511 vanish.
template <real_scalar Scalar = float>
class calibration {
public:
    /// The nominal scalar of the activations.
    using scalar = Scalar;

    /// Empty statistics of `features` = n channels. With `moments::central` second moments are gathered about
    /// the mean, block by block (Chan, Golub and LeVeque, 1979), and `gram()` is put together from them:
    /// `C − T x̄ x̄ᵀ` would cancel where the mean is large against the deviations. Throws `nsvd::error` unless
    /// n ≥ 1.
    explicit calibration(index features, moments about = moments::raw) {
        if (features < 1)
            throw error("calibration: features = " + std::to_string(features) + " must be at least 1");
        state_.about = about;
        state_.gram = detail::zeros<double>(features, features);
        mean_ = state_.sum = state_.sum_abs = state_.max_abs = detail::zeros<double>(features, 1);
    }

    /// Takes over stored statistics; throws `nsvd::error` if a channel or two by themselves can't be those of
    /// any inputs (shapes, non-finite or negative values, `c_ij² > c_ii c_jj` or `(Σ w|x|)² > Σw Σ w x²`
    /// beyond rounding).
    explicit calibration(calibration_state state);

    /// Adds the tokens in the columns of `x` (`n×t`); t·n² flops. Of a matrix in memory no more than blocks
    /// of 512 columns are copied; with Eigen alone the products are gathered in n² numbers more. Throws
    /// `nsvd::error` if the rows are not `features()`, there are no columns, an entry is not finite, or
    /// tokens before came in pairs. Whatever it throws, `std::bad_alloc` too, the statistics are as they
    /// were; so for all that follow.
    template <matrix X>
    void update(const X& x) {
        add(x, [](index) { return 1.0; });
    }

    /// Adds pairs: the inputs `a` of the layer in the original model and `b` in the compressed one, both
    /// `n×t`, a column a token; 3t·n² flops. Throws as above, if the shapes differ, or if tokens before came
    /// without a partner.
    template <matrix A, matrix B>
    requires(!detail::weight_range<B>) void update(const A& a, const B& b) {
        add_pairs(a, b, [](index) { return 1.0; });
    }

    /// The same with a weight for each token: any indexable range of t nonnegative numbers, or of bool: a
    /// mask, true for the tokens that count. A token of weight 0 is not looked at, whatever its numbers; a
    /// weight w counts like w repetitions of the token, except that `tokens()` counts it once. (A pair of
    /// vectors, one token, is no such range: for n > 1 a second argument of the shape of the first is B.)
    template <matrix X, class Weights>
    requires detail::weight_range<Weights>
    void update(const X& x, const Weights& weights) {
        if constexpr (matrix<Weights>) {
            if (features() > 1 && detail::extent(weights) == detail::extent(x)) {
                add_pairs(x, weights, [](index) { return 1.0; });
                return;
            }
        }
        add(x, detail::checked_weights(weights, detail::extent(x).second, "calibration.update"));
    }

    /// Pairs with a weight for each.
    template <matrix A, matrix B, class Weights>
    requires detail::weight_range<Weights>
    void update(const A& a, const B& b, const Weights& weights) {
        add_pairs(a, b, detail::checked_weights(weights, detail::extent(b).second, "calibration.update"));
    }

    /// Adds the statistics of `other` (another thread, file or machine), as if its tokens had been seen here.
    /// Throws `nsvd::error` if the features or the moments differ, if one has pairs and the other has tokens
    /// without, and for more than 2⁵³ tokens in all. What has no tokens yet has no pairs either.
    template <real_scalar Other>
    void merge(const calibration<Other>& other);

    /// n, the channels of an input.
    [[nodiscard]] index features() const noexcept { return state_.sum.size(); }
    /// Columns seen, those of weight 0 excepted.
    [[nodiscard]] std::int64_t tokens() const noexcept { return state_.tokens; }
    /// Sum of the weights; equal to `tokens()` where none were given.
    [[nodiscard]] double weight() const noexcept { return state_.weight; }

    /// What `state()` holds second moments about.
    [[nodiscard]] moments about() const noexcept { return state_.about; }
    /// The Gram matrix `C = Σ w x xᵀ`, full symmetric `n×n`; the plain sum, not divided by the tokens. A
    /// copy.
    [[nodiscard]] Eigen::MatrixXd gram() const {
        Eigen::MatrixXd c = full_gram();
        if (about() == moments::central) add_product(c, root_of(mean()), root_of(mean()));
        return c;
    }
    /// `Σ w (x − x̄)(x − x̄)ᵀ`, full symmetric `n×n`. A copy. Throws `nsvd::error` for a calibration of raw
    /// moments, from which it can't be had without loss.
    [[nodiscard]] Eigen::MatrixXd central_gram() const {
        require_central("central_gram");
        return full_gram();
    }
    /// Whether the tokens came in pairs.
    [[nodiscard]] bool has_cross() const noexcept { return state_.tokens > 0 && state_.cross.size() > 0; }
    /// The cross moments `Σ w a bᵀ` (`n×n`) of pairs. A copy. Throws `nsvd::error` without pairs.
    [[nodiscard]] Eigen::MatrixXd cross() const {
        require_pairs("cross");
        Eigen::MatrixXd c = state_.cross;
        if (about() == moments::central) add_product(c, root_of(mean_original()), root_of(mean()));
        return c;
    }
    /// `Σ w (a − ā)(b − b̄)ᵀ` (`n×n`). A copy. Throws `nsvd::error` without pairs or central moments.
    [[nodiscard]] Eigen::MatrixXd central_cross() const {
        require_central("central_cross");
        require_pairs("central_cross");
        return state_.cross;
    }
    /// Mean of each channel of A. Throws `nsvd::error` without pairs.
    [[nodiscard]] Eigen::VectorXd mean_original() const {
        require_pairs("mean_original");
        return average(state_.sum_original);
    }
    /// Mean of each channel; 0 where no token was seen.
    [[nodiscard]] Eigen::VectorXd mean() const { return average(state_.sum); }
    /// Mean absolute value of each channel; 0 where no token was seen.
    [[nodiscard]] Eigen::VectorXd mean_abs() const { return average(state_.sum_abs); }
    /// Mean square of each channel; 0 where no token was seen.
    [[nodiscard]] Eigen::VectorXd mean_square() const {
        Eigen::VectorXd squares(features());
        for (index i = 0; i < features(); ++i)
            squares(i) = state_.gram(i, i);
        squares = average(squares);
        if (about() == moments::central) {
            const Eigen::VectorXd of_mean = mean();
            for (index i = 0; i < features(); ++i)
                squares(i) += of_mean(i) * of_mean(i);
        }
        return squares;
    }
    /// Largest absolute value of each channel.
    [[nodiscard]] const Eigen::VectorXd& max_abs() const noexcept { return state_.max_abs; }
    /// All sums, for writing to a file. Only the lower triangle of `gram` is set.
    [[nodiscard]] const calibration_state& state() const& noexcept { return state_; }
    /// The same without a copy. What is left can only be assigned to.
    [[nodiscard]] calibration_state state() && { return std::move(state_); }

private:
    static constexpr index block = 512;

    [[nodiscard]] Eigen::VectorXd average(const Eigen::VectorXd& sum) const {
        Eigen::VectorXd result = sum;
        for (double& value : result)
            value = state_.weight > 0.0 ? value / state_.weight : 0.0;
        return result;
    }
    [[nodiscard]] Eigen::VectorXd root_of(const Eigen::VectorXd& mean) const {
        return times(std::sqrt(state_.weight), mean);
    }
    [[nodiscard]] static Eigen::VectorXd times(double factor, const Eigen::VectorXd& x) {
        Eigen::VectorXd result(x.size());
        set_times(result, factor, x);
        return result;
    }
    static void set_times(Eigen::VectorXd& result, double factor, const Eigen::VectorXd& x) {
        detail::assign_scaled<double, double>(result, x, &factor);
    }
    /// Both triangles.
    [[nodiscard]] Eigen::MatrixXd full_gram() const {
        Eigen::MatrixXd c = state_.gram;
        detail::mirror_lower<double>(c);
        return c;
    }
    /// `C ← C + u vᵀ`, to the bit the same in both triangles for u = v.
    static void add_product(Eigen::MatrixXd& c, const Eigen::VectorXd& u, const Eigen::VectorXd& v) {
        for (index j = 0; j < c.cols(); ++j)
            detail::add_multiple<double>(detail::dense_span<double>(c).middleCols(j, 1), v(j), u);
    }
    void require_central(const char* what) const {
        if (about() != moments::central)
            throw error("calibration." + std::string(what) +
                        ": this one has raw moments: construct it with moments::central");
    }
    void require_pairs(const char* what) const {
        if (!has_cross())
            throw error("calibration." + std::string(what) + ": no pairs of inputs: call update(a, b)");
    }

    template <matrix X, class Weight>
    void add(const X& x, const Weight& weight);
    template <matrix A, matrix B, class Weight>
    void add_pairs(const A& a, const B& b, const Weight& weight);
    /// Token t in double.
    template <class Expression>
    static void copy_column(const Expression& x, index t, double* to) {
        Eigen::Map<Eigen::VectorXd>(to, x.rows()) = x.col(t).template cast<double>();
    }
    template <class Weight, class Read>
    void add_blocks(index tokens, const Weight& weight, bool pairs, const Read& read);

    /// All that is of O(n), changed apart and put in place once nothing can fail any more.
    struct sums {
        Eigen::VectorXd sum, sum_abs, max_abs, sum_original, mean, mean_original;
        std::int64_t tokens = 0;
        double weight = 0.0;
    };
    [[nodiscard]] sums begin(bool pairs, std::int64_t more, const char* where) const;
    void commit(sums& all) noexcept;
    static void add_absolute_values(sums& all, double w, const double* x);
    /// Memory for what is done to a block.
    struct block_memory {
        Eigen::VectorXd mean, rest;
        Eigen::MatrixXd part;
    };
    [[nodiscard]] static index centre(sums& all, detail::dense_span<double> b, detail::dense_span<double> a,
                                      const std::vector<double>& weights, double weight_before,
                                      block_memory& memory);
    static void take_off_mean(detail::dense_span<double> x, const std::vector<double>& weights,
                              block_memory& memory);
    static void move_mean(Eigen::VectorXd& mean, double* column, const Eigen::VectorXd& other,
                          double weight_before, double weight);
    static void add_pair_moments(detail::dense_span<double> gram, detail::dense_span<double> cross,
                                 detail::dense_ref<double> b, detail::dense_out<double> a,
                                 block_memory& memory);
    static constexpr index panel = 256;

    calibration_state state_;
    // Central moments keep the means themselves: that of a constant channel is then that constant to the bit,
    // and its deviations are zero.
    Eigen::VectorXd mean_;
    Eigen::VectorXd mean_original_;

    template <real_scalar Other>
    friend class calibration;
};

template <real_scalar Scalar>
template <matrix X, class Weight>
void calibration<Scalar>::add(const X& x, const Weight& weight) {
    detail::with_expression(x, [&](const auto& b) {
        detail::require_inputs(b, features(), weight, "calibration.update", "x");
        add_blocks(b.cols(), weight, false,
                   [&](index t, double* column, double*) { copy_column(b, t, column); });
    });
}

template <real_scalar Scalar>
template <matrix A, matrix B, class Weight>
void calibration<Scalar>::add_pairs(const A& original, const B& compressed, const Weight& weight) {
    const auto shape = [](const auto& x) {
        return detail::shape_text(detail::extent(x).first, detail::extent(x).second);
    };
    if (detail::extent(original) != detail::extent(compressed))
        throw error("calibration.update: a is " + shape(original) + " but b is " + shape(compressed));
    detail::with_expression(original, [&](const auto& a) {
        detail::with_expression(compressed, [&](const auto& b) {
            detail::require_inputs(a, features(), weight, "calibration.update", "a");
            detail::require_inputs(b, features(), weight, "calibration.update", "b");
            add_blocks(b.cols(), weight, true, [&](index t, double* column, double* partner) {
                copy_column(b, t, column);
                copy_column(a, t, partner);
            });
        });
    });
}

/// What `commit` is to get, changed; checks that tokens before came like these.
template <real_scalar Scalar>
auto calibration<Scalar>::begin(bool pairs, std::int64_t more, const char* where) const -> sums {
    if (more > detail::most_tokens - state_.tokens)
        throw error(std::string(where) + ": " + std::to_string(more) + " tokens beside " +
                    std::to_string(state_.tokens) + " are too many");
    if (state_.tokens > 0 && pairs != has_cross())
        throw error(std::string(where) +
                    (pairs ? ": pairs, but tokens before came without a partner"
                           : ": x without a partner, but tokens before came in pairs: call update(a, b)"));
    const bool first = pairs != (state_.cross.size() > 0);
    const Eigen::VectorXd none = detail::zeros<double>(pairs ? features() : 0, 1);
    return {state_.sum,     state_.sum_abs,
            state_.max_abs, first ? none : state_.sum_original,
            mean_,          first ? none : mean_original_,
            state_.tokens,  state_.weight};
}

template <real_scalar Scalar>
void calibration<Scalar>::commit(sums& all) noexcept {
    state_.sum.swap(all.sum);
    state_.sum_abs.swap(all.sum_abs);
    state_.max_abs.swap(all.max_abs);
    state_.sum_original.swap(all.sum_original);
    mean_.swap(all.mean);
    mean_original_.swap(all.mean_original);
    state_.tokens = all.tokens;
    state_.weight = all.weight;
}

/// `read(t, column, partner)` writes token t, and its partner in A if there are pairs.
template <real_scalar Scalar>
template <class Weight, class Read>
void calibration<Scalar>::add_blocks(index tokens, const Weight& weight, bool pairs, const Read& read) {
#if defined(NSVD_USE_LAPACK)
    constexpr bool apart = false;
#else
    constexpr bool apart = true;  // Eigen's products ask for memory
#endif
    const bool central = about() == moments::central;
    const index n = features();
    // All memory comes first: what is done to the moments can't be undone.
    sums all = begin(pairs, tokens, "calibration.update");
    // One column more than tokens: that of the distance of two means.
    Eigen::MatrixXd b_memory(n, std::min<index>(block, tokens) + 1);
    Eigen::MatrixXd a_memory(pairs ? n : 0, b_memory.cols());
    block_memory memory{Eigen::VectorXd(n), Eigen::VectorXd(n),
                        Eigen::MatrixXd(pairs ? n : 0, std::min(panel, n))};
    std::vector<double> weights;
    weights.reserve(static_cast<std::size_t>(b_memory.cols()));
    const bool first_pairs = pairs && state_.cross.size() == 0;
    Eigen::MatrixXd gram_apart = detail::zeros<double>(apart ? n : 0, apart ? n : 0);
    Eigen::MatrixXd cross_apart =
        pairs && (apart || first_pairs) ? detail::zeros<double>(n, n) : Eigen::MatrixXd();
    const detail::dense_span<double> gram(apart ? gram_apart : state_.gram);
    const detail::dense_span<double> cross(cross_apart.size() > 0 ? cross_apart : state_.cross);
    const detail::dense_span<double> b(b_memory);
    const detail::dense_span<double> a(a_memory);
    for (index first = 0; first < tokens; first += block) {
        const double weight_before = all.weight;
        index count = 0;
        weights.clear();
        for (index t = first; t < std::min<index>(first + block, tokens); ++t) {
            const double w = weight(t);
            if (w == 0.0) continue;
            const detail::dense_span<double> column = b.middleCols(count, 1);
            const detail::dense_span<double> partner = a.middleCols(count, 1);
            read(t, column.data(), partner.data());
            add_absolute_values(all, w, column.data());
            all.tokens += 1;
            all.weight += w;
            weights.push_back(w);
            ++count;
            if (central) continue;
            detail::add_multiple<double>(all.sum, w, column);
            if (pairs) detail::add_multiple<double>(all.sum_original, w, partner);
            if (w == 1.0) continue;
            const double root = std::sqrt(w);
            detail::assign_scaled<double, double>(column, column, &root);
            detail::assign_scaled<double, double>(partner, partner, &root);
        }
        if (count == 0) continue;
        if (central) count = centre(all, b, a, weights, weight_before, memory);
        if (pairs)
            add_pair_moments(gram, cross, b.leftCols(count), a.leftCols(count), memory);
        else
            detail::add_gram_lower<double>(gram, b.leftCols(count), detail::op::none);
    }
    if (apart)
        for (index j = 0; j < n; ++j)
            detail::add_multiple<double>(detail::dense_span<double>(state_.gram).block(j, j, n - j, 1), 1.0,
                                         gram.block(j, j, n - j, 1));
    if (!pairs)
        state_.cross.resize(0, 0);
    else if (first_pairs)
        state_.cross.swap(cross_apart);
    else if (apart)
        detail::add_multiple<double>(state_.cross, 1.0, cross);
    commit(all);
}

/// Of one token.
template <real_scalar Scalar>
void calibration<Scalar>::add_absolute_values(sums& all, double w, const double* x) {
    double* const total = all.sum_abs.data();
    double* const largest = all.max_abs.data();
    for (index i = 0; i < all.sum_abs.size(); ++i) {
        const double size = std::abs(x[i]);
        total[i] += w * size;
        largest[i] = std::max(largest[i], size);
    }
}

/// Replaces tokens by `√w (x − x̄)` for their own mean x̄, which goes to `memory.mean`.
template <real_scalar Scalar>
void calibration<Scalar>::take_off_mean(detail::dense_span<double> x, const std::vector<double>& weights,
                                        block_memory& memory) {
    // Off the heaviest token first: its distance from the mean is at most √512 deviations, so no digit is
    // lost where the mean is large against them, and constant channels leave zeros.
    const auto heaviest = std::max_element(weights.begin(), weights.end()) - weights.begin();
    const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
    Eigen::VectorXd& mean = memory.mean;
    detail::assign<double, double>(mean, x.middleCols(heaviest, 1));
    Eigen::VectorXd& rest = memory.rest;
    detail::set_constant<double>(rest, 0.0);
    for (index t = 0; t < x.cols(); ++t) {
        const detail::dense_span<double> token = x.middleCols(t, 1);
        detail::add_multiple<double>(token, -1.0, mean);
        detail::add_multiple<double>(rest, weights[static_cast<std::size_t>(t)] / sum, token);
    }
    for (index t = 0; t < x.cols(); ++t) {
        const detail::dense_span<double> token = x.middleCols(t, 1);
        const double root = std::sqrt(weights[static_cast<std::size_t>(t)]);
        detail::add_multiple<double>(token, -1.0, rest);
        detail::assign_scaled<double, double>(token, token, &root);
    }
    detail::add_multiple<double>(mean, 1.0, rest);
}

/// Writes the column that accounts for the distance of two means, `√(w₁ w₂ / (w₁ + w₂)) (x̄₂ − x̄₁)`, and
/// replaces `mean` = x̄₁ by the mean of all.
template <real_scalar Scalar>
void calibration<Scalar>::move_mean(Eigen::VectorXd& mean, double* column, const Eigen::VectorXd& other,
                                    double weight_before, double weight) {
    const double all = weight_before + weight;
    const double share = weight / all;
    const double root = std::sqrt(weight_before * share);
    for (index i = 0; i < mean.size(); ++i) {
        const double distance = other(i) - mean(i);
        // A mean that comes from a file is a rounded quotient: what that makes of a constant channel is
        // dropped.
        const double noise =
            4.0 * std::numeric_limits<double>::epsilon() * std::max(std::abs(mean(i)), std::abs(other(i)));
        column[i] = std::abs(distance) > noise ? root * distance : 0.0;
        // From the heavier mean: what the lighter one is larger by must not stay behind as rounding.
        mean(i) = share > 0.5 ? other(i) - (weight_before / all) * distance : mean(i) + share * distance;
    }
}

/// Makes of a block what its central moments, and those about the distance of its mean from that of the
/// tokens before, are products of (Chan, Golub and LeVeque). Returns its columns, one more than tokens.
template <real_scalar Scalar>
index calibration<Scalar>::centre(sums& all, detail::dense_span<double> b, detail::dense_span<double> a,
                                  const std::vector<double>& weights, double weight_before,
                                  block_memory& memory) {
    const auto count = static_cast<index>(weights.size());
    const double weight = std::accumulate(weights.begin(), weights.end(), 0.0);
    const auto centred = [&](detail::dense_span<double> x, Eigen::VectorXd& mean, Eigen::VectorXd& sum) {
        take_off_mean(x.leftCols(count), weights, memory);
        move_mean(mean, x.col(count), memory.mean, weight_before, weight);
        set_times(sum, all.weight, mean);
    };
    centred(b, all.mean, all.sum);
    if (a.rows() > 0) centred(a, all.mean_original, all.sum_original);
    return count + 1;
}

/// Adds `B Bᵀ` and `A Bᵀ = B Bᵀ + (A − B) Bᵀ`; overwrites A. The same numbers are added to both, so that for
/// A = B they are the same to the bit.
template <real_scalar Scalar>
void calibration<Scalar>::add_pair_moments(detail::dense_span<double> gram, detail::dense_span<double> cross,
                                           detail::dense_ref<double> b, detail::dense_out<double> a,
                                           block_memory& memory) {
    const index n = gram.rows();
    for (index first = 0; first < n; first += panel) {
        const index width = std::min(panel, n - first);
        const index below = n - first - width;
        const detail::dense_span<double> part =
            detail::dense_span<double>(memory.part).block(0, 0, width + below, width);
        detail::multiply_into<double>(part, b.bottomRows(width + below), detail::op::none,
                                      b.middleRows(first, width), detail::op::transpose);
        detail::mirror_lower<double>(part.topRows(width));
        detail::add_multiple<double>(gram.block(first, first, width + below, width), 1.0, part);
        detail::add_multiple<double>(cross.block(first, first, width + below, width), 1.0, part);
        const detail::dense_span<double> right = cross.block(first, first + width, width, below);
        for (index j = 0; j < below; ++j)
            for (index i = 0; i < width; ++i)
                right(i, j) += part(width + j, i);
    }
    detail::add_multiple<double>(a, -1.0, b);
    detail::multiply_into<double>(cross, a, detail::op::none, b, detail::op::transpose, detail::into::add);
}

template <real_scalar Scalar>
template <real_scalar Other>
void calibration<Scalar>::merge(const calibration<Other>& other) {
    const calibration_state& o = other.state();
    if (other.features() != features())
        throw error("calibration.merge: other has " + std::to_string(other.features()) +
                    " features, this has " + std::to_string(features()));
    if (o.about != about()) throw error("calibration.merge: one has raw moments, the other central ones");
    if (o.tokens == 0) return;
    if (state_.tokens > 0 && other.has_cross() != has_cross())
        throw error("calibration.merge: one has pairs of inputs, the other tokens without a partner");
    const bool pairs = other.has_cross();
    // All memory comes first.
    sums all = begin(pairs, o.tokens, "calibration.merge");
    Eigen::VectorXd b(features());
    Eigen::VectorXd a(pairs ? features() : 0);
    Eigen::MatrixXd first_cross =
        pairs && state_.cross.size() == 0 ? detail::zeros<double>(features(), features()) : Eigen::MatrixXd();
    if (first_cross.size() > 0 || !pairs) state_.cross.swap(first_cross);
    const auto add = [](auto& to, const auto& from) { detail::add_multiple<double>(to, 1.0, from); };
    // Only the lower triangle is read, of either.
    for (index j = 0; j < features(); ++j)
        for (index i = j; i < features(); ++i)
            state_.gram(i, j) += o.gram(i, j);
    add(all.sum_abs, o.sum_abs);
    for (index i = 0; i < features(); ++i)
        all.max_abs(i) = std::max(all.max_abs(i), o.max_abs(i));
    all.tokens += o.tokens;
    all.weight += o.weight;
    if (pairs) add(state_.cross, o.cross);
    if (about() == moments::raw) {
        add(all.sum, o.sum);
        if (pairs) add(all.sum_original, o.sum_original);
        return commit(all);
    }
    move_mean(all.mean, b.data(), other.mean_, state_.weight, o.weight);
    set_times(all.sum, all.weight, all.mean);
    add_product(state_.gram, b, b);
    if (pairs) {
        move_mean(all.mean_original, a.data(), other.mean_original_, state_.weight, o.weight);
        set_times(all.sum_original, all.weight, all.mean_original);
        // As in add_pair_moments.
        add_product(state_.cross, b, b);
        detail::add_multiple<double>(a, -1.0, b);
        add_product(state_.cross, a, b);
    }
    commit(all);
}

template <real_scalar Scalar>
calibration<Scalar>::calibration(calibration_state state) : state_(std::move(state)) {
    const index n = state_.sum.size();
    const auto fail = [](const std::string& what) { throw error("calibration: stored statistics: " + what); };
    if (n < 1 || state_.gram.rows() != n || state_.gram.cols() != n || state_.sum_abs.size() != n ||
        state_.max_abs.size() != n)
        fail("shapes do not belong together (gram " +
             detail::shape_text(index{state_.gram.rows()}, index{state_.gram.cols()}) + ", " +
             std::to_string(n) + " features)");
    const bool pairs = state_.cross.size() > 0 || state_.sum_original.size() > 0;
    if (pairs && (state_.cross.rows() != n || state_.cross.cols() != n || state_.sum_original.size() != n))
        fail("shapes do not belong together (cross " +
             detail::shape_text(index{state_.cross.rows()}, index{state_.cross.cols()}) + ", " +
             std::to_string(state_.sum_original.size()) + " sums of originals, " + std::to_string(n) +
             " features)");
    // Of the Gram matrix the lower triangle alone is looked at, where it lies: it may be large.
    const Eigen::MatrixXd& gram = state_.gram;
    for (index j = 0; j < n; ++j)
        for (index i = j; i < n; ++i)
            if (!std::isfinite(gram(i, j)))
                detail::throw_not_finite("calibration: stored statistics: gram", i, j, gram(i, j));
    detail::require_finite_entries<double>(state_.cross, "calibration: stored statistics: cross");
    detail::require_finite_entries<double>(state_.sum, "calibration: stored statistics: sum");
    detail::require_finite_entries<double>(state_.sum_abs, "calibration: stored statistics: sum_abs");
    detail::require_finite_entries<double>(state_.max_abs, "calibration: stored statistics: max_abs");
    detail::require_finite_entries<double>(state_.sum_original,
                                           "calibration: stored statistics: sum_original");
    if (!std::isfinite(state_.weight)) fail("weight = " + detail::text(state_.weight) + " is not finite");
    if (state_.tokens < 0 || state_.tokens > detail::most_tokens || state_.weight < 0.0 ||
        (state_.tokens == 0) != (state_.weight == 0.0) ||
        state_.weight > detail::weight_limit * static_cast<double>(state_.tokens))
        fail("tokens = " + std::to_string(state_.tokens) + " with weight " + detail::text(state_.weight));
    mean_ = average(state_.sum);
    mean_original_ = average(state_.sum_original);
    constexpr double slack = 1.0 + 1e-6;
    // Of sums of denormal numbers no digit need be right.
    const double vanishing = (1.0 + state_.weight) * std::numeric_limits<double>::min();
    const double vanished = static_cast<double>(state_.tokens) * std::numeric_limits<double>::min();
    for (index j = 0; j < n; ++j) {
        const double most = state_.weight * state_.max_abs(j);
        const double of_mean = about() == moments::central ? mean_(j) * state_.sum(j) : 0.0;
        // The second by the inequality of Cauchy and Schwarz, in parts that stay in range.
        const double root = std::sqrt(gram(j, j) + of_mean + vanished) * std::sqrt(state_.weight);
        if (gram(j, j) < 0.0 || !(state_.sum_abs(j) <= most * slack + vanishing) ||
            !(state_.sum_abs(j) <= root * slack + vanishing) ||
            !(gram(j, j) + of_mean <= most * state_.max_abs(j) * slack + vanishing) ||
            std::abs(state_.sum(j)) > state_.sum_abs(j) * slack + vanishing)
            fail("channel " + std::to_string(j) + " can't belong to any inputs: gram(" + std::to_string(j) +
                 ", " + std::to_string(j) + ") = " + detail::text(gram(j, j)) +
                 ", sum = " + detail::text(state_.sum(j)) + ", sum_abs = " + detail::text(state_.sum_abs(j)) +
                 ", max_abs = " + detail::text(state_.max_abs(j)));
        if (!pairs) continue;
        // Σ w a b is at most max |a| Σ w |b|, about the means four times that.
        const double reach = (about() == moments::central ? 4.0 : 1.0) * detail::entry_limit;
        if (!(std::abs(state_.sum_original(j)) <= state_.weight * detail::entry_limit) ||
            !(state_.cross.col(j).cwiseAbs().maxCoeff() <= reach * (state_.sum_abs(j) + vanishing)))
            fail("pairs of channel " + std::to_string(j) + " can't belong to any inputs");
    }
    for (index j = 0; j < n; ++j) {
        // Squares of tiny entries vanish before their products with others do.
        const double least = std::numeric_limits<double>::min();
        const double diagonal = std::sqrt(std::max(gram(j, j), least));
        for (index i = j + 1; i < n; ++i)
            if (std::abs(gram(i, j)) > diagonal * std::sqrt(std::max(gram(i, i), least)) * slack)
                fail("gram(" + std::to_string(j) + ", " + std::to_string(i) +
                     ") = " + detail::text(gram(i, j)) + " is larger than the diagonal allows");
    }
}

}  // namespace nsvd::inline NSVD_ABI
