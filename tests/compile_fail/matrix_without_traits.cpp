// expect: nsvd: not a matrix that can be read: pass a dense Eigen expression of float.*specialise
// nsvd::matrix_traits
#include <nsvd/nsvd.hpp>

#if defined(NSVD_TWIN)
struct tensor {
    const float* data;
};
template <>
struct nsvd::matrix_traits<tensor> {
    static strided_view<float> view(const tensor& t) { return {t.data, 4, 3, 1, 4}; }
};
const tensor w{};
#else
struct tensor {
    const float* data;
};
const tensor w{};
#endif
using result = decltype(nsvd::svd(w, nsvd::rank{2}));
