# One case of compile_fail: with NSVD_TWIN it must compile; without it must not, and the compiler must say what the
# first line of the file expects.
#   cmake -DCOMPILER=… -DFLAGS=… -DSTOP=… -DFILE=… -DWRAPPER=… -P check.cmake
# STOP is the flag with which the compiler stops after one error and its notes; WRAPPER a file to write.
file(STRINGS "${FILE}" expected LIMIT_COUNT 1)
if(NOT expected MATCHES "^// expect: (.+)$")
    message(FATAL_ERROR "${FILE}: the first line is not // expect: …")
endif()
set(expected "${CMAKE_MATCH_1}")

# What a compiler does at the end of a file takes seconds: errors after the last line of the case keep it from that. Two,
# since gcc stops only when there is one more to tell.
file(WRITE "${WRAPPER}" "#include \"${FILE}\"
static_assert(sizeof(int) == 0, \"the case compiles\");
static_assert(sizeof(int) == 0);
")
set(compile "${COMPILER}" ${FLAGS} ${STOP} -fsyntax-only "${WRAPPER}")
set(compiles "error:[^\n]*the case compiles")

execute_process(COMMAND ${compile} -DNSVD_TWIN ERROR_VARIABLE said)
if(NOT said MATCHES "${compiles}")
    message(FATAL_ERROR "the twin does not compile:\n${said}")
endif()
execute_process(COMMAND ${compile} ERROR_VARIABLE said)
if(said MATCHES "${compiles}")
    message(FATAL_ERROR "it compiles")
endif()
if(NOT said MATCHES "${expected}")
    message(FATAL_ERROR "the compiler does not say \"${expected}\" but\n${said}")
endif()
