// Package api serves certwright.v1 over gRPC and REST. It translates: requests
// into calls of the rooms below, their answers and problems back. It decides
// nothing but who may call.
//
// Every call goes through one chain (chain.go), whatever its transport: request
// ID, recovery from panics, authentication, authorization by the method's
// annotation, limits, the method, and the one mapping of problems (status.go).
// gRPC reaches the chain before a message is decoded, because the registered
// handlers are wrapped (register.go); before that, gRPC's tap refuses a call by its
// headers alone. REST is grpc-gateway over an in-process connection that ends in
// the same wrapped handlers (inprocess.go), and authenticates and authorizes by
// the route before it reads a body (rest.go).
package api
