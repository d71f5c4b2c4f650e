package api

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/certwright/certwright/ca"
	"github.com/certwright/certwright/inventory/filter"
	"github.com/certwright/certwright/problem"
	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
)

const maxRefusals = 1000 // the ring's size

func refusalFields() []filter.Field {
	return []filter.Field{
		{Name: "time", Type: filter.Time},
		{Name: "requester", Type: filter.Text},
		{Name: "profile", Type: filter.Text},
		{Name: "owner", Type: filter.Text},
		{Name: "reason", Type: filter.Text},
		{Name: "names", Type: filter.Texts},
		{Name: "request_id", Type: filter.Text},
		{Name: "outcome", Type: filter.Text, Values: []string{"DENIED", "FAILED"}},
	}
}

// ListRefusals implements certwright.v1.CertificateService.
func (s *certificateService) ListRefusals(ctx context.Context, in *certwrightv1.ListRefusalsRequest) (*certwrightv1.ListRefusalsResponse, error) {
	size, err := pageSize(in.GetPageSize())
	if err != nil {
		return nil, err
	}
	f, err := filter.Compile(in.GetFilter(), refusalFields())
	if err != nil {
		return nil, err
	}
	skip, err := parseOffset(in.GetPageToken(), "refusals", in.GetFilter())
	if err != nil {
		return nil, err
	}
	all, err := s.config.Refusals.List(ctx, 0, maxRefusals)
	if err != nil {
		return nil, err
	}
	var matching []*certwrightv1.Refusal
	for _, refusal := range all {
		m := refusalMessage(refusal)
		if f.Match(refusalRow(m)) && callOf(ctx).view.sees(refusal.Owner) {
			matching = append(matching, m)
		}
	}
	page, next := offsetPage(matching, skip, size, "refusals", in.GetFilter())
	return &certwrightv1.ListRefusalsResponse{Refusals: page, NextPageToken: next}, nil
}

func refusalMessage(r ca.Refusal) *certwrightv1.Refusal {
	m := &certwrightv1.Refusal{
		Time: timestamp(r.Time), Requester: clean(r.Requester), Profile: clean(r.Profile), Owner: clean(r.Owner), Reason: clean(r.Reason),
		Violations: violations(r.Violations), Outcome: certwrightv1.Refusal_DENIED, RequestId: clean(r.RequestID),
		Detail: clean(r.Detail),
	}
	if r.Omitted > 0 {
		m.Detail += fmt.Sprintf(" (%d more refusals of this requester came just before)", r.Omitted)
	}
	for _, name := range r.Names {
		m.Names = append(m.Names, clean(name))
	}
	if len(m.GetViolations()) > 0 {
		m.Reason = m.GetViolations()[0].GetReason()
	}
	switch r.Kind {
	case problem.Internal, problem.Overloaded, problem.Unavailable, problem.FailedPrecondition:
		m.Outcome = certwrightv1.Refusal_FAILED
	}
	return m
}

func refusalRow(m *certwrightv1.Refusal) filter.Row {
	return func(field string) any {
		switch field {
		case "time":
			return m.GetTime().AsTime()
		case "requester":
			return m.GetRequester()
		case "profile":
			return m.GetProfile()
		case "owner":
			return m.GetOwner()
		case "reason":
			return m.GetReason()
		case "names":
			return m.GetNames()
		case "request_id":
			return m.GetRequestId()
		case "outcome":
			return m.GetOutcome().String()
		}
		return nil
	}
}

// parseOffset is the place in a short list that a page token stands for.
func parseOffset(token string, question ...string) (int, error) {
	raw, err := filter.ParsePageToken(token, question...)
	if err != nil || raw == nil {
		return 0, err
	}
	if len(raw) != 4 {
		return 0, filter.NoPlace(nil)
	}
	return int(binary.BigEndian.Uint32(raw)), nil
}

// offsetPage is one page of a short list that is held as a whole.
func offsetPage[T any](list []T, skip, size int, question ...string) ([]T, string) {
	skip = min(skip, len(list))
	end := min(skip+size, len(list))
	if end == len(list) {
		return list[skip:end], ""
	}
	return list[skip:end], filter.PageToken(binary.BigEndian.AppendUint32(nil, uint32(end)), question...)
}
