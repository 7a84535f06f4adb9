// SPDX-License-Identifier: MIT
/// Tensors in a journal: files that a later run goes on with must be what this one wrote.
#pragma once

#include "journal.hpp"

#include <nsvd/ext/safetensors.hpp>

#include <span>
#include <string>

namespace llm {

/// Writes a safetensors file that is sealed (nsvd::safetensors::sealed), with the digest of the job in it.
/// Throws nsvd::error when writing fails.
void keep_tensors(const journal& kept, const std::string& name,
                  std::span<const nsvd::safetensors::tensor> tensors,
                  nsvd::safetensors::string_map metadata = {});

/// Throws nsvd::error unless the file is what `keep_tensors` wrote for this job. Reads all of it.
void check_kept(const journal& kept, const nsvd::safetensors::file& file);

}  // namespace llm
