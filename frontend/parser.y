/* parser.y - the grammar. Its actions build nodes and nothing else: no look-ups, no meaning.
 *
 * There are no precedence declarations: the levels of section 2 of the language are spelled out as
 * rules, lowest first. Every block holds an `error` alternative, so that the parser goes on inside
 * the innermost one; where exactly is decided by cell_parser_recover. */
%code requires {
#include "frontend/ast.h"
typedef struct CellParser CellParser;
}

%code {
#include "frontend/parse_state.h"

#include <string.h>

#define YYLLOC_DEFAULT(current, rhs, n)                                                            \
  ((current) = (n) ? cell_span_join(YYRHSLOC(rhs, 1), YYRHSLOC(rhs, n))                            \
                   : (CellSpan){YYRHSLOC(rhs, 0).file, YYRHSLOC(rhs, 0).end, YYRHSLOC(rhs, 0).end})

/* goes on at the next statement; the token there becomes the lookahead */
#define RECOVER()                                                                                  \
  do {                                                                                             \
    yychar = cell_parser_recover(parser, yychar, &yylval, &yylloc);                                \
    yyerrok;                                                                                       \
  } while (0)

#define PUSH(list, value)                                                                          \
  CELL_PUSH(parser->arena, (list).items, (list).count, (list).capacity, value)

static void cell_parser_error(const CellSpan *span, CellParser *parser, const char *message);
}

%define api.pure full
%define api.prefix {cell_parser_}
%define api.location.type {CellSpan}
%define api.token.prefix {CELL_T_}
%define parse.error custom
%define parse.lac full
%locations
%expect 0
%param {CellParser *parser}
%initial-action { @$ = (CellSpan){parser->source, 0, 0}; }

%union {
  CellName name;
  CellNameList names;
  CellExpr *expr;
  CellExprList exprs;
  CellArg arg;
  CellArgList args;
  CellDecl decl;
  CellDeclList decls;
  CellIndex index;
  CellIndexList indices;
  CellStmt *stmt;
  CellStmtList stmts;
  CellItem *item;
  CellLink link;
  CellLinkList links;
  CellPlace place;
  CellPlaceList places;
  CellWith with;
  CellWithList withs;
  CellSetting setting;
  CellSettingList settings;
  CellBinary op;
}

/* what is parsed: given once as the first token */
%token START_FILE START_SETTINGS START_EXPRESSION

%token YYEOF 0 "the end of the file"
%token <name> NAME "a name" STRING "a string"
%token <name> BIND "`name =`" PORT "`port: value`"
%token NUMBER "a number"
%token NETWORK "`network`" PARAM "`param`" IMPORT "`import`" DEF "`def`" CELL "`cell`"
%token STACK "`stack`" POLICY "`policy`" LEARN "`learn`" RULE "`rule`" TRAIN "`train`"
%token VARIANT "`variant`" OUTPUT "`output`" GOODNESS "`goodness`" LOSS "`loss`"
%token RECORD "`record`" MINIMIZE "`minimize`" ACT "`act`" FOR "`for`" END_TO_END "`end_to_end`"
%token IF "`if`" THEN "`then`" ELSE "`else`" IN "`in`" OVER "`over`" WITH "`with`"
%token TRUE "`true`" FALSE "`false`" NONE "`none`"
%token EQ "`==`" NE "`!=`" LE "`<=`" GE "`>=`"
%token '<' "`<`" '>' "`>`" '=' "`=`" '+' "`+`" '-' "`-`" '*' "`*`" '/' "`/`" '%' "`%`" '@' "`@`"
%token '^' "`^`" '(' "`(`" ')' "`)`" '[' "`[`" ']' "`]`" '{' "`{`" '}' "`}`" ',' "`,`"
%token ':' "`:`" '.' "`.`" '?' "`?`"

%type <item> item
%type <decls> decls decl_list opt_decls
%type <decl> decl
%type <name> decl_name
%type <stmts> block stmts
%type <stmt> stmt
%type <expr> opt_over opt_with
%type <places> place_block places opt_places
%type <place> place
%type <links> link_block links link_list
%type <link> link
%type <names> name_block name_list path
%type <withs> opt_withs withs
%type <with> with
%type <settings> setting_block settings
%type <setting> setting
%type <expr> expr comparison sum term unary power exponent postfix primary opt_expr
%type <op> compare
%type <args> opt_args args arg_list
%type <arg> arg
%type <exprs> exprs expr_list
%type <indices> indices
%type <index> index

