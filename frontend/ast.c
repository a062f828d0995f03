/* ast.c - texts of the tables of ast.h. */
#include "frontend/ast.h"

const char *cell_binary_text(CellBinary op) {
  static const char *const texts[] = {
#define CELL_ROW(id, text, verb) text,
      CELL_BINARY_OPS(CELL_ROW)
#undef CELL_ROW
  };
  return texts[op];
}

const char *cell_binary_verb(CellBinary op) {
  static const char *const verbs[] = {
#define CELL_ROW(id, text, verb) verb,
      CELL_BINARY_OPS(CELL_ROW)
#undef CELL_ROW
  };
  return verbs[op];
}

const char *cell_stmt_word(CellStmtKind kind) {
  static const char *const words[] = {
#define CELL_ROW(id, word) word,
      CELL_STATEMENTS(CELL_ROW)
#undef CELL_ROW
  };
  return words[kind] ? words[kind] : "name =";
}

const char *cell_block_name(CellBlockKind kind) {
  static const char *const names[] = {
#define CELL_ROW(id, name, holds) name,
      CELL_BLOCKS(CELL_ROW)
#undef CELL_ROW
  };
  return names[kind];
}

const char *cell_item_word(CellItemKind kind) {
  static const char *const words[] = {
#define CELL_ROW(id, word) word,
      CELL_ITEMS(CELL_ROW)
#undef CELL_ROW
  };
  return words[kind];
}
