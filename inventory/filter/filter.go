// Package filter is the one filter language of every list: AIP-160 over a fixed
// set of typed fields, compiled once and matched against rows.
//
//	owner = "team-a" AND not_after < "2027-01-01T00:00:00Z"
//	dns_names:"*.internal" AND NOT superseded
//
// Comparisons are = != < <= > >=; ":" is "has": on a list it finds a member, on a
// text a part of it, and :"*" tells whether there is anything. A leading or
// trailing "*" in a has-value stands for any text. Values with anything but
// letters, digits, "_" and "." are quoted. Texts compare exactly, but for those
// of a fixed set and has, which ignore case.
package filter

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"go.einride.tech/aip/filtering"
	expr "google.golang.org/genproto/googleapis/api/expr/v1alpha1"

	"github.com/certwright/certwright/problem"
)

// The bounds of a filter's text: its length, how deep its parentheses nest, and
// how many terms it has.
const (
	MaxLength = 2048
	maxDepth  = 16
	maxTerms  = 100
)

// Type is what a field's values are.
type Type int

// The types, with what a Row answers for a field of each.
const (
	Text   Type = iota // string
	Texts              // []string
	Time               // time.Time; the zero time equals nothing and is before nothing
	Bool               // bool
	Number             // uint64
	Map                // map[string]string; named with its key: labels.team
)

// Field is one field that a filter may name.
type Field struct {
	Name   string
	Type   Type
	Values []string // of Text: the only ones it has, in their spelling; nil: any
	// Canonical brings a filter's value into the form in which rows have it; nil:
	// it is taken as it is.
	Canonical func(string) (string, error)
}

// Row answers a field's value in the Go type that its Type names.
type Row func(field string) any

// Filter is a compiled filter. The zero value matches everything.
type Filter struct {
	match      func(Row) bool
	conditions []Condition
	fields     []string
}

// Condition is one comparison that every matching row fulfils: the filter's
// top-level terms joined by AND.
type Condition struct {
	Field    string
	Operator string // = != < <= > >= :
	Text     string
	Time     time.Time // of a Time field
}

// Match tells whether the row fulfils the filter.
func (f Filter) Match(row Row) bool { return f.match == nil || f.match(row) }

// Conditions are what every matching row fulfils, for choosing an index.
func (f Filter) Conditions() []Condition { return f.conditions }

// Fields are the names of all fields that the filter names, each once, sorted; of
// a Map with the key: labels.team.
func (f Filter) Fields() []string { return f.fields }

// Compile reads a filter over the fields. An error is a *problem.Problem of Kind
// Malformed and Reason FILTER_INVALID that says what is wrong and what is known.
func Compile(text string, fields []Field) (Filter, error) {
	if strings.TrimSpace(text) == "" {
		return Filter{}, nil
	}
	if len(text) > MaxLength {
		return Filter{}, invalid(fields, "the filter has %d octets: %d are allowed", len(text), MaxLength)
	}
	if strings.Count(text, "(") > maxDepth {
		return Filter{}, invalid(fields, "the filter has more than %d parentheses", maxDepth)
	}
	var parser filtering.Parser
	parser.Init(text)
	parsed, err := parser.Parse()
	if err != nil {
		return Filter{}, unread(text, err)
	}
	c := compiler{fields: fields}
	match, err := c.boolean(parsed.GetExpr())
	if err != nil {
		return Filter{}, err
	}
	slices.Sort(c.named)
	return Filter{match: match, fields: slices.Compact(c.named), conditions: c.top(parsed.GetExpr())}, nil
}

func invalid(fields []Field, format string, args ...any) error {
	names := make([]string, 0, len(fields))
	for _, f := range fields {
		names = append(names, f.Name)
	}
	slices.Sort(names)
	return &problem.Problem{
		Kind: problem.Malformed, Reason: "FILTER_INVALID", Rule: "filter",
		Detail: strings.ToValidUTF8(fmt.Sprintf(format, args...), "�"), Allowed: "the fields " + strings.Join(names, ", "),
		Help: `Write it as in: owner = "team-a" AND not_after < "2027-01-01T00:00:00Z". Values with other characters than letters, digits, "_" and "." are quoted.`,
	}
}

type compiler struct {
	fields []Field
	terms  int
	named  []string // fields, as they are met
}

func (c *compiler) boolean(e *expr.Expr) (func(Row) bool, error) {
	if c.terms++; c.terms > maxTerms {
		return nil, invalid(c.fields, "the filter has more than %d terms", maxTerms)
	}
	call := e.GetCallExpr()
	if call == nil {
		return c.bare(e)
	}
	args := call.GetArgs()
	switch name := call.GetFunction(); name {
	case filtering.FunctionAnd, filtering.FunctionOr:
		if len(args) != 2 {
			break
		}
		return c.both(name, args[0], args[1])
	case filtering.FunctionNot:
		if len(args) != 1 {
			break
		}
		inner, err := c.boolean(args[0])
		if err != nil {
			return nil, err
		}
		return func(r Row) bool { return !inner(r) }, nil
	case "=", "!=", "<", "<=", ">", ">=", ":":
		if len(args) != 2 {
			break
		}
		return c.comparison(name, args[0], args[1])
	case filtering.FunctionFuzzyAnd:
		return nil, invalid(c.fields, "two terms stand side by side: join them with AND or OR")
	}
	return nil, invalid(c.fields, "there is no function %.32q", call.GetFunction())
}