%%

start
  : START_FILE items
  | START_SETTINGS settings       { parser->list = $2; }
  | START_EXPRESSION expr         { parser->expr = $2; }
  ;

/* ---- the file ---- */

items
  : %empty
  | items item
    {
      CellAst *ast = parser->ast;
      PUSH(*ast, $2);
    }
  | items error                   { RECOVER(); }
  ;

item
  : NETWORK NAME
    { $$ = cell_build_item(parser, CELL_ITEM_NETWORK, @1, @$); $$->name = $2; }
  | IMPORT STRING
    { $$ = cell_build_item(parser, CELL_ITEM_IMPORT, @1, @$); $$->name = $2; }
  | PARAM BIND '=' expr
    { $$ = cell_build_item(parser, CELL_ITEM_PARAM, @1, @$); $$->name = $2; $$->value = $4; }
  | DEF NAME '(' decls ')' '=' expr
    {
      $$ = cell_build_item(parser, CELL_ITEM_DEF, @1, @$);
      $$->name = $2;
      $$->params = cell_build_params(parser, $4);
      $$->value = $7;
    }
  | DEF NAME '(' decls ')' block
    {
      $$ = cell_build_item(parser, CELL_ITEM_DEF, @1, @$);
      $$->name = $2;
      $$->params = cell_build_params(parser, $4);
      $$->body = cell_build_block(parser, CELL_BLOCK_DEF, $6);
    }
  | CELL NAME '(' decls ')' block
    { $$ = cell_build_cell(parser, $2, $4, NULL, $6, @1, @$); }
  | CELL NAME '(' decls ')' '(' decls ')' block
    { $$ = cell_build_cell(parser, $2, $4, &$7, $9, @1, @$); }
  | STACK place_block
    { $$ = cell_build_item(parser, CELL_ITEM_STACK, @1, @$); $$->places = $2; }
  | STACK NAME '[' exprs ']' opt_args opt_withs opt_places
    {
      $$ = cell_build_item(parser, CELL_ITEM_STACK, @1, @$);
      $$->name = $2;
      $$->sizes = $4;
      $$->args = $6;
      $$->with = $7;
      $$->places = $8;
    }
  | POLICY NAME opt_args
    { $$ = cell_build_policy(parser, $2, $3, NULL, @1, @$); }
  | POLICY NAME opt_args block
    { $$ = cell_build_policy(parser, $2, $3, &$4, @1, @$); }
  | LEARN NAME opt_args
    { $$ = cell_build_item(parser, CELL_ITEM_LEARN, @1, @$); $$->name = $2; $$->args = $3; }
  | RULE NAME opt_decls block
    {
      $$ = cell_build_item(parser, CELL_ITEM_RULE, @1, @$);
      $$->name = $2;
      $$->params = cell_build_params(parser, $3);
      $$->body = cell_build_block(parser, CELL_BLOCK_RULE, $4);
    }
  | TRAIN setting_block
    { $$ = cell_build_item(parser, CELL_ITEM_TRAIN, @1, @$); $$->settings = $2; }
  | VARIANT NAME setting_block
    {
      $$ = cell_build_item(parser, CELL_ITEM_VARIANT, @1, @$);
      $$->name = $2;
      $$->settings = $3;
    }
  ;

/* ---- parameters and ports ---- */

opt_decls
  : %empty                        { $$ = (CellDeclList){0}; }
  | '(' decls ')'                 { $$ = $2; }
  ;

decls
  : %empty                        { $$ = (CellDeclList){0}; }
  | decl_list
  | decl_list ','
  ;

decl_list
  : decl                          { $$ = (CellDeclList){0}; PUSH($$, $1); }
  | decl_list ',' decl            { $$ = $1; PUSH($$, $3); }
  ;

decl
  : decl_name                     { $$ = (CellDecl){.name = $1, .span = @$}; }
  | decl_name '?'                 { $$ = (CellDecl){.name = $1, .optional = true, .span = @$}; }
  | decl_name '=' expr            { $$ = (CellDecl){.name = $1, .value = $3, .span = @$}; }
  ;

