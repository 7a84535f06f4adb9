// SPDX-License-Identifier: MIT
// Any bytes are a safetensors file, all of whose tensors can be read, or an nsvd::error.
#include "memory_file.hpp"

#include <nsvd/error.hpp>
#include <nsvd/ext/safetensors.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdlib>

namespace st = nsvd::safetensors;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    const fuzz::memory_file source(bytes, size);
    try {
        const st::file file(source.path());
        std::size_t covered = 0;
        for (const auto& name : file.tensors()) {
            const auto& tensor = file.at(name);
            covered += tensor.bytes.size();
            if (st::count_of(tensor.shape) * st::size_of(tensor.dtype) != tensor.bytes.size()) std::abort();
            try {
                const auto matrix = st::to_matrix<float>(tensor);
                if (static_cast<std::size_t>(matrix.size()) * st::size_of(tensor.dtype) !=
                    tensor.bytes.size())
                    std::abort();
            } catch (const nsvd::error&) {  // no floating-point type, or more than two dimensions
            }
        }
        if (covered > size) std::abort();
    } catch (const nsvd::error&) {
    }
    return 0;
}
