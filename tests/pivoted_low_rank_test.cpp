// SPDX-License-Identifier: MIT
// Pivoted storage holds the same matrix in fewer numbers, with bounded coefficients.
#include "support/catch.hpp"
#include "support/expect_error.hpp"
#include "support/generate.hpp"
#include "support/shared.hpp"

#include <nsvd/ext/safetensors.hpp>
#include <nsvd/pivoted_low_rank.hpp>
#include <nsvd/rank/compression.hpp>
#include <nsvd/svd.hpp>

#include <Eigen/Core>
#include <Eigen/QR>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace {

using Eigen::Index;
using Eigen::MatrixXd;
using nsvd::lines;
using nsvd::storage;
using support::generator;

template <class Scalar>
constexpr double eps = std::numeric_limits<Scalar>::epsilon();

const std::vector<std::pair<Index, Index>> shapes{{1, 1},   {1, 7},   {9, 1},  {12, 12},
                                                  {40, 25}, {25, 40}, {90, 80}};

template <class Scalar>
nsvd::low_rank<Scalar> factors(generator& g, Index m, Index n, Index k) {
    return {g.gaussian(m, k).template cast<Scalar>(), g.gaussian(k, n).template cast<Scalar>()};
}

}  // namespace

TEMPLATE_TEST_CASE("pivoted storage: the same matrix, fewer numbers, bounded coefficients", "[pivoted]",
                   float, double) {
    std::uint64_t seed = 10;
    for (const auto& [m, n] : shapes)
        for (const Index k : {Index{1}, std::min(m, n) / 2, std::min(m, n)}) {
            if (k < 1) continue;
            generator g(++seed);
            for (const double scale : {1.0, 1e-12, 1e12}) {
                auto d = factors<TestType>(g, m, n, k);
                d.right *= static_cast<TestType>(scale);
                for (const double growth : {1.01, 2.0, 10.0}) {
                    CAPTURE(m, n, k, scale, growth);
                    const auto p = nsvd::pivot(d, growth);
                    REQUIRE(p.rows() == m);
                    REQUIRE(p.cols() == n);
                    REQUIRE(p.rank() == k);
                    CHECK(p.parameters() == k * (m + n - k));
                    CHECK(p.parameters() == nsvd::stored_numbers(storage::pivoted, {m, n}, k));
                    CHECK(p.growth() <= growth * (1.0 + 4.0 * eps<TestType>));
                    CHECK(std::is_sorted(p.indices.begin(), p.indices.end()));
                    const MatrixXd exact = d.left.template cast<double>() * d.right.template cast<double>();
                    const double unit = eps<TestType> * static_cast<double>(k) * growth * exact.norm();
                    CHECK((p.dense().template cast<double>() - exact).norm() <= 4.0 * unit);
                    // The kept lines are those of the matrix.
                    for (std::size_t i = 0; i < p.indices.size(); ++i) {
                        const Index line = p.indices[i];
                        const auto at = static_cast<Index>(i);
                        const double error =
                            p.kept == lines::rows
                                ? (p.right.row(at).template cast<double>() - exact.row(line)).norm()
                                : (p.left.col(at).template cast<double>() - exact.col(line)).norm();
                        CHECK(error <= 2.0 * eps<TestType> * exact.norm());
                    }
                    const auto back = p.plain();
                    CHECK(back.rank() == k);
                    CHECK((back.dense().template cast<double>() - exact).norm() <= 4.0 * unit);
                }
            }
        }
}