/* any word may name an argument or a port; token.c makes names of the other reserved words */
decl_name
  : NAME
  | IF                            { $$ = (CellName){"if", @1}; }
  | TRUE                          { $$ = (CellName){"true", @1}; }
  | FALSE                         { $$ = (CellName){"false", @1}; }
  | NONE                          { $$ = (CellName){"none", @1}; }
  ;

/* ---- statements ---- */

open
  : '{'                           { parser->blocks++; }
  ;

close
  : '}'                           { parser->blocks--; }
  ;

block
  : open stmts close              { $$ = $2; $$.span = @$; }
  ;

stmts
  : %empty                        { $$ = (CellStmtList){0}; }
  | stmts stmt                    { $$ = $1; PUSH($$, $2); }
  | stmts error                   { $$ = $1; RECOVER(); }
  ;

stmt
  : BIND '=' expr
    { $$ = cell_build_stmt(parser, CELL_STMT_BIND, $3, @1, @$); $$->name = $1; }
  | OUTPUT expr                   { $$ = cell_build_stmt(parser, CELL_STMT_OUTPUT, $2, @1, @$); }
  | GOODNESS expr                 { $$ = cell_build_stmt(parser, CELL_STMT_GOODNESS, $2, @1, @$); }
  | LOSS expr                     { $$ = cell_build_stmt(parser, CELL_STMT_LOSS, $2, @1, @$); }
  | ACT expr                      { $$ = cell_build_stmt(parser, CELL_STMT_ACT, $2, @1, @$); }
  | RECORD BIND '=' expr
    { $$ = cell_build_stmt(parser, CELL_STMT_RECORD, $4, @1, @$); $$->name = $2; }
  | MINIMIZE expr opt_over opt_with
    {
      $$ = cell_build_stmt(parser, CELL_STMT_MINIMIZE, $2, @1, @$);
      $$->over = $3;
      $$->with = $4;
    }
  | FOR NAME IN expr block
    {
      $$ = cell_build_stmt(parser, CELL_STMT_FOR, $4, @1, @$);
      $$->name = $2;
      $$->body = $5;
    }
  | FOR NAME IN expr ':' expr block
    {
      $$ = cell_build_stmt(parser, CELL_STMT_FOR, $4, @1, @$);
      $$->name = $2;
      $$->last = $6;
      $$->body = $7;
    }
  | IF expr THEN block
    { $$ = cell_build_stmt(parser, CELL_STMT_IF, $2, @1, @$); $$->body = $4; }
  | IF expr THEN block ELSE block
    {
      $$ = cell_build_stmt(parser, CELL_STMT_IF, $2, @1, @$);
      $$->body = $4;
      $$->otherwise = $6;
    }
  ;

opt_over
  : %empty                        { $$ = NULL; }
  | OVER expr                     { $$ = $2; }
  ;

opt_with
  : %empty                        { $$ = NULL; }
  | WITH expr                     { $$ = $2; }
  ;

/* ---- the stack ---- */

place_block
  : open places close             { $$ = $2; }
  ;

opt_places
  : %empty                        { $$ = (CellPlaceList){0}; }
  | place_block
  ;

places
  : %empty                        { $$ = (CellPlaceList){0}; }
  | places place                  { $$ = $1; PUSH($$, $2); }
  | places error                  { $$ = $1; RECOVER(); }
  ;

place
  : BIND '=' expr link_block
    {
      $$ = (CellPlace){
          .kind = CELL_PLACE_CELL, .name = $1, .value = $3, .links = $4, .span = @$};
    }
  | BIND '=' expr
    { $$ = (CellPlace){.kind = CELL_PLACE_VALUE, .name = $1, .value = $3, .span = @$}; }
  | BIND '=' END_TO_END name_block
    { $$ = (CellPlace){.kind = CELL_PLACE_BLOCK, .name = $1, .members = $4, .span = @$}; }
  | END_TO_END name_block
    {
      $$ = (CellPlace){
          .kind = CELL_PLACE_BLOCK, .name = {NULL, @1}, .members = $2, .span = @$};
    }
  ;

link_block
  : open links close              { $$ = $2; }
  ;

links
  : %empty                        { $$ = (CellLinkList){0}; }
  | link_list
  | link_list ','
  ;

