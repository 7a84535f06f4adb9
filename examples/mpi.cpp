// SPDX-License-Identifier: MIT
// mpirun -np 4 mpi: every process sees a part of the tokens of one layer, process 0 decomposes it.
#include <nsvd/ext/mpi.hpp>
#include <nsvd/nsvd.hpp>

#include <cstdio>
#include <cstdlib>

int main(int argc, char** argv) {
    MPI_Init(&argc, &argv);
    int rank = 0;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    constexpr Eigen::Index m = 96;
    constexpr Eigen::Index n = 64;
    const Eigen::MatrixXf W = Eigen::MatrixXf::Random(m, n);  // the same everywhere

    //! [reduce]
    nsvd::calibration<float> calib(n);
    std::srand(static_cast<unsigned>(rank));
    calib.update(Eigen::MatrixXf::Random(n, 500));  // the tokens of this process, a column each
    // The sum over all processes, at the one that decomposes the layer; all_reduce gives it to all.
    nsvd::reduce(calib, 0, MPI_COMM_WORLD, {.order = nsvd::summation::fixed});
    //! [reduce]

    if (rank == 0) {
        const auto d = nsvd::nested(W, calib, nsvd::compression{0.3});
        std::printf("%lld tokens, rank %lld, error %.3f\n", static_cast<long long>(calib.tokens()),
                    static_cast<long long>(d.rank()), nsvd::weighted_error(W, d, calib));
    }
    MPI_Finalize();
    return 0;
}
