// SPDX-License-Identifier: MIT
#include "kept_tensors.hpp"

#include "digest.hpp"

#include <nsvd/error.hpp>
#include <nsvd/ext/checksum.hpp>

#include <string>
#include <utility>

namespace llm {

namespace safetensors = nsvd::safetensors;

namespace {

constexpr const char* job_key = "job";
constexpr const char* advice = "remove it, and start the same command again";

}  // namespace

void keep_tensors(const journal& kept, const std::string& name, std::span<const safetensors::tensor> tensors,
                  safetensors::string_map metadata) {
    metadata[job_key] = digest_of(kept.job());
    safetensors::write(kept.path(name), tensors, safetensors::sealed(tensors, std::move(metadata)));
}

void check_kept(const journal& kept, const safetensors::file& file) {
    safetensors::check_seal(file, advice);
    if (const auto job = file.metadata().find(job_key);
        job == file.metadata().end() || job->second != digest_of(kept.job()))
        throw nsvd::error(file.path().string() + ": is of another run: " + advice);
}

}  // namespace llm
