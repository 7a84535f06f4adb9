// SPDX-License-Identifier: MIT
/// Files that other programs cut off while they are mapped.
#pragma once

namespace llm {

/// From now on a read beyond the new end of a mapped file (SIGBUS) ends the program with exit code 1 and one
/// line that names the file, as every other error does. What is finished stays in the journal.
void report_cut_files();

}  // namespace llm
