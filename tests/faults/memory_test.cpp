// SPDX-License-Identifier: MIT
// Every allocation made to fail. A call throws std::bad_alloc and leaves what it was given as it was, or does
// what it does with all the memory there is; with the address sanitizer, nothing leaks.
#include "memory_faults.hpp"
#include "support/catch.hpp"
#include "support/random.hpp"
#include "support/scratch_folder.hpp"

#include <nsvd/ext/calibration_file.hpp>
#include <nsvd/ext/checksum.hpp>
#include <nsvd/nsvd.hpp>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <functional>
#include <memory>
#include <new>
#include <string>
#include <vector>

namespace {

using Eigen::Index;
using Eigen::MatrixXd;
using support::memory_faults;

/// Runs `call` with one allocation after the other failing, alone and with all that follow, until none does.
/// `check(thrown)` says whether all is well afterwards, `prepare` makes what a call changes anew. Of many
/// allocations some `most`, evenly spread.
void fail_in_turn(const std::string& name, const std::function<void()>& prepare,
                  const std::function<void()>& call, const std::function<bool(bool thrown)>& check,
                  long most = 400) {
    INFO(name);
    prepare();
    long total = 0;
    {
        const memory_faults counted(-1);
        call();
        total = counted.allocations();
    }
    REQUIRE(check(false));
    REQUIRE(total > 0);
    const long stride = std::max(1L, total / most);
    long failed = 0;
    long bad = 0;
    std::string first;
    for (long i = 0; i < total; i += stride)
        for (const auto which : {memory_faults::which::this_one, memory_faults::which::from_this_one_on}) {
            prepare();
            bool thrown = false;
            std::string other;
            {
                const memory_faults faults(i, which);
                try {
                    call();
                } catch (const std::bad_alloc&) {
                    thrown = true;
                } catch (const std::exception& e) {
                    const memory_faults enough(-1);
                    other = e.what();
                }
                failed += faults.any_failed() ? 1 : 0;
            }
            if (!other.empty() || !check(thrown)) {
                ++bad;
                if (first.empty())
                    first = std::to_string(i) + " of " + std::to_string(total) + ": " +
                            (thrown          ? "thrown, and then wrong"
                             : other.empty() ? "wrong"
                                             : other);
            }
        }
    INFO(first);
    CHECK(bad == 0);
    CHECK(failed > 0);
}

/// For calls that change nothing: `make` gives numbers, the same ones in spite of everything.
void fail_in_turn(const std::string& name, const std::function<MatrixXd()>& make, long most = 400) {
    MatrixXd right;
    MatrixXd found;
    right = make();
    fail_in_turn(
        name, [] {},
        [&] {
            MatrixXd result = make();
            found.swap(result);
        },
        [&](bool thrown) {
            const bool good = thrown || (found.rows() == right.rows() && found.cols() == right.cols() &&
                                         (found.array() == right.array()).all());
            found.resize(0, 0);
            return good;
        },
        most);
}

template <class Scalar>
MatrixXd numbers_of(const nsvd::low_rank<Scalar>& d) {
    MatrixXd all(d.rows() + d.cols(), d.rank());
    all << d.left.template cast<double>(), d.right.transpose().template cast<double>();
    return all;
}

bool same(const MatrixXd& a, const MatrixXd& b) {
    return a.rows() == b.rows() && a.cols() == b.cols() &&
           (a.size() == 0 ||
            std::memcmp(a.data(), b.data(), static_cast<std::size_t>(a.size()) * sizeof(double)) == 0);
}
bool same(const nsvd::calibration_state& a, const nsvd::calibration_state& b) {
    const MatrixXd left = a.gram.triangularView<Eigen::Lower>();
    const MatrixXd right = b.gram.triangularView<Eigen::Lower>();
    return same(left, right) && same(a.sum, b.sum) && same(a.sum_abs, b.sum_abs) &&
           same(a.max_abs, b.max_abs) && a.tokens == b.tokens && a.weight == b.weight && a.about == b.about &&
           same(a.cross, b.cross) && same(a.sum_original, b.sum_original);
}

using calibration = nsvd::calibration<double>;

/// `change` of a calibration that was `before`: as it was, and good for another try, where it throws.
void fail_change(const std::string& name, const calibration& before,
                 const std::function<void(calibration&)>& change) {
    calibration expected = before;
    change(expected);
    std::unique_ptr<calibration> now;
    fail_in_turn(
        name, [&] { now = std::make_unique<calibration>(before); }, [&] { change(*now); },
        [&](bool thrown) {
            if (!thrown) return same(now->state(), expected.state());
            if (!same(now->state(), before.state())) return false;
            change(*now);
            return same(now->state(), expected.state()) && (now->mean() == expected.mean());
        });
}

constexpr Index n = 70;  // beyond where recursions of the Eigen backend end

MatrixXd inputs(Index tokens, std::uint64_t seed) {
    return (support::gaussian(n, tokens, seed).array() + 0.5).matrix();
}

}  // namespace

