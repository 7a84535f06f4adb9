// expect: nsvd: not a matrix that can be read: pass a dense Eigen expression of float
#include <nsvd/nsvd.hpp>

#if defined(NSVD_TWIN)
const Eigen::MatrixXd w(4, 3);
#else
const Eigen::Matrix<long double, 4, 3> w;
#endif
using result = decltype(nsvd::interpolative(w, nsvd::rank{2}));
