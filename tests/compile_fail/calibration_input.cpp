// expect: nsvd: not a matrix that can be read: pass a dense Eigen expression of float
#include <nsvd/nsvd.hpp>

#include <string>

#if defined(NSVD_TWIN)
const Eigen::MatrixXf x(3, 100);
#else
const std::string x = "inputs";
#endif
using result = decltype(nsvd::calibration<float>(3).update(x));
