package mutate

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/constant"
	"go/token"
	"go/types"
	"slices"
	"strings"
)

// rewriter finds the mutants of one file, and adds switches for them. It inserts text
// within lines only, so that errors of the compiler have the right lines.
type rewriter struct {
	fset    *token.FileSet
	info    *types.Info
	pkg     *types.Package
	path    string // of the file in the module
	src     []byte
	imports map[string]string // package path to name in the file
	omit    map[string]bool   // keys of mutants that do not compile
	count   *int              // mutants of the package so far

	edits   []edit
	mutants []Mutant
}

// edit replaces src[at:end] by text.
type edit struct {
	at, end int
	text    string
	order   int // among edits at the same place
}

// mutant returns the number of a new mutant, or 0 if it is left out.
func (r *rewriter) mutant(in *function, at ast.Node, change string) int {
	m := Mutant{File: r.path, Line: r.fset.Position(at.Pos()).Line, Func: in.name, Change: change}
	same := 0
	for _, other := range r.mutants {
		if other.Func == m.Func && (other.Change == change || strings.HasPrefix(other.Change, change+" #")) {
			same++
		}
	}
	if same > 0 {
		m.Change = fmt.Sprintf("%s #%d", change, same+1)
	}
	*r.count++
	m.ID = *r.count
	r.mutants = append(r.mutants, m)
	if r.omit[m.Key()] {
		return 0
	}
	return m.ID
}

// wrap puts text around a node.
func (r *rewriter) wrap(n ast.Node, before, after string) {
	start, end := r.offset(n.Pos()), r.offset(n.End())
	r.edits = append(r.edits, edit{start, start, before, len(r.edits) + 1}, edit{end, end, after, -len(r.edits) - 1})
}

// replace puts text in the place of the source between two positions.
func (r *rewriter) replace(from, to token.Pos, text string) {
	r.edits = append(r.edits, edit{r.offset(from), r.offset(to), text, len(r.edits) + 1})
}

func (r *rewriter) offset(p token.Pos) int { return r.fset.Position(p).Offset }

// text returns the source of a node in one line.
func (r *rewriter) text(n ast.Node) string {
	return strings.Join(strings.Fields(string(r.src[r.offset(n.Pos()):r.offset(n.End())])), " ")
}

// rewritten returns the source with all edits. What ends at a place comes before what
// begins there, and the inner before the outer.
func (r *rewriter) rewritten() []byte {
	slices.SortStableFunc(r.edits, func(a, b edit) int {
		if a.at != b.at {
			return a.at - b.at
		}
		return a.order - b.order
	})
	var out bytes.Buffer
	pos := 0
	for _, e := range r.edits {
		out.Write(r.src[pos:e.at])
		out.WriteString(e.text)
		pos = e.end
	}
	out.Write(r.src[pos:])
	return out.Bytes()
}

// function is the function that a node is in.
type function struct {
	r       *rewriter
	name    string
	results *types.Tuple
}

// Visit adds the mutants of one node.
func (f *function) Visit(n ast.Node) ast.Visitor {
	switch n := n.(type) {
	case *ast.FuncDecl:
		return f.r.function(n)
	case *ast.FuncLit:
		signature := f.r.info.TypeOf(n).(*types.Signature)
		return &function{f.r, f.name, signature.Results()}
	case *ast.GenDecl:
		if n.Tok != token.VAR || f.name == "" {
			return nil
		}
	case *ast.ArrayType:
		return nil
	case *ast.KeyValueExpr:
		ast.Walk(f, n.Value)
		return nil
	case *ast.BlockStmt:
		f.statements(n.List)
	case *ast.CaseClause:
		f.statements(n.Body)
	case *ast.CommClause:
		f.statements(n.Body)
	case *ast.SwitchStmt:
		if n.Tag == nil {
			f.cases(n.Body.List)
		}
	case *ast.IfStmt:
		f.condition(n.Cond, true, true)
	case *ast.ForStmt:
		if n.Cond != nil {
			f.condition(n.Cond, false, true)
		}
	case *ast.AssignStmt:
		if len(n.Lhs) == len(n.Rhs) {
			f.conditions(n.Rhs)
		}
	case *ast.ReturnStmt:
		f.conditions(n.Results)
		f.zeroResults(n.Results)
	case *ast.CallExpr:
		f.extreme(n)
	}
	if e, ok := n.(ast.Expr); ok {
		return f.expression(e)
	}
	return f
}

