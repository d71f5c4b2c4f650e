package policy

import (
	"errors"
	"fmt"
	"slices"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/problem"
)

// costLimit bounds the work of one expression, in CEL's units: comparing the 100
// names of a request with each other costs about 40,000.
const costLimit = 100_000

// celRequest is the variable request.
type celRequest struct {
	Names    []string          `cel:"names"` // of all types
	DNS      []string          `cel:"dns"`
	IP       []string          `cel:"ip"`
	URI      []string          `cel:"uri"`
	Email    []string          `cel:"email"`
	Key      celKey            `cel:"key"`
	Labels   map[string]string `cel:"labels"`
	Owner    string            `cel:"owner"` // who will own the certificate
	Profile  string            `cel:"profile"`
	Validity int64             `cel:"validity"` // in seconds
}

// celKey is a public key as conditions see it.
type celKey struct {
	Name      string `cel:"name"`      // as in profiles: ecdsa-p256
	Algorithm string `cel:"algorithm"` // ECDSA, Ed25519, RSA
	Size      int64  `cel:"size"`      // in bits
	Curve     string `cel:"curve"`     // P-256, P-384; else empty
}

// celPrincipal is the variable principal.
type celPrincipal struct {
	Method string         `cel:"method"`
	ID     string         `cel:"id"`
	Roles  []string       `cel:"roles"`
	Claims map[string]any `cel:"claims"`
}

// celProfile is the variable profile.
type celProfile struct {
	Name        string   `cel:"name"`
	Kind        string   `cel:"kind"`
	Issuer      string   `cel:"issuer"`
	ExtKeyUsage []string `cel:"ext_key_usage"`
	Wildcards   bool     `cel:"wildcards"`
	MaxNames    int64    `cel:"max_names"`
}

// condition is a compiled Condition.
type condition struct {
	Condition
	when    cel.Program // nil: always
	require cel.Program
}

// newEnv is the environment of conditions: three variables and CEL's standard
// library.
func newEnv() (*cel.Env, error) {
	tag := types.ParseStructTag("cel")
	return cel.NewEnv(
		cel.Types(
			cel.NativeTypeFor[celRequest](tag, cel.NativeTypeAlias("certwright.Request")),
			cel.NativeTypeFor[celKey](tag, cel.NativeTypeAlias("certwright.Key")),
			cel.NativeTypeFor[celPrincipal](tag, cel.NativeTypeAlias("certwright.Principal")),
			cel.NativeTypeFor[celProfile](tag, cel.NativeTypeAlias("certwright.Profile")),
		),
		cel.Variable("request", cel.ObjectType("certwright.Request")),
		cel.Variable("principal", cel.ObjectType("certwright.Principal")),
		cel.Variable("profile", cel.ObjectType("certwright.Profile")),
		cel.ParserExpressionSizeLimit(4096),
		cel.ParserRecursionLimit(64),
	)
}

// compileExpression compiles a boolean expression; more are options of its evaluation.
func compileExpression(env *cel.Env, text string, more ...cel.EvalOption) (cel.Program, error) {
	ast, issues := env.Compile(text)
	if list := issues.Errors(); len(list) > 0 {
		return nil, fmt.Errorf("column %d: %s", list[0].Location.Column()+1, list[0].Message)
	}
	if err := issues.Err(); err != nil {
		return nil, err
	}
	if ast.OutputType() != cel.BoolType {
		return nil, fmt.Errorf("it is of type %s, not bool", ast.OutputType())
	}
	return env.Program(ast, cel.EvalOptions(append(more, cel.OptOptimize)...), cel.CostLimit(costLimit))
}

// holds evaluates an expression.
func holds(program cel.Program, vars map[string]any) (bool, error) {
	out, _, err := program.Eval(vars)
	if err != nil {
		return false, err
	}
	answer, ok := out.Value().(bool)
	if !ok {
		return false, errors.New("the answer is not true or false")
	}
	return answer, nil
}

// check is the violation of the condition, or nil.
func (c *condition) check(vars map[string]any) *problem.Violation {
	v := problem.Violation{Reason: ReasonCondition, Rule: "condition " + c.Name, Allowed: c.Require, Detail: c.Message}
	apply, err := true, error(nil)
	if c.when != nil {
		apply, err = holds(c.when, vars)
	}
	if err == nil && !apply {
		return nil
	}
	met := false
	if err == nil {
		met, err = holds(c.require, vars)
	}
	switch {
	case err != nil:
		v.Reason = ReasonConditionError
		v.Detail = fmt.Sprintf("%s (the condition cannot be judged: %v)", c.Message, err)
	case met:
		return nil
	}
	return &v
}

// conditions are the violations of all conditions of the profile.
func (e *Engine) checkConditions(vars map[string]any, profile string) []problem.Violation {
	var all []problem.Violation
	for _, c := range e.conditions {
		if len(c.Profiles) > 0 && !slices.Contains(c.Profiles, profile) {
			continue
		}
		if v := c.check(vars); v != nil {
			all = append(all, *v)
		}
	}
	return all
}

// celVars are the variables for a request.
func celVars(req identity.Request, p Profile, owner string, validity int64) map[string]any {
	_, key := describeKey(req.PublicKey)
	r := &celRequest{Key: key, Labels: req.Labels, Owner: owner, Profile: p.Name, Validity: validity}
	for _, id := range req.Identifiers {
		r.Names = append(r.Names, id.Value)
		switch id.Type {
		case identity.DNS:
			r.DNS = append(r.DNS, id.Value)
		case identity.IP:
			r.IP = append(r.IP, id.Value)
		case identity.URI:
			r.URI = append(r.URI, id.Value)
		case identity.Email:
			r.Email = append(r.Email, id.Value)
		}
	}
	who := &celPrincipal{Method: string(req.Principal.Method), ID: req.Principal.ID, Claims: req.Principal.Claims}
	for _, role := range req.Principal.Roles {
		who.Roles = append(who.Roles, string(role))
	}
	return map[string]any{"request": r, "principal": who, "profile": &celProfile{
		Name: p.Name, Kind: string(p.Kind), Issuer: p.Issuer, ExtKeyUsage: p.ExtKeyUsage,
		Wildcards: p.Wildcards, MaxNames: int64(p.MaxNames),
	}}
}
