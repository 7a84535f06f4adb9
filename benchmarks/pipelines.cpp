// SPDX-License-Identifier: MIT
/// How long does it take to decompose a layer, next to the published pipeline, and with what error?
#include "support/data_folder.hpp"
#include "support/peak_memory.hpp"
#include "support/published.hpp"
#include "support/row.hpp"

#include <nsvd/nsvd.hpp>

#include <cmath>
#include <string>
#include <utility>
#include <vector>

namespace {

using bench::dense;
using bench::Index;

constexpr double share = 0.95;  ///< of the first stage: the default of nsvd::nested

enum class method { svd, asvd, nested };

struct layer {
    bench::problem_spec spec;
    method by = method::nested;
    double compression = 0.3;
    bool published = true;  ///< whether the published pipeline runs too
    bool reference = true;  ///< whether errors are compared with the optimum

    [[nodiscard]] Index rank() const { return nsvd::compression{compression}({spec.rows, spec.cols}); }

    /// "NSVD/float/4096x4096/outliers:1000/compression:30".
    template <class Scalar>
    [[nodiscard]] std::string name() const {
        const char* const names[] = {"SVD", "ASVD-I", "NSVD-I"};
        return std::string(names[static_cast<int>(by)]) + "/" + bench::scalar_name<Scalar>() + "/" +
               spec.name() + "/compression:" + std::to_string(std::lround(compression * 100));
    }

    [[nodiscard]] bench::errors best() const {
        bench::optimum& optimum = bench::optimum_for(spec);
        if (by == method::svd) return optimum.svd(rank());
        if (by == method::asvd) return optimum.asvd(rank());
        return optimum.nested(rank(), share);
    }

