// SPDX-License-Identifier: MIT
// Statistics of inputs: however the tokens come they are those of all of them, in memory and in files.
#include "layer.hpp"
#include "property.hpp"
#include "support/scratch_folder.hpp"

#include <nsvd/ext/calibration_file.hpp>
#include <nsvd/nsvd.hpp>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

namespace {

using namespace generated;
using MatrixXl = Eigen::Matrix<long double, Eigen::Dynamic, Eigen::Dynamic>;

constexpr double eps = std::numeric_limits<double>::epsilon();

/// How the tokens of a case come: in which runs, with which weights, in pairs or not, about what.
struct arrival {
    std::vector<Index> ends;      ///< of the runs
    std::vector<double> weights;  ///< some of them 0
    bool weighted, pairs;
    nsvd::moments about;

    explicit arrival(const layer_case& c) {
        support::generator g(c.seed + 2);
        for (Index end = 0; end < c.tokens;)
            ends.push_back(end = std::min(c.tokens, end + g.integer(1, 1 + c.tokens / 2)));
        weighted = g.integer(0, 1) == 1;
        pairs = g.integer(0, 1) == 1;
        about = g.integer(0, 1) == 1 ? nsvd::moments::central : nsvd::moments::raw;
        for (Index t = 0; t < c.tokens; ++t)
            weights.push_back(!weighted ? 1.0 : g.integer(0, 3) == 0 ? 0.0 : std::ldexp(g.uniform(), 3));
    }

    /// Adds the tokens from `first` on to `end`.
    template <class Calibration, class Matrix>
    void add(Calibration& calib, const Matrix& a, const Matrix& x, Index first, Index end) const {
        const Index count = end - first;
        const std::vector<double> w(weights.begin() + first, weights.begin() + end);
        if (pairs && weighted)
            calib.update(a.middleCols(first, count).eval(), x.middleCols(first, count).eval(), w);
        else if (pairs)
            calib.update(a.middleCols(first, count).eval(), x.middleCols(first, count).eval());
        else if (weighted)
            calib.update(x.middleCols(first, count).eval(), w);
        else
            calib.update(x.middleCols(first, count).eval());
    }
};

/// Moments by their definition, in extended precision.
struct moments_of {
    long double weight = 0;
    MatrixXl mean, gram, cross;

    moments_of(const MatrixXd& a, const MatrixXd& x, const arrival& how) {
        const MatrixXl wide_x = x.cast<long double>();
        const MatrixXl wide_a = a.cast<long double>();
        Eigen::Matrix<long double, Eigen::Dynamic, 1> w(x.cols());
        for (Index t = 0; t < x.cols(); ++t)
            w(t) = how.weights[static_cast<std::size_t>(t)];
        weight = w.sum();
        const long double each = weight > 0 ? 1 / weight : 0;
        mean = wide_x * w * each;
        MatrixXl from_x = wide_x, from_a = wide_a;
        if (how.about == nsvd::moments::central) {
            from_x.colwise() -= mean.col(0);
            from_a.colwise() -= (wide_a * w * each).eval().col(0);
        }
        gram = from_x * w.asDiagonal() * from_x.transpose();
        cross = from_a * w.asDiagonal() * from_x.transpose();
    }
};

/// Entry by entry, relative to √(c_ii c_jj) of the raw moments.
void check_moments(const char* what, const MatrixXd& found, const MatrixXl& expected, const VectorXd& rows,
                   const VectorXd& cols, double limit) {
    for (Index j = 0; j < found.cols(); ++j)
        for (Index i = 0; i < found.rows(); ++i)
            within(what, std::abs(found(i, j) - static_cast<double>(expected(i, j))),
                   limit * rows(i) * cols(j));
}

VectorXd lengths(const MatrixXd& x, const arrival& how) {
    VectorXd squares = VectorXd::Zero(x.rows());
    for (Index t = 0; t < x.cols(); ++t)
        squares += how.weights[static_cast<std::size_t>(t)] * x.col(t).cwiseAbs2();
    return squares.cwiseSqrt();
}

bool same_bits(const nsvd::calibration_state& a, const nsvd::calibration_state& b) {
    const auto lower = [](const MatrixXd& m) { return MatrixXd(m.triangularView<Eigen::Lower>()); };
    return lower(a.gram) == lower(b.gram) && a.sum == b.sum && a.sum_abs == b.sum_abs &&
           a.max_abs == b.max_abs && a.tokens == b.tokens && a.weight == b.weight && a.about == b.about &&
           // Without tokens there are no pairs.
           (a.tokens == 0 ||
            (a.cross.size() == b.cross.size() && a.cross == b.cross && a.sum_original == b.sum_original));
}

}  // namespace

