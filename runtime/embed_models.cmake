# writes OUTPUT: the bytes of every model in FOLDER behind cell_dmc_model_texts
file(GLOB models ${FOLDER}/*.xml)
list(SORT models)
set(arrays "")
set(table "")
foreach(model ${models})
  get_filename_component(name ${model} NAME_WE)
  file(READ ${model} bytes HEX)
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
  string(REGEX REPLACE "(0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,)"
                       "\\1\n    " bytes "${bytes}")
  string(APPEND arrays "static const char ${name}[] = {\n    ${bytes}0};\n\n")
  string(APPEND table "    {\"${name}\", ${name}, sizeof ${name} - 1},\n")
endforeach()
file(WRITE ${OUTPUT} "/* generated from the models */
#include \"runtime/dmc_state.h\"

${arrays}const CellDmcModelText cell_dmc_model_texts[] = {
${table}};
const int cell_dmc_model_text_count = CELL_DMC_COUNT(cell_dmc_model_texts);
")