TEST_CASE("memory fails: a calibration is as it was", "[faults][memory]") {
    const MatrixXd x = inputs(600, 1);  // more than a block
    const MatrixXd y = inputs(30, 2);
    const MatrixXd partner = x + 0.1 * inputs(600, 3);
    std::vector<double> weights(600, 1.0);
    weights[3] = 0.0;
    weights[5] = 2.5;
    for (const auto about : {nsvd::moments::raw, nsvd::moments::central})
        for (const bool pairs : {false, true}) {
            INFO((about == nsvd::moments::raw ? "raw" : "central") << (pairs ? " pairs" : ""));
            const auto add = [&](calibration& c) {
                if (pairs)
                    c.update(partner, x, weights);
                else
                    c.update(x, weights);
            };
            const calibration empty(n, about);
            calibration some = empty;
            if (pairs)
                some.update(y, MatrixXd(y + y));
            else
                some.update(y);
            calibration other = empty;
            add(other);
            fail_change("update of an empty one", empty, add);
            fail_change("update", some, add);
            fail_change("merge into an empty one", empty, [&](calibration& c) { c.merge(other); });
            fail_change("merge", some, [&](calibration& c) { c.merge(other); });
        }
}

TEMPLATE_TEST_CASE("memory fails: decompositions", "[faults][memory]", float, double) {
    using matrix = Eigen::Matrix<TestType, Eigen::Dynamic, Eigen::Dynamic>;
    const matrix w = support::gaussian(24, 30, 1).cast<TestType>();
    nsvd::calibration<TestType> calib(30);
    nsvd::calibration<TestType> other(30);
    calib.update(matrix(support::gaussian(30, 60, 2).cast<TestType>()));
    other.update(matrix(support::gaussian(30, 50, 3).cast<TestType>()));
    const nsvd::rank rank{8};
    const auto d = nsvd::asvd(w, calib, rank);
    fail_in_turn("svd", [&] { return numbers_of(nsvd::svd(w, rank)); });
    fail_in_turn("asvd-0", [&] {
        return numbers_of(nsvd::asvd(w, calib, rank, {.whitening = nsvd::whitening::diagonal}));
    });
    fail_in_turn("asvd-1", [&] { return numbers_of(nsvd::asvd(w, calib, nsvd::energy{0.9})); });
    fail_in_turn("asvd-2", [&] {
        return numbers_of(nsvd::asvd(w, calib, rank, {.whitening = nsvd::whitening::eigen}));
    });
    fail_in_turn("nested", [&] { return numbers_of(nsvd::nested(w, calib, rank, {.share = 0.7})); });
    fail_in_turn("nested, interpolative", [&] {
        return numbers_of(
            nsvd::nested(w, calib, rank, {.share = 0.7, .residual = nsvd::residual::interpolative}));
    });
    fail_in_turn("decompose", [&] {
        return numbers_of(nsvd::decompose(
            w, {{nsvd::gram_metric(calib), 0.5}, {nsvd::diagonal_metric(calib), 0.3}, {nsvd::metric(), 0.2}},
            nsvd::rank{20}));
    });
    fail_in_turn("every_rank", [&] {
        const nsvd::every_rank<TestType> all(w, nsvd::gram_metric(calib));
        return numbers_of(all.take(9, 0.7));
    });
    fail_in_turn("held_out_losses", [&] {
        const std::vector<nsvd::tuning> grid{{}, {.share = 0.8}};
        const auto losses = nsvd::held_out_losses(w, calib, other, 8, grid);
        return MatrixXd(Eigen::Map<const Eigen::VectorXd>(losses.data(), 2));
    });
    fail_in_turn("truncate", [&] { return numbers_of(d.truncate(5)); });
    fail_in_turn("pivot", [&] { return numbers_of(nsvd::pivot(d).plain()); });
    fail_in_turn("interpolative", [&] { return nsvd::interpolative(w, rank).coefficients; });
    fail_in_turn("joint", [&] {
        const std::vector<nsvd::index> heights{24, 24};
        return numbers_of(nsvd::split_rows(nsvd::svd(nsvd::stack_rows(w, w), rank), heights)[1]);
    });
    fail_in_turn("errors, bias, similarity", [&] {
        const double weighted = nsvd::weighted_error(w, d, calib);
        const double plain = nsvd::plain_error(w, d);
        const Eigen::VectorXd bias = nsvd::bias_correction(w, d, calib);
        MatrixXd all(26, 1);
        all << weighted, plain, bias;
        return MatrixXd(all * nsvd::similarity(calib, other, 3).principal_cosines.transpose());
    });
}

