// expect: nsvd: not a matrix that can be read: pass a dense Eigen expression of float.*\.real\(\)
#include <nsvd/nsvd.hpp>

#if defined(NSVD_TWIN)
const Eigen::MatrixXf w(4, 3);
#else
const Eigen::MatrixXcf w(4, 3);
#endif
using result = decltype(nsvd::asvd(w, nsvd::calibration<float>(3), nsvd::rank{2}));
