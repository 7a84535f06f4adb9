// expect: nsvd: not a matrix that can be read: pass a dense Eigen expression of float.*\.toDense\(\)
#include <nsvd/nsvd.hpp>

#include <Eigen/SparseCore>

#if defined(NSVD_TWIN)
const Eigen::MatrixXf w = Eigen::SparseMatrix<float>(4, 3).toDense();
#else
const Eigen::SparseMatrix<float> w(4, 3);
#endif
using result = decltype(nsvd::nested(w, nsvd::calibration<float>(3), nsvd::rank{2}));
