// SPDX-License-Identifier: MIT
/// Who finds the leading left singular subspace of a given matrix fastest, and how well?
#include "support/data_folder.hpp"
#include "support/other_solvers.hpp"
#include "support/progress.hpp"
#include "support/published.hpp"
#include "support/row.hpp"

#include <nsvd/nsvd.hpp>

#include <cmath>
#include <filesystem>
#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <optional>
#include <string>

namespace {

using bench::dense;
using bench::Index;

/// The matrix: the weights alone, whose spectrum is flat around the cut, or times the Cholesky factor of a
/// Gram matrix with outlier channels, whose spectrum falls by orders of magnitude.
struct question {
    bench::problem_spec spec;
    bool weighted = false;
    Index k = 0;

    [[nodiscard]] std::string matrix() const {
        return (weighted ? "weighted" : "weights") + std::string("/") + spec.shape();
    }
};

/// The matrix in double, and the least error of each rank.
struct answer {
    explicit answer(const question& q)
        : of(q.matrix()), a(bench::problem_for(q.spec).weights.cast<double>()) {
        if (q.weighted) a = bench::optimum_for(q.spec).weighted(std::move(a));
        bench::note("double-precision reference of " + of);
        leading.emplace(a);
    }

    /// `‖A − Q Qᵀ A‖/‖A‖`: a Q that is not orthonormal pays for it.
    [[nodiscard]] double error(const dense<double>& q) const {
        dense<double> residual = a;
        bench::multiply_into<double>(residual, q, false, bench::multiply<double>(q, true, a, false), false,
                                     -1.0, 1.0);
        return residual.norm() / a.norm();
    }

    [[nodiscard]] double least_error(Index k) {
        if (!known.contains(k)) known[k] = error((*leading)(k));
        return known[k];
    }

    std::string of;
    dense<double> a;
    std::optional<bench::leading_subspace> leading;
    std::map<Index, double> known;
};

answer& answer_for(const question& q) {
    static std::unique_ptr<answer> kept;
    if (!kept || kept->of != q.matrix()) {
        kept.reset();
        kept = std::make_unique<answer>(q);
    }
    return *kept;
}

template <class Scalar>
using solver = std::function<dense<Scalar>(const dense<Scalar>&, Index k)>;

template <class Scalar>
void add(const question& q, const std::string& name, int repetitions, const solver<Scalar>& solve) {
    const std::string prefix = q.matrix() + "/" + bench::scalar_name<Scalar>() + "/";
    bench::add_row(prefix + "k:" + std::to_string(q.k) + "/" + name, repetitions, [=](bench::row& r) {
        answer& reference = answer_for(q);
        const dense<Scalar> a = reference.a.template cast<Scalar>();
        const dense<Scalar> left = r.time([&] { return solve(a, q.k); });
        if (name == "gesdd") bench::recorded(prefix + "gesdd").push_back(r.seconds());
        r.describe<Scalar>(a.rows(), a.cols(), q.k);
        r.rate<Scalar>(bench::published::svd_flops(a.rows(), a.cols()), std::min(a.rows(), a.cols()));
        r.column("k_over_n", static_cast<double>(q.k) / static_cast<double>(std::min(a.rows(), a.cols())));
        const double plain =
            bench::median_of(prefix + "gesdd", 1, [&a] { return [&a] { (void)bench::gesdd<Scalar>(a); }; });
        r.column("times_plain_svd", r.seconds() / plain);
        const double error = reference.error(left.template cast<double>());
        // The matrix is what the solver is given: plain for weights, weighted for weights times a factor.
        r.column(q.weighted ? "weighted_error" : "plain_error", error);
        r.column(q.weighted ? "weighted_over_optimum" : "plain_over_optimum",
                 error / reference.least_error(q.k));
        r.text("solver", name);
    });
}

/// `syevr` of the Gram matrix of the smaller side, in the precision of the matrix.
template <class Scalar>
dense<Scalar> by_gram(const dense<Scalar>& a, Index k) {
    const bool tall = a.rows() > a.cols();
    const Index s = std::min(a.rows(), a.cols());
    dense<Scalar> gram(s, s);
    bench::syrk_into<Scalar>(gram, a, tall);
    dense<Scalar> vectors = bench::syevr<Scalar>(std::move(gram), k).vectors;
    if (!tall) return vectors;
    vectors = bench::multiply<Scalar>(a, false, vectors, false);
    vectors.colwise().normalize();
    return vectors;
}

/// `small`: also those that take minutes for a large matrix.
template <class Scalar>
void add_solvers(const question& q, bool small) {
    const int others = small ? 3 : 1;
    add<Scalar>(q, "gesdd", others, [](const auto& a, Index k) -> dense<Scalar> {
        return bench::gesdd<Scalar>(a).left.leftCols(k);
    });
    add<Scalar>(q, "syevr", others, by_gram<Scalar>);
    const std::pair<const char*, nsvd::accuracy> levels[] = {{"nsvd:exact", nsvd::accuracy::exact},
                                                             {"nsvd:balanced", nsvd::accuracy::balanced},
                                                             {"nsvd:fast", nsvd::accuracy::fast}};
    for (const auto& [name, accuracy] : levels)
        add<Scalar>(q, name, 3, [accuracy = accuracy](const auto& a, Index k) -> dense<Scalar> {
            return nsvd::svd(a, nsvd::rank{k}, {.accuracy = accuracy}).left;
        });
    if (!small) return;
    add<Scalar>(q, "gesvdx", 1, bench::gesvdx_left<Scalar>);
    add<Scalar>(q, "eigen:bdcsvd", 1, bench::eigen_bdcsvd_left<Scalar>);
#if defined(BENCH_SPECTRA)
    if (q.k <= std::min(q.spec.rows, q.spec.cols) / 10)
        add<Scalar>(q, "spectra", 1, bench::spectra_left<Scalar>);
#endif
#if defined(BENCH_ARMADILLO)
    add<Scalar>(q, "armadillo", 3, bench::armadillo_left<Scalar>);
#endif
}

void add_matrix(Index rows, Index cols, bool weighted, bool small, bool with_double,
                std::initializer_list<double> parts = {0.05, 0.35}) {
    const auto s = static_cast<double>(std::min(rows, cols));
    for (const double part : parts) {
        const question q{{rows, cols, 1000.0}, weighted, std::lround(part * s)};
        add_solvers<float>(q, small);
        if (with_double) add_solvers<double>(q, small);
    }
}

/// The matrices for torch_svd.py, as it is to solve the same problems.
void write_matrices(const std::filesystem::path& folder) {
    std::filesystem::create_directories(folder);
    for (const bool weighted : {false, true}) {
        const question q{{1024, 1024, 1000.0}, weighted, 0};
        const dense<double> a = answer_for(q).a;
        const std::string kind = weighted ? "weighted" : "weights";
        bench::write_npy<float>(folder / (kind + "_float.npy"), a.cast<float>());
        bench::write_npy<double>(folder / (kind + "_double.npy"), a);
    }
}

}  // namespace

void bench::register_benchmarks(const options& o) {
    if (!o.matrices.empty()) write_matrices(o.matrices);
    add_matrix(512, 512, false, true, true);
    add_matrix(1024, 1024, true, true, o.full);
    if (!o.full) return;
    add_matrix(2048, 1024, false, true, false);
    add_matrix(1024, 2048, false, true, false);
    add_matrix(4096, 4096, false, false, false);
    add_matrix(4096, 4096, true, false, false, {0.35});
}
