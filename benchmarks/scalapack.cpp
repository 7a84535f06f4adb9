// SPDX-License-Identifier: MIT
// What does ScaLAPACK take for the eigenproblem that a decomposition comes down to, next to LAPACK and nsvd?
//
//   scalapack [n = 1024] [repetitions = 3]            one process: LAPACK, nsvd and ScaLAPACK
//   mpirun -n 2 scalapack [n] [repetitions]           the same over two: ScaLAPACK only
//
// The matrix is W Wᵀ for an n×n W with a decaying and a flat part of the spectrum; the leading 0.35 n
// eigenvectors are wanted. Threads are those of the BLAS (OPENBLAS_NUM_THREADS), of each process. nsvd starts
// from W, so that its time has the product W Wᵀ in it. `excess` is the squared error ‖W − Q Qᵀ W‖² over the
// smallest, less 1.
#include <nsvd/nsvd.hpp>

#include <Eigen/Core>
#include <lapacke.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <mpi.h>
#include <optional>
#include <random>
#include <vector>

extern "C" {
void Cblacs_get(int context, int what, int* value);
void Cblacs_gridinit(int* context, const char* order, int rows, int cols);
void Cblacs_gridinfo(int context, int* rows, int* cols, int* row, int* col);
void Cblacs_gridexit(int context);
int numroc_(const int* n, const int* nb, const int* process, const int* first, const int* processes);
void descinit_(int* desc, const int* m, const int* n, const int* mb, const int* nb, const int* row,
               const int* col, const int* context, const int* lld, int* info);
void Cpdgemr2d(int m, int n, const double* a, int ia, int ja, const int* desc_a, double* b, int ib, int jb,
               const int* desc_b, int context);
void pdsyevr_(const char* jobz, const char* range, const char* uplo, const int* n, double* a, const int* ia,
              const int* ja, const int* desc_a, const double* vl, const double* vu, const int* il,
              const int* iu, int* m, int* nz, double* w, double* z, const int* iz, const int* jz,
              const int* desc_z, double* work, const int* lwork, int* iwork, const int* liwork, int* info);
void pdsyevd_(const char* jobz, const char* uplo, const int* n, double* a, const int* ia, const int* ja,
              const int* desc_a, double* w, double* z, const int* iz, const int* jz, const int* desc_z,
              double* work, const int* lwork, int* iwork, const int* liwork, int* info);
}

namespace {

constexpr int one = 1;
constexpr int zero = 0;

/// Distributed over a grid of processes in blocks of 64.
struct distributed {
    distributed(int n, int context) {
        constexpr int block = 64;
        int rows = 0, cols = 0, row = 0, col = 0, info = 0;
        Cblacs_gridinfo(context, &rows, &cols, &row, &col);
        const int local_rows = std::max(1, numroc_(&n, &block, &row, &zero, &rows));
        const int local_cols = std::max(1, numroc_(&n, &block, &col, &zero, &cols));
        descinit_(desc, &n, &n, &block, &block, &zero, &zero, &context, &local_rows, &info);
        values.resize(static_cast<std::size_t>(local_rows) * static_cast<std::size_t>(local_cols));
    }
    int desc[9]{};
    std::vector<double> values;
};

/// W of which singular value i is 8/√i + 1 in a random basis that costs little: products of reflectors.
Eigen::MatrixXd weights(Eigen::Index n) {
    std::mt19937_64 engine(1);
    std::normal_distribution<double> normal;
    Eigen::MatrixXd w = Eigen::MatrixXd::Zero(n, n);
    for (Eigen::Index i = 0; i < n; ++i)
        w(i, i) = 8.0 / std::sqrt(static_cast<double>(i + 1)) + 1.0;
    for (int round = 0; round < 8; ++round) {
        const Eigen::VectorXd u =
            Eigen::VectorXd::NullaryExpr(n, [&] { return normal(engine); }).normalized();
        const Eigen::VectorXd v =
            Eigen::VectorXd::NullaryExpr(n, [&] { return normal(engine); }).normalized();
        w -= 2.0 * u * (u.transpose() * w);
        w -= 2.0 * (w * v) * v.transpose();
    }
    return w;
}

}  // namespace