TEMPLATE_TEST_CASE("pivoted storage: products with vectors and matrices", "[pivoted]", float, double) {
    for (const auto& [m, n] : shapes) {
        generator g(static_cast<std::uint64_t>(m * 100 + n));
        const Index k = std::max<Index>(1, std::min(m, n) / 2);
        const auto d = factors<TestType>(g, m, n, k);
        const auto p = nsvd::pivot(d);
        const MatrixXd dense = p.dense().template cast<double>();
        for (const Index t : {1, 5}) {
            const MatrixXd x = g.gaussian(n, t);
            const auto y = p * x;
            CAPTURE(m, n, k, t);
            CHECK((y.template cast<double>() - dense * x).norm() <=
                  20.0 * eps<TestType> * static_cast<double>(n) * dense.norm() * x.norm());
        }
        const Eigen::VectorXd v = g.gaussian(n, 1);
        const auto y = p * v;
        STATIC_REQUIRE(decltype(y)::ColsAtCompileTime == 1);
        CHECK((y.template cast<double>() - dense * v).norm() <=
              20.0 * eps<TestType> * static_cast<double>(n) * dense.norm() * v.norm());
        support::expect_error([&] { (void)(p * MatrixXd(p.cols() + 1, 2)); }, {"pivoted_low_rank * x"});
    }
}

TEST_CASE("pivoted storage: rows or columns, whichever rounding hurts less", "[pivoted]") {
    generator g(3);
    bool rows = false;
    bool columns = false;
    for (int turn = 0; turn < 20; ++turn) {
        auto d = factors<double>(g, 40, 40, 10);
        const MatrixXd dense = d.dense();
        const auto p = nsvd::pivot(d);
        (p.kept == lines::rows ? rows : columns) = true;
        // Rounded to a precision of 2^-9 both factors cost less than four times what they cost in plain
        // storage.
        const auto rounded = [](const auto& a) {
            using matrix = std::decay_t<decltype(a)>;
            return matrix(a.unaryExpr([](double x) {
                int e = 0;
                const double f = std::frexp(x, &e);
                return std::ldexp(std::nearbyint(f * 512.0) / 512.0, e);
            }));
        };
        auto short_plain = d;
        const Eigen::HouseholderQR<MatrixXd> qr(d.left);
        const MatrixXd q = qr.householderQ() * MatrixXd::Identity(40, 10);
        short_plain.left = rounded(q);
        short_plain.right = rounded(MatrixXd(q.transpose() * dense));
        auto short_pivoted = p;
        short_pivoted.left = rounded(p.left);
        short_pivoted.right = rounded(p.right);
        CHECK((short_pivoted.dense() - dense).norm() <= 4.0 * (short_plain.dense() - dense).norm());
    }
    CHECK(rows);
    CHECK(columns);
}

TEST_CASE("pivoted storage: a large line is kept, not made of others", "[pivoted]") {
    // One row a thousand times the others: kept, it is rounded once, and others have next to nothing of it.
    // By columns every one of them is made of several that have its entry, and the rounding of each.
    for (int turn = 0; turn < 10; ++turn) {
        generator g(50 + static_cast<std::uint64_t>(turn));
        auto d = factors<double>(g, 40, 40, 10);
        d.left.row(7) *= 1000.0;
        const auto p = nsvd::pivot(d);
        CHECK(p.kept == lines::rows);
        CHECK(std::binary_search(p.indices.begin(), p.indices.end(), 7));
        const auto transposed = nsvd::pivot(nsvd::low_rank<double>{d.right.transpose(), d.left.transpose()});
        CHECK(transposed.kept == lines::columns);
        CHECK(transposed.indices == p.indices);
    }
}

TEST_CASE("pivoted storage: scales at the ends of the range", "[pivoted]") {
    // By rows, and by columns: the factor that is kept has the scale, the other none.
    for (const bool transposed : {false, true}) {
        generator g(60);
        auto d = factors<double>(g, 20, 12, 5);
        if (transposed) d = {d.right.transpose(), d.left.transpose()};
        const auto plain = nsvd::pivot(d);
        for (const int left : {-1015, -600, 0, 600, 1015})
            for (const int right : {-1015, -600, 0, 600, 1015}) {
                if (std::abs(left + right) > 1015) continue;  // W′ is out of range itself
                CAPTURE(transposed, left, right);
                const nsvd::low_rank<double> scaled{d.left * std::ldexp(1.0, left),
                                                    d.right * std::ldexp(1.0, right)};
                const auto p = nsvd::pivot(scaled);
                CHECK(p.kept == plain.kept);
                CHECK(p.indices == plain.indices);
                // A power of two rounds nothing.
                const double scale = std::ldexp(1.0, left + right);
                CHECK(p.left == (p.kept == lines::columns ? plain.left * scale : plain.left));
                CHECK(p.right == (p.kept == lines::rows ? plain.right * scale : plain.right));
            }
    }
}

