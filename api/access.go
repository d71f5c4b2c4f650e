package api

import (
	"fmt"

	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	reflectionalphapb "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/certwright/certwright/identity"
	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
)

// access says who may call a method: anyone, or who has one of the roles.
type access struct {
	public bool
	roles  []identity.Role
}

// allows tells whether a principal may call.
func (a access) allows(p identity.Principal) bool {
	for _, role := range a.roles {
		if p.Has(role) {
			return true
		}
	}
	return a.public
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
	a := access{public: authorization.GetPublic()}
	for _, role := range authorization.GetRoles() {
		switch role {
		case certwrightv1.Role_ROLE_REQUESTER:
			a.roles = append(a.roles, identity.RoleRequester)
		case certwrightv1.Role_ROLE_ADMIN:
			a.roles = append(a.roles, identity.RoleAdmin)
		default:
			return access{}, fmt.Errorf("the authorization annotation names the role %v, which nobody has", role)
		}
	}
	return a, nil
}
