package api

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// route is one REST route, as its google.api.http annotation has it: enough of it
// to know the method before the gateway reads the request.
type route struct {
	verb     string          // GET, POST
	segments []string        // "" stands for a variable
	custom   string          // what follows ":" in the last segment
	method   string          // full name of the gRPC method
	query    map[string]bool // its query parameters; true: may be given more than once
}

// annotatedRoutes are the routes of all methods.
func annotatedRoutes(files []protoreflect.FileDescriptor) ([]route, error) {
	var out []route
	err := eachMethod(files, func(name string, m protoreflect.MethodDescriptor) error {
		rule, _ := proto.GetExtension(m.Options(), annotations.E_Http).(*annotations.HttpRule)
		if rule == nil {
			return nil
		}
		if len(rule.GetAdditionalBindings()) > 0 {
			return fmt.Errorf("additional bindings are not known to the router")
		}
		r := route{method: name}
		switch {
		case rule.GetGet() != "":
			r.verb, r.segments = http.MethodGet, strings.Split(rule.GetGet(), "/")[1:]
		case rule.GetPost() != "":
			r.verb, r.segments = http.MethodPost, strings.Split(rule.GetPost(), "/")[1:]
		default:
			return fmt.Errorf("its HTTP verb is not known to the router")
		}
		last := len(r.segments) - 1
		r.segments[last], r.custom, _ = strings.Cut(r.segments[last], ":")
		r.query = queryOf(m.Input(), rule)
		for i, segment := range r.segments {
			if strings.HasPrefix(segment, "{") {
				if strings.ContainsAny(segment, "=*") || !strings.HasSuffix(segment, "}") {
					return fmt.Errorf("the variable %s is not known to the router", segment)
				}
				delete(r.query, strings.Trim(segment, "{}"))
				r.segments[i] = ""
			}
		}
		out = append(out, r)
		return nil
	})
	return out, err
}

// queryOf are the fields that a route takes from the query, by their names in the
// .proto: all scalars, or none if it has a body.
func queryOf(input protoreflect.MessageDescriptor, rule *annotations.HttpRule) map[string]bool {
	query := map[string]bool{}
	for i := range input.Fields().Len() {
		if field := input.Fields().Get(i); rule.GetBody() == "" && field.Message() == nil {
			query[string(field.Name())] = field.IsList()
		}
	}
	return query
}

// checkQuery refuses a query that is not well-formed, or has a parameter that the
// route does not take or takes once. The gateway overlooks them.
func (r route) checkQuery(raw string) error {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return invalid("query", "", "the query cannot be read", "parameters of application/x-www-form-urlencoded")
	}
	seen := map[string]bool{}
	for key, list := range values {
		name := snake(key)
		many, ok := r.query[name]
		if !ok {
			return invalid("query", key, "there is no such query parameter here", strings.Join(slices.Sorted(maps.Keys(r.query)), ", "))
		}
		if !many && (len(list) > 1 || seen[name]) {
			return invalid("query", key, "the query parameter is given more than once", "")
		}
		seen[name] = true
	}
	return nil
}

// snake is the .proto's spelling of a name in lowerCamelCase.
func snake(name string) string {
	var b strings.Builder
	for _, c := range name {
		if c >= 'A' && c <= 'Z' {
			b.WriteByte('_')
			c += 'a' - 'A'
		}
		b.WriteRune(c)
	}
	return b.String()
}

// matches tells whether the path's segments are the route's.
func (r route) matches(segments []string) bool {
	if len(segments) != len(r.segments) {
		return false
	}
	for i, want := range r.segments {
		got := segments[i]
		if i == len(segments)-1 && r.custom != "" {
			rest, ok := strings.CutSuffix(got, ":"+r.custom)
			if !ok {
				return false
			}
			got = rest
		}
		if got == "" || want != "" && got != want {
			return false
		}
	}
	return true
}

// match is the route of a request; if there is none, the verbs that the path has.
func (s *Server) match(verb, path string) (route, []string) {
	segments := strings.Split(strings.TrimPrefix(path, "/"), "/")
	var verbs []string
	var found route
	for _, r := range s.routes {
		if !r.matches(segments) {
			continue
		}
		// The more a route says, the more it is meant: ":revoke" is no part of an ID.
		if r.verb == verb && (found.method == "" || found.custom == "") {
			found = r
		}
		if !slices.Contains(verbs, r.verb) {
			verbs = append(verbs, r.verb)
		}
	}
	return found, verbs
}