TEST_CASE("memory fails: anchored regression and whitening", "[faults][memory]") {
    const MatrixXd w = support::gaussian(20, 24, 1);
    const MatrixXd a = support::gaussian(24, 15, 2);  // fewer tokens than channels
    calibration calib(24);
    calib.update(a, MatrixXd(a + 0.1 * support::gaussian(24, 15, 3)));
    const MatrixXd gram = calib.gram();
    fail_in_turn("anchored", [&] {
        return numbers_of(nsvd::anchored(w, calib, nsvd::rank{6}, {.epsilon = 0.0, .share = 0.7}));
    });
    fail_in_turn("cholesky_factor", [&] { return nsvd::cholesky_factor(gram).dense(); });
    fail_in_turn("eigen_factor", [&] { return nsvd::eigen_factor(gram).dense(); });
    // A factor that is made at its first use can be made at the second.
    std::unique_ptr<nsvd::metric> metric;
    fail_in_turn(
        "metric::factor", [&] { metric = std::make_unique<nsvd::metric>(nsvd::gram_metric(calib)); },
        [&] { (void)metric->factor(); },
        [&](bool) { return same(metric->factor().basis, nsvd::eigen_factor(gram).basis); });
}

TEST_CASE("memory fails: single precision, and a workspace for several calls", "[faults][memory]") {
    const Eigen::MatrixXf w =
        (support::gaussian(520, 530, 1) * support::geometric(530, 1.0, 0.99).asDiagonal()).cast<float>();
    nsvd::calibration<float> calib(530);
    calib.update(Eigen::MatrixXf(support::gaussian(530, 600, 2).cast<float>()));
    nsvd::workspace pool;
    const auto decompose = [&] {
        return numbers_of(nsvd::nested(w, calib, nsvd::rank{10}, {.share = 0.7, .workspace = &pool}));
    };
    fail_in_turn("with a workspace", decompose, 20);
    // What it holds grows for a larger matrix.
    std::unique_ptr<nsvd::workspace> small;
    const Eigen::MatrixXf tall = w.topRows(515);
    MatrixXd found;
    fail_in_turn(
        "a workspace that grows",
        [&] {
            small = std::make_unique<nsvd::workspace>();
            (void)nsvd::svd(tall, nsvd::rank{5}, {.workspace = small.get()});
        },
        [&] {
            MatrixXd result = numbers_of(nsvd::svd(w, nsvd::rank{10}, {.workspace = small.get()}));
            found.swap(result);
        },
        [&](bool thrown) {
            static const MatrixXd right = numbers_of(nsvd::svd(w, nsvd::rank{10}));
            return same(thrown ? numbers_of(nsvd::svd(w, nsvd::rank{10}, {.workspace = small.get()})) : found,
                        right);
        },
        20);
}

TEST_CASE("memory fails: files are complete or not there", "[faults][memory]") {
    const support::scratch_folder folder;
    const auto path = folder / "a.safetensors";
    calibration calib(5, nsvd::moments::central);
    const MatrixXd a = support::gaussian(5, 30, 1);
    calib.update(a, MatrixXd(a + a));
    calibration older(5);
    older.update(a);
    nsvd::save_calibration(path, older);
    fail_in_turn(
        "save_calibration", [&] { nsvd::save_calibration(path, older); },
        [&] { nsvd::save_calibration(path, calib); },
        [&](bool thrown) {
            const auto there = nsvd::load_calibration<double>(path);
            // Where what fails comes after the rename the new one is there.
            return folder.entries() == 1 &&
                   (same(there.state(), calib.state()) || (thrown && same(there.state(), older.state())));
        });
    const std::vector<nsvd::safetensors::tensor> tensors{
        nsvd::safetensors::from_matrix("x", nsvd::safetensors::dtype::F32, a)};
    const auto sealed = folder / "b.safetensors";
    fail_in_turn(
        "write", [&] { std::filesystem::remove(sealed); },
        [&] {
            nsvd::safetensors::write(sealed, tensors, nsvd::safetensors::sealed(tensors, {{"k", "v"}}));
        },
        [&](bool thrown) {
            if (thrown && !std::filesystem::exists(sealed)) return folder.entries() == 1;
            nsvd::safetensors::check_seal(nsvd::safetensors::file(sealed), "remove it");
            return folder.entries() == 2;
        });
    // Reading is left out: nlohmann's json asks for memory where it is destroyed, which ends the program.
}