/* the commas may be left out: a port name and its colon start the next link */
link_list
  : link                          { $$ = (CellLinkList){0}; PUSH($$, $1); }
  | link_list link                { $$ = $1; PUSH($$, $2); }
  | link_list ',' link            { $$ = $1; PUSH($$, $3); }
  | error                         { $$ = (CellLinkList){0}; RECOVER(); }
  | link_list error               { $$ = $1; RECOVER(); }
  ;

link
  : PORT ':' expr                 { $$ = (CellLink){.port = $1, .value = $3, .span = @$}; }
  ;

name_block
  : open name_list close          { $$ = $2; }
  | open name_list ',' close      { $$ = $2; }
  ;

name_list
  : NAME                          { $$ = (CellNameList){0}; PUSH($$, $1); }
  | name_list ',' NAME            { $$ = $1; PUSH($$, $3); }
  | error                         { $$ = (CellNameList){0}; RECOVER(); }
  | name_list error               { $$ = $1; RECOVER(); }
  ;

opt_withs
  : %empty                        { $$ = (CellWithList){0}; }
  | WITH withs                    { $$ = $2; }
  ;

withs
  : with                          { $$ = (CellWithList){0}; PUSH($$, $1); }
  | withs ',' with                { $$ = $1; PUSH($$, $3); }
  ;

with
  : NAME opt_args                 { $$ = (CellWith){.name = $1, .args = $2, .span = @$}; }
  ;

/* ---- settings ---- */

setting_block
  : open settings close           { $$ = $2; }
  ;

settings
  : %empty                        { $$ = (CellSettingList){0}; }
  | settings setting              { $$ = $1; PUSH($$, $2); }
  | settings error                { $$ = $1; RECOVER(); }
  ;

setting
  : path '=' expr                 { $$ = (CellSetting){.path = $1, .value = $3, .span = @$}; }
  ;

path
  : BIND                          { $$ = (CellNameList){0}; PUSH($$, $1); }
  | path '.' NAME                 { $$ = $1; PUSH($$, $3); }
  ;

/* ---- expressions, loosest first ---- */

expr
  : comparison
  | IF expr THEN expr ELSE expr   { $$ = cell_build_if(parser, $2, $4, $6, @1, @$); }
  ;

comparison
  : sum
  | sum compare sum               { $$ = cell_build_binary(parser, $2, $1, $3, @2, @$); }
  ;

compare
  : EQ                            { $$ = CELL_BINARY_EQ; }
  | NE                            { $$ = CELL_BINARY_NE; }
  | '<'                           { $$ = CELL_BINARY_LT; }
  | LE                            { $$ = CELL_BINARY_LE; }
  | '>'                           { $$ = CELL_BINARY_GT; }
  | GE                            { $$ = CELL_BINARY_GE; }
  ;

sum
  : term
  | sum '+' term
    { $$ = cell_build_binary(parser, CELL_BINARY_ADD, $1, $3, @2, @$); }
  | sum '-' term
    { $$ = cell_build_binary(parser, CELL_BINARY_SUB, $1, $3, @2, @$); }
  ;

term
  : unary
  | term '*' unary
    { $$ = cell_build_binary(parser, CELL_BINARY_MUL, $1, $3, @2, @$); }
  | term '/' unary
    { $$ = cell_build_binary(parser, CELL_BINARY_DIV, $1, $3, @2, @$); }
  | term '%' unary
    { $$ = cell_build_binary(parser, CELL_BINARY_MOD, $1, $3, @2, @$); }
  | term '@' unary
    { $$ = cell_build_binary(parser, CELL_BINARY_MATMUL, $1, $3, @2, @$); }
  ;

unary
  : power
  | '-' unary                     { $$ = cell_build_negate(parser, $2, @1, @$); }
  ;

/* -x^2 is -(x^2), 2^3^2 is 2^(3^2), 2^-1 is 2^(-1) */
power
  : postfix
  | postfix '^' exponent
    { $$ = cell_build_binary(parser, CELL_BINARY_POW, $1, $3, @2, @$); }
  ;

exponent
  : power
  | '-' exponent                  { $$ = cell_build_negate(parser, $2, @1, @$); }
  ;

postfix
  : primary
  | postfix '.' NAME              { $$ = cell_build_member(parser, $1, $3, @$); }
  | postfix '(' args ')'
    { $$ = cell_build_call(parser, $1, $3, cell_span_join(@2, @4), @$); }
  | postfix '[' indices ']'
    { $$ = cell_build_index(parser, $1, $3, cell_span_join(@2, @4), @$); }
  ;