TEST_CASE("pivoted storage: directions of different scales", "[pivoted]") {
    // As after a stage that took columns: the scale of W is in the left factor of one direction, in the right
    // one of another. Found by fuzzing.
    generator g(61);
    const auto d = factors<double>(g, 14, 9, 4);
    const auto plain = nsvd::pivot(d);
    const double scale = std::ldexp(1.0, 1015);
    nsvd::low_rank<double> scaled = d;
    for (const Index i : {0, 2})
        scaled.left.col(i) *= scale;
    for (const Index i : {1, 3})
        scaled.right.row(i) *= scale;
    auto p = nsvd::pivot(scaled);
    CHECK(p.kept == plain.kept);
    CHECK(p.indices == plain.indices);
    if (p.kept == lines::rows)
        p.right /= scale;
    else
        p.left /= scale;
    CHECK((p.left - plain.left).norm() <= 100 * eps<double> * plain.left.norm());
    CHECK((p.right - plain.right).norm() <= 100 * eps<double> * plain.right.norm());
    // Of a direction far below the others nothing is left, and it harms none.
    scaled = d;
    scaled.left.col(1) *= 1e-200;
    scaled.right.row(1) *= 1e-200;
    auto without = d;
    without.left.col(1).setZero();
    CHECK((nsvd::pivot(scaled).dense() - without.dense()).norm() <=
          100 * eps<double> * without.dense().norm());
}

TEST_CASE("pivoted storage: beyond the range of the scalar", "[pivoted]") {
    nsvd::low_rank<float> d{Eigen::Vector3f(1e30F, 0.0F, 2e30F), Eigen::RowVector3f(1e30F, 0.0F, 1.0F)};
    support::expect_error([&] { (void)nsvd::pivot(d); }, {"pivot", "exceed the range", "scale W down"});
    d.left *= 1e-30F;
    CHECK(nsvd::pivot(d).dense().isApprox(d.dense()));
}

TEST_CASE("pivoted storage: dependent factors and zero matrices", "[pivoted]") {
    generator g(5);
    auto d = factors<double>(g, 30, 20, 8);
    d.left.col(7) = d.left.col(0);
    d.right.row(6).setZero();
    CHECK((nsvd::pivot(d).dense() - d.dense()).norm() <= 1e-12 * d.dense().norm());
    CHECK(nsvd::pivot(d).growth() <= 2.0 + 1e-12);
    d.right.setZero();
    CHECK(nsvd::pivot(d).dense().isZero(0.0));
    d.left.setZero();
    CHECK(nsvd::pivot(d).dense().isZero(0.0));
}

TEST_CASE("pivoted storage: a hard case for pivoting", "[pivoted]") {
    // Kahan's matrix: pivoted QR keeps its order, and coefficients grow exponentially.
    const Index k = 60;
    const double s = 0.8;
    const double c = std::sqrt(1.0 - s * s);
    MatrixXd kahan = MatrixXd::Zero(k, k);
    for (Index i = 0; i < k; ++i) {
        kahan(i, i) = std::pow(s, static_cast<double>(i));
        for (Index j = i + 1; j < k; ++j)
            kahan(i, j) = -c * std::pow(s, static_cast<double>(i));
    }
    const nsvd::low_rank<double> d{kahan.transpose().leftCols(k - 1), MatrixXd::Identity(k - 1, k + 3)};
    for (const double growth : {1.05, 2.0}) {
        const auto p = nsvd::pivot(d, growth);
        CHECK(p.growth() <= growth * (1.0 + 1e-9));
        CHECK((p.dense() - d.dense()).norm() <= 1e-12 * d.dense().norm());
    }
}

