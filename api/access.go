package api

import (
	"fmt"
	"slices"
	"strings"

	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	reflectionalphapb "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/problem"
	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
)

// access says who may call a method: anyone, or who has one of the roles; and
// what it does for who is limited to owners.
type access struct {
	public bool
	roles  []identity.Role
	owners certwrightv1.Owners
}

// view is what a caller sees and changes by a method, of what belongs to owners.
type view struct {
	own    bool     // what the caller itself has asked for or holds
	admin  bool     // what others have
	owners []string // of the latter only these owners'; nil: all
}

// sees tells whether what belongs to the owner, and is not the caller's own, is
// there for the caller.
func (v view) sees(owner string) bool {
	return v.admin && (v.owners == nil || slices.Contains(v.owners, owner))
}

// view is what the principal may do by the method; the error refuses it.
func (a access) view(method string, p identity.Principal) (view, error) {
	var v view
	limited := []string{}
	for _, role := range a.roles {
		switch owners, isLimited := p.Limits[role]; {
		case !p.Has(role):
		case role == identity.RoleRequester || role == identity.RoleHolder:
			v.own = true
		case isLimited:
			limited = append(limited, owners...)
		default:
			return view{own: v.own || a.forOwn(p), admin: true}, nil
		}
	}
	switch {
	case len(limited) == 0 && v.own:
		return v, nil
	case len(limited) == 0 && a.lacksRole(p):
		return v, noRole(p)
	case len(limited) == 0:
		return v, &problem.Problem{
			Kind: problem.PermissionDenied, Rule: method, Value: p.String(),
			Detail: "these credentials may not call this method", Allowed: a.needed(),
			Help: "Ask an admin, or use the admin socket of the server; roles are given in the policy.",
		}
	case a.owners == certwrightv1.Owners_OWNERS_NONE:
		v.admin = true
	case a.owners == certwrightv1.Owners_OWNERS_LIMITED:
		v.admin, v.owners = true, limited
	case v.own:
	default:
		return v, &problem.Problem{
			Kind: problem.PermissionDenied, Reason: "LIMITED_TO_OWNERS", Rule: method, Value: p.String(),
			Detail:  "these credentials are limited to owners, and this method is not",
			Allowed: a.needed() + " without a limit", Help: "Ask an admin without a limit; roles are given in the policy.",
		}
	}
	return v, nil
}

// lacksRole tells whether a certificate opens no session only because it has no role.
func (a access) lacksRole(p identity.Principal) bool {
	return slices.Contains(a.roles, identity.RoleLogin) && isCertificate(p) && !isAdmin(p)
}

// forOwn tells whether the principal may call for what is its own.
func (a access) forOwn(p identity.Principal) bool {
	return slices.ContainsFunc(a.roles, func(r identity.Role) bool {
		return (r == identity.RoleRequester || r == identity.RoleHolder) && p.Has(r)
	})
}

// needed are the roles in words.
func (a access) needed() string {
	var names []string
	for _, role := range a.roles {
		names = append(names, string(role))
	}
	switch {
	case len(names) == 0:
		return "nobody"
	case slices.Contains(a.roles, identity.RoleLogin):
		return "an ID token for login, issued in the last 10 minutes, or a client certificate to which the policy gives the role of an admin"
	}
	return "the role " + strings.Join(names, " or ")
}

// methods is who may call each method, by its full name ("/package.Service/Method").
// What is not in it may be called by nobody.
type methods map[string]access

// foreign is the written list of methods that carry no annotation of ours, and
// the only ones that are public.
func foreign() methods {
	admins := access{roles: []identity.Role{identity.RoleAdmin}}
	return methods{
		healthpb.Health_Check_FullMethodName:                                   {public: true},
		healthpb.Health_List_FullMethodName:                                    {public: true},
		healthpb.Health_Watch_FullMethodName:                                   {public: true},
		reflectionpb.ServerReflection_ServerReflectionInfo_FullMethodName:      admins,
		reflectionalphapb.ServerReflection_ServerReflectionInfo_FullMethodName: admins,
	}
}

// descriptors are the files whose services are served.
func descriptors() []protoreflect.FileDescriptor {
	return []protoreflect.FileDescriptor{
		certwrightv1.File_certwright_v1_certificate_service_proto,
		certwrightv1.File_certwright_v1_ledger_service_proto,
		certwrightv1.File_certwright_v1_policy_service_proto,
		certwrightv1.File_certwright_v1_token_service_proto,
		certwrightv1.File_certwright_v1_issuer_service_proto,
		certwrightv1.File_certwright_v1_crl_service_proto,
		certwrightv1.File_certwright_v1_operation_service_proto,
		certwrightv1.File_certwright_v1_account_service_proto,
		certwrightv1.File_certwright_v1_eab_service_proto,
		certwrightv1.File_certwright_v1_order_service_proto,
		certwrightv1.File_certwright_v1_maintenance_service_proto,
		certwrightv1.File_certwright_v1_session_service_proto,
	}
}

// eachMethod calls do for every method of the files.
func eachMethod(files []protoreflect.FileDescriptor, do func(name string, m protoreflect.MethodDescriptor) error) error {
	for _, file := range files {
		for i := range file.Services().Len() {
			service := file.Services().Get(i)
			for j := range service.Methods().Len() {
				method := service.Methods().Get(j)
				name := fmt.Sprintf("/%s/%s", service.FullName(), method.Name())
				if err := do(name, method); err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
			}
		}
	}
	return nil
}

// annotatedMethods reads the authorization annotation of every method; one
// without it, or with one that says nothing or too much, is an error.
func annotatedMethods(files []protoreflect.FileDescriptor) (methods, error) {
	out := foreign()
	err := eachMethod(files, func(name string, m protoreflect.MethodDescriptor) error {
		a, err := annotation(m)
		out[name] = a
		return err
	})
	return out, err
}

func annotation(m protoreflect.MethodDescriptor) (access, error) {
	options := m.Options()
	if options == nil || !proto.HasExtension(options, certwrightv1.E_Authorization) {
		return access{}, fmt.Errorf("the method has no authorization annotation")
	}
	authorization, ok := proto.GetExtension(options, certwrightv1.E_Authorization).(*certwrightv1.Authorization)
	if !ok || authorization.GetPublic() == (len(authorization.GetRoles()) > 0) {
		return access{}, fmt.Errorf("the authorization annotation must be either public or name roles")
	}
	a := access{public: authorization.GetPublic(), owners: authorization.GetOwners()}
	for _, role := range authorization.GetRoles() {
		known := roleOf(role)
		if known == "" {
			return access{}, fmt.Errorf("the authorization annotation names the role %v, which nobody has", role)
		}
		a.roles = append(a.roles, known)
	}
	return a, nil
}

// roleOf is a role of the annotations; empty for one that nobody has.
func roleOf(role certwrightv1.Role) identity.Role {
	switch role {
	case certwrightv1.Role_ROLE_REQUESTER:
		return identity.RoleRequester
	case certwrightv1.Role_ROLE_HOLDER:
		return identity.RoleHolder
	case certwrightv1.Role_ROLE_LOGIN:
		return identity.RoleLogin
	case certwrightv1.Role_ROLE_VIEWER:
		return identity.RoleViewer
	case certwrightv1.Role_ROLE_AUDITOR:
		return identity.RoleAuditor
	case certwrightv1.Role_ROLE_OPERATOR:
		return identity.RoleOperator
	case certwrightv1.Role_ROLE_POLICY_ADMIN:
		return identity.RolePolicyAdmin
	case certwrightv1.Role_ROLE_CA_ADMIN:
		return identity.RoleAdmin
	}
	return ""
}