primary
  : NUMBER                        { $$ = cell_build_number(parser, @1); }
  | NAME                          { $$ = cell_build_name(parser, $1); }
  | TRUE                          { $$ = cell_build_bool(parser, true, @1); }
  | FALSE                         { $$ = cell_build_bool(parser, false, @1); }
  | NONE                          { $$ = cell_build_leaf(parser, CELL_EXPR_NONE, @1); }
  | '(' expr ')'                  { $$ = $2; $$->span = @$; }
  | '[' exprs ']'                 { $$ = cell_build_list(parser, $2, @1, @$); }
  | '[' expr FOR NAME IN expr ']'
    { $$ = cell_build_comprehension(parser, $2, $4, $6, @3, @$); }
  ;

opt_args
  : %empty                        { $$ = (CellArgList){0}; }
  | '(' args ')'                  { $$ = $2; }
  ;

args
  : %empty                        { $$ = (CellArgList){0}; }
  | arg_list
  | arg_list ','
  ;

arg_list
  : arg                           { $$ = cell_build_arg(parser, (CellArgList){0}, $1); }
  | arg_list ',' arg              { $$ = cell_build_arg(parser, $1, $3); }
  ;

arg
  : expr                          { $$ = (CellArg){.name = {NULL, @1}, .value = $1, .span = @$}; }
  | NAME '=' expr                 { $$ = (CellArg){.name = $1, .value = $3, .span = @$}; }
  ;

exprs
  : %empty                        { $$ = (CellExprList){0}; }
  | expr_list
  | expr_list ','
  ;

expr_list
  : expr                          { $$ = (CellExprList){0}; PUSH($$, $1); }
  | expr_list ',' expr            { $$ = $1; PUSH($$, $3); }
  ;

indices
  : index                         { $$ = (CellIndexList){0}; PUSH($$, $1); }
  | indices ',' index             { $$ = $1; PUSH($$, $3); }
  ;

index
  : expr                          { $$ = (CellIndex){.first = $1, .span = @$}; }
  | opt_expr ':' opt_expr
    { $$ = (CellIndex){.slice = true, .first = $1, .last = $3, .span = @$}; }
  ;

opt_expr
  : %empty                        { $$ = NULL; }
  | expr
  ;

%%

/* sorts what the grammar would take here into what a reader calls it */
static int yyreport_syntax_error(const yypcontext_t *context, CellParser *parser) {
  yysymbol_kind_t symbols[YYNTOKENS];
  int count = yypcontext_expected_tokens(context, symbols, YYNTOKENS);
  CellExpected expected = {.span = *yypcontext_location(context)};
  yysymbol_kind_t found = yypcontext_token(context);

  /* symbols are numbered apart from tokens: find the token again */
  expected.found = -1;
  if (found == YYSYMBOL_YYEOF) expected.found = CELL_T_YYEOF;
  for (int token = 1; token <= YYMAXUTOK && found > YYSYMBOL_YYEOF; token++)
    if (YYTRANSLATE(token) == found) expected.found = token;

  for (int i = 0; i < count; i++) {
    yysymbol_kind_t symbol = symbols[i];
    const char *name = yysymbol_name(symbol);

    if (symbol == YYSYMBOL_NUMBER) expected.expression = true;
    if (symbol == YYSYMBOL_BIND) expected.bind = true;
    if (symbol == YYSYMBOL_OUTPUT) expected.statement = true;
    if (symbol == YYSYMBOL_NETWORK) expected.item = true;
    if (symbol == YYSYMBOL_PORT) expected.port = true;
    if (symbol == YYSYMBOL_NAME) expected.name = true;
    if (symbol == YYSYMBOL_EQ) expected.comparison = true;
    if (strcmp(name, "`@`") == 0) expected.operators = true;
    if (strcmp(name, "`}`") == 0) expected.close = true;
    if (expected.count < 5) expected.names[expected.count++] = name;
  }
  cell_parser_syntax_error(parser, &expected);
  return 0;
}

/* only called when the parser's own stack is full */
static void cell_parser_error(const CellSpan *span, CellParser *parser, const char *message) {
  (void)message;
  cell_parse_stop(parser, "E0111", *span, "this is nested too deeply");
}