    /// Of the published pipeline, for both sides.
    [[nodiscard]] double flops() const {
        if (by == method::svd) return bench::published::svd_flops(spec.rows, spec.cols);
        if (by == method::asvd) return bench::published::asvd_flops(spec.rows, spec.cols, rank());
        return bench::published::nested_flops(spec.rows, spec.cols, rank());
    }
};

template <class Scalar>
dense<Scalar> weights(const layer& l) {
    return bench::problem_for(l.spec).weights.template cast<Scalar>();
}

/// The Gram matrix in the precision of the weights; plain SVD has no use for it.
template <class Scalar>
dense<Scalar> gram(const layer& l) {
    if (l.by == method::svd) return {};
    return bench::problem_for(l.spec).calib.gram().template cast<Scalar>();
}

template <class Scalar>
bench::published::factors<Scalar> run_published(const layer& l, const dense<Scalar>& w,
                                                const dense<Scalar>& c) {
    if (l.by == method::svd) return bench::published::svd(w, l.rank());
    if (l.by == method::asvd) return bench::published::asvd(w, c, l.rank());
    return bench::published::nested(w, c, l.rank(), share);
}

template <class Scalar>
nsvd::low_rank<Scalar> run_ours(const layer& l, const dense<Scalar>& w, nsvd::accuracy accuracy) {
    const nsvd::compression policy{l.compression};
    const auto& calib = bench::problem_for(l.spec).calib;
    if (l.by == method::svd) return nsvd::svd(w, policy, {.accuracy = accuracy});
    if (l.by == method::asvd) return nsvd::asvd(w, calib, policy, {.accuracy = accuracy});
    return nsvd::nested(w, calib, policy, {.accuracy = accuracy});
}

/// One `gesdd` takes as long for any matrix of a shape, whatever is kept of it: all rows share its time.
template <class Scalar>
std::string plain_key(const layer& l) {
    return std::string("plain/") + bench::scalar_name<Scalar>() + "/" + l.spec.shape();
}

template <class Scalar>
double published_seconds(const layer& l) {
    return bench::median_of(l.name<Scalar>() + "/published", 1, [&l] {
        return [&l, w = weights<Scalar>(l), c = gram<Scalar>(l)] { (void)run_published<Scalar>(l, w, c); };
    });
}

template <class Scalar>
double plain_seconds(const layer& l) {
    return bench::median_of(plain_key<Scalar>(l), 1, [&l] {
        return [w = weights<Scalar>(l)] { (void)bench::published::svd<Scalar>(w, 1); };
    });
}

template <class Scalar>
void add_columns(bench::row& r, const layer& l) {
    r.describe<Scalar>(l.spec.rows, l.spec.cols, l.rank());
    r.rate<Scalar>(l.flops(), std::min(l.spec.rows, l.spec.cols));
    r.column("compression", l.compression);
    r.column("outliers", l.spec.outliers);
    if (l.published) {
        r.column("times_plain_svd", r.seconds() / plain_seconds<Scalar>(l));
        r.column("published_over_this", published_seconds<Scalar>(l) / r.seconds());
    }
}

template <class Scalar>
void add_errors(bench::row& r, const layer& l, const dense<Scalar>& left, const dense<Scalar>& right) {
    if (l.reference) r.accuracy(bench::optimum_for(l.spec).of(left, right), l.best());
}

template <class Scalar>
void add_published(const layer& l) {
    const Index s = std::min(l.spec.rows, l.spec.cols);
    const int repetitions = s <= 1024 ? 3 : s <= 2048 ? 2 : 1;
    bench::add_row(l.name<Scalar>() + "/published", repetitions, [l](bench::row& r) {
        const dense<Scalar> w = weights<Scalar>(l);
        const dense<Scalar> c = gram<Scalar>(l);
        const auto d = r.time([&] { return run_published<Scalar>(l, w, c); });
        if (l.by == method::svd) bench::recorded(plain_key<Scalar>(l)).push_back(r.seconds());
        add_columns<Scalar>(r, l);
        add_errors<Scalar>(r, l, d.left, d.right);
        r.text("solver", d.ridge ? "gesdd, ridge on the Gram matrix" : "gesdd");
    });
}

template <class Scalar>
void add_ours(const layer& l, nsvd::accuracy accuracy = nsvd::accuracy::balanced) {
    const char* const names[] = {"exact", "balanced", "fast"};
    const std::string level = names[static_cast<int>(accuracy)];
    const int repetitions = l.spec.rows * l.spec.cols <= 4096 * 11008 ? 3 : 1;
    bench::add_row(l.name<Scalar>() + "/ours:" + level, repetitions, [l, accuracy, level](bench::row& r) {
        const dense<Scalar> w = weights<Scalar>(l);
        const bench::peak_memory memory;
        const nsvd::low_rank<Scalar> d = r.time([&] { return run_ours<Scalar>(l, w, accuracy); });
        r.column("peak_bytes", memory.bytes());
        add_columns<Scalar>(r, l);
        add_errors<Scalar>(r, l, d.left, d.right);
        r.column("gap", d.info.gap);
        r.column("certified", d.info.certified ? 1 : 0);
        r.text("accuracy", level);
        std::string solvers;
        for (const nsvd::stage_info& s : d.info.stages)
            solvers += (solvers.empty() ? "" : ", ") + s.solver;
        r.text("solver", solvers);
    });
}

/// Published and ours by default options, one after the other.
template <class Scalar>
void add_both(const layer& l) {
    if (l.published) add_published<Scalar>(l);
    add_ours<Scalar>(l);
}

template <class Scalar>
void add_all_methods(const bench::problem_spec& spec) {
    add_both<Scalar>({spec, method::svd});
    add_both<Scalar>({spec, method::asvd});
    add_ours<Scalar>({spec, method::asvd}, nsvd::accuracy::exact);
    add_ours<Scalar>({spec, method::asvd}, nsvd::accuracy::fast);
    add_both<Scalar>({spec, method::nested});
}

/// The linear layers of one transformer block: the median of each shape times how often it occurs.
void add_block(const std::string& model, const std::vector<std::pair<int, layer>>& layers) {
    bench::add_row("block/" + model + "/NSVD-I/float/compression:30", 1, [layers](bench::row& r) {
        double ours = 0.0;
        double published = 0.0;
        std::string shapes;
        for (const auto& [count, l] : layers) {
            ours += count * bench::median_of(l.name<float>() + "/ours:balanced", 3, [&layer = l] {
                        return [&layer, w = weights<float>(layer)] {
                            (void)run_ours<float>(layer, w, nsvd::accuracy::balanced);
                        };
                    });
            if (l.published) published += count * published_seconds<float>(l);
            shapes += (shapes.empty() ? "" : " + ") + std::to_string(count) + "×" + l.spec.shape();
        }
        r.set_seconds(ours);
        r.column("compression", layers.front().second.compression);
        r.column("blas_threads", bench::blas_threads());
        if (published > 0.0) r.column("published_over_this", published / ours);
        r.text("scalar", "float");
        r.text("blas", bench::blas_name());
        r.text("solver", "sum of " + shapes);
    });
}

constexpr double outliers = 1000.0;

void add_quick() {
    add_all_methods<float>({512, 512, outliers});
    add_all_methods<double>({512, 512, outliers});
    add_all_methods<float>({1024, 1024, outliers});
    add_both<double>({{1024, 1024, outliers}});
    add_both<float>({{1024, 1024, outliers}, method::nested, 0.9});
    for (const double other : {0.0, 20.0, 100.0})
        add_both<float>({{1024, 1024, other}});
    add_both<float>({{2560, 1024, outliers}});
    add_both<float>({{1024, 2560, outliers}});
    add_both<float>({{2048, 2048, outliers}});
}

void add_full() {
    add_all_methods<float>({1024, 1024, outliers});
    add_both<double>({{1024, 1024, outliers}});

    const layer square{{4096, 4096, outliers}};
    const layer tall{{11008, 4096, outliers}};
    const layer wide{{4096, 11008, outliers}};
    add_all_methods<float>(square.spec);
    add_both<float>({square.spec, method::nested, 0.9});
    add_both<double>({square.spec, method::svd});
    add_both<double>(square);
    add_both<float>({{4096, 4096}});
    add_both<float>({{4096, 4096}, method::nested, 0.9});
    add_both<float>(tall);
    add_both<float>(wide);
    add_block("llama-7b", {{4, square}, {2, tall}, {1, wide}});

    // Too large for the published pipeline or the reference in the time there is: ours alone.
    const layer grouped{{1024, 4096, outliers}, method::nested, 0.3, false};
    const layer up{{14336, 4096, outliers}, method::nested, 0.3, false, false};
    const layer down{{4096, 14336, outliers}, method::nested, 0.3, false, false};
    const layer huge{{8192, 8192, outliers}, method::nested, 0.3, false, false};
    layer square_alone = square;
    square_alone.published = false;
    for (const layer& l : {grouped, up, down})
        add_both<float>(l);
    add_block("llama-3-8b", {{2, square_alone}, {2, grouped}, {2, up}, {1, down}});
    add_both<float>(huge);
}

}  // namespace

void bench::register_benchmarks(const options& o) {
    if (!o.data.empty()) {
        for (const problem_spec& spec : problems_in(o.data))
            add_both<float>({spec});
        return;
    }
    if (o.full)
        add_full();
    else
        add_quick();
}