TEST_CASE("pivoted storage: compression", "[pivoted]") {
    // The ranks of the paper's table (methods.md).
    const std::vector<std::pair<double, Index>> table{{0.1, 2800}, {0.2, 2264}, {0.3, 1852}, {0.5, 1199}};
    for (const auto& [ratio, k] : table)
        CHECK(nsvd::compression{ratio, storage::pivoted}({4096, 4096}) == k);
    CHECK(nsvd::compression{0.0, storage::pivoted}({4096, 11008}) == 4096);
    for (const Index m : {1, 2, 3, 7, 50})
        for (const Index n : {1, 2, 5, 49})
            for (const double ratio : {0.0, 0.1, 0.25, 0.3, 0.5, 0.9}) {
                for (const storage how : {storage::plain, storage::pivoted}) {
                    const nsvd::compression policy{ratio, how};
                    const auto budget = policy.kept({m, n});
                    Index expected = 0;
                    for (Index k = 1; k <= std::min(m, n); ++k)
                        if (nsvd::stored_numbers(how, {m, n}, k) <= budget) expected = k;
                    CAPTURE(m, n, ratio, static_cast<int>(how));
                    if (expected > 0)
                        CHECK(policy({m, n}) == expected);
                    else
                        support::expect_error([&] { (void)policy({m, n}); }, {"leaves rank 0"});
                }
            }
    // At ratio 0 the matrix itself.
    generator g(8);
    const MatrixXd w = g.gaussian(24, 17);
    const auto whole = nsvd::pivot(nsvd::svd(w, nsvd::compression{0.0, storage::pivoted}));
    CHECK(whole.parameters() == w.size());
    CHECK((whole.dense() - w).norm() <= 1e-14 * w.norm());
}

TEST_CASE("pivoted storage: misuse", "[pivoted]") {
    generator g(9);
    const auto d = factors<double>(g, 6, 5, 3);
    support::expect_error([&] { (void)nsvd::pivot(d, 1.0); }, {"pivot", "growth = 1"});
    support::expect_error([&] { (void)nsvd::pivot(d, std::numeric_limits<double>::quiet_NaN()); },
                          {"growth"});
    support::expect_error([&] { (void)nsvd::pivot(factors<double>(g, 6, 2, 3)); }, {"pivot", "6×3", "3×2"});
    auto bad = d;
    bad.left(2, 1) = std::numeric_limits<double>::infinity();
    support::expect_error([&] { (void)nsvd::pivot(bad); }, {"pivot: left(2, 1) = inf"});
    auto p = nsvd::pivot(d);
    p.indices[0] = p.indices[1];
    support::expect_error([&] { (void)p.dense(); }, {"pivoted_low_rank", "indices"});
}

TEST_CASE("pivoted storage: real weights survive float16", "[pivoted]") {
    for (const char* name : {"models/tinylm", "models/stories260K"}) {
        const auto folder = support::shared_folder(name);
        if (folder.empty()) continue;
        const nsvd::safetensors::file file(folder / "model.safetensors");
        int layers = 0;
        for (const std::string& tensor : file.tensors()) {
            if (tensor.find("_proj.weight") == std::string::npos) continue;
            ++layers;
            const Eigen::MatrixXf w = nsvd::safetensors::to_matrix<float>(file.at(tensor));
            for (const double ratio : {0.1, 0.3, 0.5}) {
                CAPTURE(name, tensor, ratio);
                const auto d = nsvd::svd(w, nsvd::compression{ratio, storage::pivoted});
                auto p = nsvd::pivot(d);
                p.left = p.left.cast<Eigen::half>().cast<float>().eval();
                p.right = p.right.cast<Eigen::half>().cast<float>().eval();
                const double truncated = (w - d.dense()).norm();
                CHECK((w - p.dense()).norm() <= 1.01 * truncated);
            }
        }
        CHECK(layers > 0);
    }
}
