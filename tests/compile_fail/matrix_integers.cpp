// expect: nsvd: not a matrix that can be read: pass a dense Eigen expression of float.*\.cast<float>\(\)
#include <nsvd/nsvd.hpp>

#if defined(NSVD_TWIN)
const Eigen::MatrixXf w(4, 3);
#else
const Eigen::MatrixXi w(4, 3);
#endif
using result = decltype(nsvd::svd(w, nsvd::rank{2}));
