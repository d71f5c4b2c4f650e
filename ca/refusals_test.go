package ca

import (
	"fmt"
	"testing"
	"time"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/problem"
)

func refusalOf(t *testing.T, requester string, at time.Time) Refusal {
	t.Helper()
	req := request(t, "")
	req.Principal.ID, req.Call, req.Owner = requester, "call-of-"+requester, "team"
	return NewRefusal(req, problem.New(problem.Denied, "no"), at)
}

// TestRefusalsOfOthersStay: whoever is refused again and again neither pushes out
// the refusals of others nor writes without end.
func TestRefusalsOfOthersStay(t *testing.T) {
	w := newWorld(t, nil)
	now := time.Now()
	refusals := NewRefusals(RefusalsConfig{Store: w.store})
	for n := range 5 {
		refusals.Note(refusalOf(t, fmt.Sprint("honest", n), now))
	}
	flood := func(from time.Time, n int) {
		for i := range n {
			refusals.Note(refusalOf(t, "flood", from.Add(time.Duration(i)*time.Millisecond)))
		}
		if err := refusals.flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	flood(now, 5000)
	count := func() (flood, honest int, omitted uint64) {
		list, err := refusals.List(t.Context(), 0, 2*refusalsKept)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range list {
			if f.Requester == "local_socket:flood" {
				flood++
				omitted += f.Omitted
			} else if f.RequestID == "call-of-"+f.Requester[len("local_socket:"):] && f.Owner == "team" {
				honest++
			}
		}
		return flood, honest, omitted
	}
	if f, h, _ := count(); f > 70 || h != 5 {
		t.Errorf("%d of the flood, %d of others", f, h)
	}
	for minute := range 40 { // a patient one
		if minute == 20 {
			refusals = NewRefusals(RefusalsConfig{Store: w.store})
		}
		flood(now.Add(time.Duration(minute+1)*time.Minute), 100)
	}
	if f, h, omitted := count(); f != refusalsKept-5 || h != 5 || omitted == 0 {
		t.Errorf("%d of the flood, %d of others, %d omitted", f, h, omitted)
	}
	// A newcomer finds room.
	refusals.Note(refusalOf(t, "honest5", now))
	if _, h, _ := count(); h != 6 {
		t.Errorf("%d of others", h)
	}
}

// TestPreviewIsThePath: Preview says what Issue would, while signing is held and
// for a request ID that is taken.
func TestPreviewIsThePath(t *testing.T) {
	var held error
	w := newWorld(t, func(c *Config) { c.Hold = func() error { return held } })
	req := request(t, "one")
	issued, err := w.Issue(t.Context(), req, Attach{})
	if err != nil {
		t.Fatal(err)
	}
	same, err := w.Preview(t.Context(), req)
	if err != nil || !same.Again.Repeated || !sameDER(same.Again, issued) {
		t.Errorf("%+v, %v", same, err)
	}
	other := req
	other.Identifiers = []identity.Identifier{{Type: identity.DNS, Value: "other.internal"}}
	_, err = w.Preview(t.Context(), other)
	wantProblem(t, err, problem.Conflict, "REQUEST_ID_REUSED")
	held = problem.New(problem.Unavailable, "held")
	_, err = w.Preview(t.Context(), request(t, "two"))
	wantProblem(t, err, problem.Unavailable, "")
	if s := w.Stats(); s.Repeated != 0 {
		t.Errorf("%d previews count as repetitions", s.Repeated)
	}
}
