// Package api serves certwright.v1 over gRPC and REST. It translates: requests
// into calls of the rooms below, their answers and problems back. It decides
// nothing but who may call.
//
// Every call goes through one chain (chain.go), whatever its transport: request
// ID, recovery from panics, authentication, authorization by the method's
// annotation, limits, the method, and the one mapping of problems (status.go).
// gRPC reaches the chain before a message is received, because the registered
// handlers are wrapped (register.go); before that, gRPC's tap refuses a call by its
// headers alone. A call takes its place when its request is there (places.go), and
// a request has a time to arrive in (receive.go). REST is grpc-gateway over an
// in-process connection that ends in the same wrapped handlers (register.go,
// stream.go), and authenticates and authorizes by the route before it reads a body
// (rest.go).
//
// Three faults of a caller are answered by gRPC itself, without a problem: a
// message that ends in the middle, or cannot be decompressed, is INTERNAL; one over
// the limit is RESOURCE_EXHAUSTED; an unknown compression is UNIMPLEMENTED.
package api
