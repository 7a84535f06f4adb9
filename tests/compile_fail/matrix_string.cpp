// expect: nsvd: not a matrix that can be read: pass a dense Eigen expression of float
#include <nsvd/nsvd.hpp>

#include <string>

#if defined(NSVD_TWIN)
const Eigen::MatrixXf w(4, 3);
#else
const std::string w = "weights";
#endif
using result = decltype(nsvd::svd(w, nsvd::rank{2}));
