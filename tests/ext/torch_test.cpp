// SPDX-License-Identifier: MIT
// Tensors of libtorch, slices and transposed ones are read where they lie. libtorch first: it defines macros
// of the names that Catch2 has.
#include <nsvd/ext/torch.hpp>
#undef CHECK

#include "support/adapter.hpp"
#include "support/catch.hpp"
#include "support/expect_error.hpp"
#include "support/random.hpp"

namespace {

static_assert(!nsvd::matrix<at::Tensor>, "its scalar is known at run time only: torch_view");

[[nodiscard]] at::Tensor tensor(nsvd::index rows, nsvd::index cols, at::ScalarType type) {
    return nsvd::to_torch(support::gaussian(rows, cols, 9)).to(type);
}

/// libtorch's own element access.
[[nodiscard]] auto elements(const at::Tensor& x) {
    return [&x](auto i, auto j) {
        return x.index({std::int64_t{i}, std::int64_t{j}}).template item<double>();
    };
}

template <class Scalar>
void check_scalar(at::ScalarType type) {
    for (const auto& [rows, cols] : {std::pair(9, 6), std::pair(6, 9)}) {
        const at::Tensor x = tensor(rows, cols, type);
        const auto view = [](const at::Tensor& t) { return nsvd::torch_view<Scalar>(t); };
        support::check_adapter(view(x), rows, cols, x.data_ptr(), false, elements(x));
        support::check_adapter(view(x.t()), cols, rows, x.data_ptr(), true, elements(x.t()));
        const at::Tensor part = x.slice(0, 2, 6).slice(1, 1, 4);
        support::check_adapter(view(part), 4, 3, part.data_ptr(), false, elements(part));
        REQUIRE(part.data_ptr() == static_cast<const Scalar*>(x.data_ptr()) + 2 * cols + 1);
        support::check_adapter(view(part.t()), 3, 4, part.data_ptr(), true, elements(part.t()));
        const at::Tensor skipping = x.slice(0, 1, 6, 2).slice(1, 0, 6, 3);
        support::check_adapter(view(skipping), 3, 2, skipping.data_ptr(), false, elements(skipping));
        // A dimension of 1 has any stride; one that was expanded has 0.
        const at::Tensor column = x.slice(1, 2, 3).contiguous();
        support::check_adapter(view(column), rows, 1, column.data_ptr(), false, elements(column));
        const at::Tensor expanded = x.slice(1, 2, 3).contiguous().expand({rows, 4});
        support::check_adapter(view(expanded), rows, 4, expanded.data_ptr(), false, elements(expanded));
    }
}

}  // namespace

TEST_CASE("torch: tensors, slices and transposed ones", "[torch]") {
    check_scalar<float>(at::kFloat);
    check_scalar<double>(at::kDouble);
    check_scalar<Eigen::half>(at::kHalf);
    check_scalar<Eigen::bfloat16>(at::kBFloat16);
}

TEST_CASE("torch: decompositions", "[torch]") {
    const at::Tensor x = tensor(12, 8, at::kFloat);
    support::check_decompositions(nsvd::torch_view<float>(x));
    support::check_decompositions(nsvd::torch_view<float>(x.t()));
    support::check_decompositions(nsvd::torch_view<float>(x.slice(1, 2, 3).expand({12, 4})));
    support::check_decompositions(nsvd::torch_view<Eigen::bfloat16>(x.to(at::kBFloat16)));
}

TEST_CASE("torch: the way back", "[torch]") {
    const at::Tensor x = tensor(7, 5, at::kDouble);
    const auto d = nsvd::svd(nsvd::torch_view<double>(x), nsvd::rank{2});
    const at::Tensor left = nsvd::to_torch(d.left);
    const at::Tensor right = nsvd::to_torch(d.right);
    CHECK(left.is_contiguous());
    CHECK(nsvd::detail::read(nsvd::torch_view<double>(left)) == d.left);
    CHECK(nsvd::detail::read(nsvd::torch_view<double>(right)) == d.right);
    CHECK(at::allclose(at::matmul(left, right), nsvd::to_torch(d.dense())));
    const Eigen::MatrixX<Eigen::half> half = d.left.cast<Eigen::half>();
    CHECK(nsvd::to_torch(half).scalar_type() == at::kHalf);
    CHECK(at::equal(nsvd::to_torch(half), left.to(at::kFloat).to(at::kHalf)));
}

TEST_CASE("torch: misuse", "[torch]") {
    const auto refused = [](const at::Tensor& x, std::initializer_list<std::string_view> words) {
        support::expect_error([&] { (void)nsvd::torch_view<float>(x); }, words);
    };
    refused(at::Tensor(), {"undefined"});
    refused(tensor(3, 4, at::kDouble), {"[3, 4]", "Double", "Float"});
    refused(at::ones({3, 4}, at::kInt), {"[3, 4]", "Int", "Float"});
    refused(at::ones({5}), {"[5]", "1 dimensions"});
    refused(at::ones({2, 3, 4}), {"[2, 3, 4]", "3 dimensions"});
    refused(at::ones({3, 4}).to_sparse(), {"[3, 4]", "Sparse", "Strided"});
    refused(at::empty({3, 4}, at::device(at::kMeta)), {"[3, 4]", "meta", "cpu"});
    refused(at::imag(at::conj(at::ones({3, 4}, at::kComplexFloat))), {"[3, 4]", "negated"});
    support::expect_error(
        [] {
            (void)nsvd::svd(nsvd::torch_view<float>(at::ones({0, 4})), nsvd::rank{1});
        },
        {"W", "empty", "0×4"});
}
