package api

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// route is one REST route, as its google.api.http annotation has it: enough of it
// to know the method before the gateway reads the request.
type route struct {
	verb     string   // GET, POST
	segments []string // "" stands for a variable
	custom   string   // what follows ":" in the last segment
	method   string   // full name of the gRPC method
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
		for i, segment := range r.segments {
			if strings.HasPrefix(segment, "{") {
				if strings.ContainsAny(segment, "=*") || !strings.HasSuffix(segment, "}") {
					return fmt.Errorf("the variable %s is not known to the router", segment)
				}
				r.segments[i] = ""
			}
		}
		out = append(out, r)
		return nil
	})
	return out, err
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