TEST_CASE("in whatever order tokens come, their moments are those of all", "[generated]") {
    for_all("runs and merges", 1500, [](const layer_case& c) {
        with_matrices(c, [&](const auto& l) {
            const arrival how(c);
            const MatrixXd x = l.x_in.values(), a = l.a_in.values();
            using statistics = std::decay_t<decltype(l.calib)>;
            statistics whole(c.n, how.about), in_runs(c.n, how.about), forward(c.n, how.about),
                backward(c.n, how.about);
            how.add(whole, a, x, 0, c.tokens);
            std::vector<statistics> parts;
            Index first = 0;
            for (const Index end : how.ends) {
                how.add(in_runs, a, x, first, end);
                parts.emplace_back(c.n, how.about);
                how.add(parts.back(), a, x, first, end);
                first = end;
            }
            for (std::size_t i = 0; i < parts.size(); ++i) {
                forward.merge(parts[i]);
                backward.merge(parts[parts.size() - 1 - i]);
            }
            const moments_of exact(l.exact.a, l.exact.x, how);
            const VectorXd of_x = lengths(l.exact.x, how), of_a = lengths(l.exact.a, how);
            const Index counted =
                std::count_if(how.weights.begin(), how.weights.end(), [](double w) { return w > 0.0; });
            const double limit = 8 * eps * static_cast<double>(c.tokens + 4);
            for (const auto* calib : {&whole, &in_runs, &forward, &backward}) {
                RC_ASSERT(calib->tokens() == counted);
                RC_ASSERT(calib->max_abs() == whole.max_abs());
                within("weight", std::abs(calib->weight() - static_cast<double>(exact.weight)),
                       limit * static_cast<double>(exact.weight));
                RC_ASSERT(calib->has_cross() == (how.pairs && counted > 0));
                const bool central = how.about == nsvd::moments::central;
                const MatrixXd gram = central ? calib->central_gram() : calib->gram();
                RC_ASSERT(gram == gram.transpose());
                check_moments("gram", times_power(gram, -2 * c.x_scale), exact.gram, of_x, of_x, limit);
                if (calib->has_cross())
                    check_moments(
                        "cross",
                        times_power(central ? calib->central_cross() : calib->cross(), -2 * c.x_scale),
                        exact.cross, of_a + of_x, of_x, limit);
                // A calibration of another one's state is that one.
                RC_ASSERT(same_bits(statistics(calib->state()).state(), calib->state()));
            }
        });
    });
}

TEST_CASE("tokens of weight 0 are not looked at, and equal weights count", "[generated]") {
    for_all("masks", 600, [](layer_case c) {
        c.scalar = c.scalar == scalar::f64 ? scalar::f64 : scalar::f32;
        with_matrices(c, [&](const auto& l) {
            support::generator g(c.seed + 3);
            MatrixXd x = l.x_in.values();
            std::vector<bool> mask;
            std::vector<Index> kept;
            for (Index t = 0; t < c.tokens; ++t) {
                mask.push_back(g.integer(0, 1) == 1);
                if (mask.back()) kept.push_back(t);
            }
            nsvd::calibration<float> some(c.n), alone(c.n);
            if (!kept.empty()) alone.update(x(Eigen::all, kept).eval());
            for (Index t = 0; t < c.tokens; ++t)
                if (!mask[static_cast<std::size_t>(t)])
                    x.col(t).setConstant(std::numeric_limits<double>::quiet_NaN());
            some.update(x, mask);
            RC_ASSERT(same_bits(some.state(), alone.state()));
        });
    });
}

TEST_CASE("statistics survive a file bit for bit", "[generated]") {
    const support::scratch_folder folder;
    const auto path = folder / "calibration.safetensors";
    for_all("files", 300, [&](const layer_case& c) {
        with_matrices(c, [&](const auto& l) {
            const arrival how(c);
            nsvd::calibration<float> calib(c.n, how.about);
            how.add(calib, l.a_in.values(), l.x_in.values(), 0, c.tokens);
            nsvd::save_calibration(path, calib);
            const auto back = nsvd::load_calibration<double>(path);
            RC_ASSERT(same_bits(back.state(), calib.state()));
        });
    });
}