// function returns a visitor for the body of a function.
func (r *rewriter) function(n *ast.FuncDecl) ast.Visitor {
	name := n.Name.Name
	if n.Recv != nil {
		receiver := strings.TrimPrefix(r.text(n.Recv.List[0].Type), "*")
		name = receiver + "." + name
	}
	object, _ := r.info.Defs[n.Name].(*types.Func)
	if n.Body != nil && object != nil {
		ast.Walk(&function{r, name, object.Signature().Results()}, n.Body)
	}
	return nil
}

// statements makes it possible to leave out each statement that others do not need in order
// to compile.
func (f *function) statements(list []ast.Stmt) {
	for _, s := range list {
		switch s := s.(type) {
		case *ast.ExprStmt:
			if call, ok := s.X.(*ast.CallExpr); ok && f.r.text(call.Fun) == "panic" {
				continue
			}
		case *ast.AssignStmt:
			if s.Tok == token.DEFINE {
				continue
			}
		case *ast.IncDecStmt, *ast.SendStmt:
		case *ast.BranchStmt:
			if s.Tok != token.CONTINUE && s.Tok != token.BREAK {
				continue
			}
		default:
			continue
		}
		if id := f.r.mutant(f, s, "without "+f.r.text(s)); id != 0 {
			f.r.wrap(s, fmt.Sprintf("if mutRun(%d) { ", id), " }")
		}
	}
}

func (f *function) cases(clauses []ast.Stmt) {
	for _, c := range clauses {
		for _, e := range c.(*ast.CaseClause).List {
			f.condition(e, true, true)
		}
	}
}

func (f *function) conditions(list []ast.Expr) {
	for _, e := range list {
		f.condition(e, true, true)
	}
}

// condition makes it possible that a bool is always true, or always false.
func (f *function) condition(e ast.Expr, isTrue, isFalse bool) {
	tv := f.r.info.Types[e]
	if tv.Value != nil || tv.Type == nil {
		return
	}
	if basic, ok := tv.Type.(*types.Basic); !ok || basic.Info()&types.IsBoolean == 0 {
		return
	}
	number := func(wanted bool, value string) int {
		if !wanted {
			return 0
		}
		return f.r.mutant(f, e, f.r.text(e)+" is "+value)
	}
	if t, n := number(isTrue, "true"), number(isFalse, "false"); t != 0 || n != 0 {
		f.r.wrap(e, fmt.Sprintf("mutBool(%d, %d, ", t, n), ")")
	}
}

// zeroResults replaces each result by the zero value.
func (f *function) zeroResults(list []ast.Expr) {
	if len(list) != f.results.Len() {
		return
	}
	for i, e := range list {
		tv := f.r.info.Types[e]
		if tv.Value != nil || tv.IsNil() || tv.Type == nil || !types.Identical(tv.Type, f.results.At(i).Type()) {
			continue
		}
		if basic, ok := tv.Type.(*types.Basic); ok && basic.Info()&types.IsBoolean != 0 {
			continue
		}
		if literal, ok := e.(*ast.CompositeLit); ok && len(literal.Elts) == 0 {
			continue
		}
		if id := f.r.mutant(f, e, "the result "+f.r.text(e)+" is the zero value"); id != 0 {
			f.r.wrap(e, fmt.Sprintf("mutZero(%d, ", id), ")")
		}
	}
}