// both joins two terms by AND or OR.
func (c *compiler) both(name string, first, second *expr.Expr) (func(Row) bool, error) {
	left, err := c.boolean(first)
	if err != nil {
		return nil, err
	}
	right, err := c.boolean(second)
	if err != nil {
		return nil, err
	}
	if name == filtering.FunctionAnd {
		return func(r Row) bool { return left(r) && right(r) }, nil
	}
	return func(r Row) bool { return left(r) || right(r) }, nil
}

// bare is a term without a comparison: the name of a Bool field.
func (c *compiler) bare(e *expr.Expr) (func(Row) bool, error) {
	name, _ := path(e)
	f, ok := c.field(name)
	if !ok || f.Type != Bool {
		return nil, invalid(c.fields, "%.64q alone is not a condition", name)
	}
	c.named = append(c.named, f.Name)
	return func(r Row) bool { v, _ := r(f.Name).(bool); return v }, nil
}

func (c *compiler) comparison(operator string, left, right *expr.Expr) (func(Row) bool, error) {
	condition, f, err := c.condition(operator, left, right)
	if err != nil {
		return nil, err
	}
	return matcher(f, condition)
}

// condition reads one comparison.
func (c *compiler) condition(operator string, left, right *expr.Expr) (Condition, Field, error) {
	name, ok := path(left)
	f, known := c.field(name)
	if !ok || !known {
		return Condition{}, f, invalid(c.fields, "there is no field %.64q", name)
	}
	c.named = append(c.named, f.Name)
	value, ok := literal(right)
	if !ok {
		return Condition{}, f, invalid(c.fields, "%s: the value is not a text, number or time", name)
	}
	if !slices.Contains(operators(f.Type), operator) {
		return Condition{}, f, invalid(c.fields, "%s: %s cannot be used here, but %s can", name, operator, strings.Join(operators(f.Type), " "))
	}
	condition := Condition{Field: name, Operator: operator, Text: value}
	switch {
	case operator == ":" && value == "*":
	case f.Type == Time:
		at, err := parseTime(value)
		if err != nil {
			return condition, f, invalid(c.fields, "%s: %v", name, err)
		}
		condition.Time = at
	case f.Values != nil:
		i := slices.IndexFunc(f.Values, func(v string) bool { return strings.EqualFold(v, value) })
		if i < 0 {
			return condition, f, invalid(c.fields, "%s: %.64q is not one of %s", name, value, strings.Join(f.Values, ", "))
		}
		condition.Text = f.Values[i]
	case f.Canonical != nil && (operator == "=" || operator == "!="):
		canonical, err := f.Canonical(value)
		if err != nil {
			return condition, f, invalid(c.fields, "%s: %v", name, err)
		}
		condition.Text = canonical
	}
	return condition, f, nil
}

// top are the comparisons that AND joins at the top. The expression has compiled.
func (c *compiler) top(e *expr.Expr) []Condition {
	call := e.GetCallExpr()
	switch call.GetFunction() {
	case filtering.FunctionAnd:
		return append(c.top(call.GetArgs()[0]), c.top(call.GetArgs()[1])...)
	case filtering.FunctionOr, filtering.FunctionNot, "":
		return nil
	}
	condition, _, err := c.condition(call.GetFunction(), call.GetArgs()[0], call.GetArgs()[1])
	if err != nil {
		return nil
	}
	return []Condition{condition}
}

func (c *compiler) field(name string) (Field, bool) {
	for _, f := range c.fields {
		if f.Name == name {
			return f, f.Type != Map
		}
		if f.Type == Map {
			if key, ok := strings.CutPrefix(name, f.Name+"."); ok && key != "" {
				return Field{Name: name, Type: Text}, true
			}
		}
	}
	return Field{}, false
}

// path is the dotted name that an expression is.
func path(e *expr.Expr) (string, bool) {
	if ident := e.GetIdentExpr(); ident != nil {
		return ident.GetName(), true
	}
	if sel := e.GetSelectExpr(); sel != nil {
		parent, ok := path(sel.GetOperand())
		return parent + "." + sel.GetField(), ok
	}
	return e.GetConstExpr().GetStringValue(), e.GetConstExpr() != nil
}

// literal is the value that an expression is: quoted or bare text, or a number.
func literal(e *expr.Expr) (string, bool) {
	if constant := e.GetConstExpr(); constant != nil {
		switch constant.GetConstantKind().(type) {
		case *expr.Constant_StringValue:
			return constant.GetStringValue(), true
		case *expr.Constant_Int64Value:
			return fmt.Sprint(constant.GetInt64Value()), true
		case *expr.Constant_DoubleValue:
			return fmt.Sprint(constant.GetDoubleValue()), true
		}
		return "", false
	}
	return path(e)
}
