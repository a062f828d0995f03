# writes prelude.c: the bytes of INPUT behind cell_prelude_text
file(READ ${INPUT} bytes HEX)
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
string(REGEX REPLACE "(0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,)"
                     "\\1\n    " bytes "${bytes}")
file(WRITE ${OUTPUT} "/* generated from prelude.cell */
#include \"frontend/parse.h\"

static const char prelude[] = {
    ${bytes}0};

const char *cell_prelude_text(size_t *length) {
  if (length) *length = sizeof prelude - 1;
  return prelude;
}
")
