// expect: nsvd: not a calibration: gather the inputs X of the layer
#include <nsvd/nsvd.hpp>

#if defined(NSVD_TWIN)
const nsvd::calibration<float> c(3);
#else
const Eigen::MatrixXf c(3, 100);
#endif
using result = decltype(nsvd::gram_metric(c));