int main(int argc, char** argv) {
    MPI_Init(&argc, &argv);
    int processes = 1, process = 0;
    MPI_Comm_size(MPI_COMM_WORLD, &processes);
    MPI_Comm_rank(MPI_COMM_WORLD, &process);
    const int n = argc > 1 ? std::atoi(argv[1]) : 1024;
    const int repetitions = argc > 2 ? std::atoi(argv[2]) : 3;
    const int k = 35 * n / 100;
    int status = 0;

    const Eigen::MatrixXd w = process == 0 ? weights(n) : Eigen::MatrixXd();
    Eigen::MatrixXd a(w.rows(), w.cols());
    if (process == 0) a.noalias() = w * w.transpose();
    double optimum = 0.0;
    for (int i = k; i < n; ++i)
        optimum += std::pow(8.0 / std::sqrt(i + 1.0) + 1.0, 2);
    const auto report = [&](const char* name, const std::function<void()>& prepare,
                            const std::function<Eigen::MatrixXd()>& run) {
        std::vector<double> seconds;
        Eigen::MatrixXd q;
        for (int i = 0; i < repetitions; ++i) {
            prepare();
            MPI_Barrier(MPI_COMM_WORLD);
            const double start = MPI_Wtime();
            q = run();
            MPI_Barrier(MPI_COMM_WORLD);
            seconds.push_back(MPI_Wtime() - start);
        }
        if (process != 0) return;
        std::nth_element(seconds.begin(), seconds.begin() + repetitions / 2, seconds.end());
        const double excess = (w - q * (q.transpose() * w)).squaredNorm() / optimum - 1.0;
        std::printf("%-28s n = %d, k = %d, %d process(es): median %8.3f s, excess %.1e\n", name, n, k,
                    processes, seconds[static_cast<std::size_t>(repetitions / 2)], excess);
        if (!(std::abs(excess) < 1e-3)) status = 1;
    };

    if (processes == 1) {
        Eigen::MatrixXd copy;
        report(
            "LAPACK dsyevr", [&] { copy = a; },
            [&] {
                Eigen::MatrixXd z(n, k);
                Eigen::VectorXd values(n);
                std::vector<lapack_int> support(static_cast<std::size_t>(2 * n));
                lapack_int found = 0;
                LAPACKE_dsyevr(LAPACK_COL_MAJOR, 'V', 'I', 'L', n, copy.data(), n, 0.0, 0.0, n - k + 1, n,
                               0.0, &found, values.data(), z.data(), n, support.data());
                return z;
            });
        for (const auto level : {nsvd::accuracy::exact, nsvd::accuracy::balanced})
            report(
                level == nsvd::accuracy::exact ? "nsvd exact" : "nsvd balanced", [] {},
                [&]() -> Eigen::MatrixXd { return nsvd::svd(w, nsvd::rank{k}, {.accuracy = level}).left; });
    }

    int grid[2] = {0, 0};
    MPI_Dims_create(processes, 2, grid);
    int context = 0, alone = 0;
    Cblacs_get(-1, 0, &context);
    Cblacs_gridinit(&context, "R", grid[0], grid[1]);
    Cblacs_get(-1, 0, &alone);
    Cblacs_gridinit(&alone, "R", 1, 1);  // of the first process; the others get −1
    {
        distributed matrix(n, context), vectors(n, context);
        int desc[9] = {1, -1, n, n, n, n, 0, 0, n};
        if (process == 0) desc[1] = alone;
        const auto scatter = [&] {
            Cpdgemr2d(n, n, a.data(), 1, 1, desc, matrix.values.data(), 1, 1, matrix.desc, context);
        };
        const auto gather = [&](int first) {
            Eigen::MatrixXd q(process == 0 ? n : 0, process == 0 ? k : 0);
            Cpdgemr2d(n, k, vectors.values.data(), 1, first, vectors.desc, q.data(), 1, 1, desc, context);
            return q;
        };
        std::vector<double> values(static_cast<std::size_t>(n));
        // A call for the sizes, then the call itself.
        const auto twice = [&](const auto& call) {
            std::vector<double> work(3);
            std::vector<int> iwork(1);
            int info = 0;
            call(work.data(), -1, iwork.data(), -1, info);
            work.resize(static_cast<std::size_t>(work[0]));
            iwork.resize(static_cast<std::size_t>(iwork[0]));
            call(work.data(), static_cast<int>(work.size()), iwork.data(), static_cast<int>(iwork.size()),
                 info);
            if (info != 0) std::printf("info = %d\n", info), status = 1;
        };
        report("ScaLAPACK pdsyevr", scatter, [&] {
            const int first = n - k + 1;
            const double unused = 0.0;
            int found = 0, computed = 0;
            twice([&](double* work, int lwork, int* iwork, int liwork, int& info) {
                pdsyevr_("V", "I", "L", &n, matrix.values.data(), &one, &one, matrix.desc, &unused, &unused,
                         &first, &n, &found, &computed, values.data(), vectors.values.data(), &one, &one,
                         vectors.desc, work, &lwork, iwork, &liwork, &info);
            });
            return gather(1);
        });
        report("ScaLAPACK pdsyevd", scatter, [&] {
            twice([&](double* work, int lwork, int* iwork, int liwork, int& info) {
                pdsyevd_("V", "L", &n, matrix.values.data(), &one, &one, matrix.desc, values.data(),
                         vectors.values.data(), &one, &one, vectors.desc, work, &lwork, iwork, &liwork,
                         &info);
            });
            return gather(n - k + 1);
        });
    }
    Cblacs_gridexit(context);
    if (process == 0) Cblacs_gridexit(alone);
    MPI_Finalize();
    return status;
}
