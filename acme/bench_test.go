package acme_test

import (
	"bytes"
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/certwright/certwright/acme"
	"github.com/certwright/certwright/storage"
)

// pendingOrders is how many abandoned orders BenchmarkPendingOrders compares with
// none.
const pendingOrders = 100_000

// BenchmarkPendingOrders makes new orders in two worlds by turns: in one the account
// has no other order, in the other 100,000 pending ones. What an order costs there
// must not be more than 20 % above what it costs here. The figures are CPU time and
// wall time of client and server together, medians over batches of ten.
func BenchmarkPendingOrders(b *testing.B) {
	unlimited := func(c *acme.Config) {
		c.Limits = acme.Limits{Orders: -1, OrdersPerName: -1, Accounts: -1, Failures: -1}
	}
	empty, full := newWorld(b, unlimited), newWorld(b, unlimited)
	clients := []*client{empty.registered(b), full.registered(b)}
	full.abandonOrders(clients[1], pendingOrders)
	const batch = 10
	var cpu, wall [2][]float64
	n := 0
	for b.Loop() {
		for side, c := range clients {
			began, used := time.Now(), processTime(b)
			for range batch {
				n++
				c.order(fmt.Sprintf("n%d.acme.internal", n))
			}
			cpu[side] = append(cpu[side], (processTime(b)-used).Seconds()*1e6/batch)
			wall[side] = append(wall[side], time.Since(began).Seconds()*1e6/batch)
		}
	}
	for side, name := range []string{"none", "100k"} {
		b.ReportMetric(median(cpu[side]), "cpu-µs/order-"+name)
		b.ReportMetric(median(wall[side]), "wall-µs/order-"+name)
	}
	b.ReportMetric(100*(median(cpu[1])/median(cpu[0])-1), "%-more-cpu")
	b.ReportMetric(0, "ns/op")
}

func processTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func median[T cmp.Ordered](list []T) T {
	sorted := slices.Clone(list)
	slices.Sort(sorted)
	return sorted[len(sorted)/2]
}

// abandonOrders gives the client's account n pending orders, each with a pending
// authorization of its own: copies of the records of one that is made in earnest.
func (w *world) abandonOrders(c *client, n int) {
	w.t.Helper()
	o := c.order("abandoned.acme.internal")
	last := func(url string) string { return url[strings.LastIndexByte(url, '/')+1:] }
	account, orderID, authzID := last(c.kid), last(o.url), last(o.Authorizations[0])
	order, err := w.store.Record(w.t.Context(), "acme-order", orderID)
	w.must(err)
	authz, err := w.store.Record(w.t.Context(), "acme-authz", authzID)
	w.must(err)
	for i := 0; i < n; {
		var unit storage.Unit
		for ; i < n && len(unit) < 1000; i++ {
			// IDs rise, as real ones do; the names differ, and are as long.
			id := fmt.Sprintf("%s%012d", orderID[:12], i)
			fresh := func(body []byte) []byte {
				body = bytes.ReplaceAll(body, []byte(authzID), []byte(id))
				return bytes.ReplaceAll(body, []byte("abandoned."), fmt.Appendf(nil, "as%07d.", i))
			}
			unit = append(unit,
				storage.PutRecord{
					Collection: "acme-order", ID: id, Body: fresh(order.Body), Expires: order.Expires,
					Indexes: []storage.RecordIndex{{Name: "account", Value: account}},
				},
				storage.PutRecord{Collection: "acme-authz", ID: id, Body: fresh(authz.Body), Expires: authz.Expires})
		}
		if _, err := w.store.Commit(w.t.Context(), unit); err != nil {
			w.t.Fatal(err)
		}
	}
	made := c.getOrder(strings.TrimSuffix(o.url, orderID) + fmt.Sprintf("%s%012d", orderID[:12], n-1))
	if made.Status != "pending" {
		w.t.Fatalf("a copied order is %q", made.Status)
	}
	if r := c.post(made.Authorizations[0], nil); r.status != http.StatusOK {
		w.t.Fatalf("a copied authorization: %d %s", r.status, r.body)
	}
}
