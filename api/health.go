package api

import (
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/certwright/certwright/problem"
)

// healthService is the health service without Watch: a stream that anybody may
// open, and that never ends, is a place that anybody may hold. What probes a
// server uses Check, and a client that would watch takes Unimplemented as healthy
// (the health checking protocol says so).
type healthService struct{ *health.Server }

// Watch implements grpc_health_v1.HealthServer.
func (healthService) Watch(*healthpb.HealthCheckRequest, healthpb.Health_WatchServer) error {
	return noWatch()
}

func noWatch() error {
	return &problem.Problem{
		Kind: problem.NotFound, Reason: reasonNoMethod, Detail: "health is not watched here", Help: "Call Check.",
	}
}
