# writes OUTPUT: the bytes of INPUTS, one after another, as a C string named NAME
set(bytes "")
foreach(input ${INPUTS})
  file(READ ${input} hex HEX)
  string(APPEND bytes "${hex}")
endforeach()
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
string(REGEX REPLACE "(0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,)"
                     "\\1\n    " bytes "${bytes}")
file(WRITE ${OUTPUT} "/* generated */
#include \"codegen/cuda.h\"

const char ${NAME}[] = {
    ${bytes}0};
")