// extreme replaces min by max, and max by min.
func (f *function) extreme(n *ast.CallExpr) {
	name, _ := n.Fun.(*ast.Ident)
	if name == nil || f.r.info.Types[n].Value != nil {
		return
	}
	builtin, ok := f.r.info.Uses[name].(*types.Builtin)
	if !ok {
		return
	}
	swap := map[string][2]string{"min": {"max", "mutMin"}, "max": {"min", "mutMax"}}[builtin.Name()]
	if swap[0] == "" {
		return
	}
	if id := f.r.mutant(f, n, f.r.text(n)+" is "+swap[0]); id != 0 {
		f.r.replace(n.Pos(), n.Lparen+1, fmt.Sprintf("%s(%d, ", swap[1], id))
	}
}

// expression adds the mutants that an expression has wherever it is.
func (f *function) expression(e ast.Expr) ast.Visitor {
	tv := f.r.info.Types[e]
	if tv.IsType() {
		return nil
	}
	if tv.Value != nil {
		f.constant(e, tv)
		return nil
	}
	binary, ok := e.(*ast.BinaryExpr)
	if !ok {
		return f
	}
	switch op := binary.Op; op {
	case token.LAND:
		f.condition(binary.X, true, false)
		f.condition(binary.Y, true, false)
	case token.LOR:
		f.condition(binary.X, false, true)
		f.condition(binary.Y, false, true)
	case token.LSS, token.LEQ, token.GTR, token.GEQ:
		instead := map[token.Token]string{token.LSS: "<=", token.LEQ: "<", token.GTR: ">=", token.GEQ: ">"}[op]
		f.operator(binary, instead, fmt.Sprintf("mutCmp(%%d, %q, ", op))
	case token.ADD, token.SUB:
		if basic, ok := tv.Type.Underlying().(*types.Basic); !ok || basic.Info()&types.IsNumeric == 0 {
			return f
		}
		if op == token.ADD {
			f.operator(binary, "-", "mutAdd(%d, ")
		} else {
			f.operator(binary, "+", "mutSub(%d, ")
		}
	}
	return f
}

// operator makes a call of an operation.
func (f *function) operator(e *ast.BinaryExpr, instead, call string) {
	change := fmt.Sprintf("%s has %s", f.r.text(e), instead)
	if id := f.r.mutant(f, e, change); id != 0 {
		f.r.wrap(e, fmt.Sprintf(call, id), ")")
		f.r.replace(e.OpPos, e.OpPos+token.Pos(len(e.Op.String())), ",")
	}
}

// constant adds one to a number, and inverts a bool.
func (f *function) constant(e ast.Expr, tv types.TypeAndValue) {
	basic, ok := tv.Type.Underlying().(*types.Basic)
	if !ok {
		return
	}
	switch {
	case tv.Value.Kind() == constant.Bool && types.Identical(tv.Type, types.Typ[types.Bool]):
		if id := f.r.mutant(f, e, f.r.text(e)+" is the opposite"); id != 0 {
			value := constant.BoolVal(tv.Value)
			f.r.wrap(e, fmt.Sprintf("(%v == mutRun(%d) || false && ", value, id), ")")
		}
	case tv.Value.Kind() == constant.Int && basic.Info()&types.IsUntyped == 0 && basic.Info()&types.IsNumeric != 0:
		name, ok := f.r.typeName(tv.Type)
		if !ok {
			return
		}
		if id := f.r.mutant(f, e, f.r.text(e)+" is one more"); id != 0 {
			f.r.wrap(e, fmt.Sprintf("mutOne[%s](%d, ", name, id), ")")
		}
	}
}

// typeName returns what a type is called in the file.
func (r *rewriter) typeName(t types.Type) (string, bool) {
	known := true
	name := types.TypeString(t, func(p *types.Package) string {
		if p == r.pkg {
			return ""
		}
		if r.imports[p.Path()] == "" {
			known = false
		}
		return r.imports[p.Path()]
	})
	return name, known
}
