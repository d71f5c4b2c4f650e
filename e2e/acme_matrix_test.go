package e2e

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// clientPatience bounds one call of one client.
const clientPatience = 2 * time.Minute

// operations are the columns of the matrix, in the order in which a client does
// them.
func operations() []string {
	return []string{"register", "issue", "renew", "revoke", "EAB", "wildcard", "IP", "http-01", "dns-01", "tls-alpn-01"}
}

// cell is one operation of one client: run does it, or skip says why it cannot.
type cell struct {
	run  func(t *testing.T)
	skip string
}

func does(run func(t *testing.T)) cell { return cell{run: run} }
func cannot(reason string) cell        { return cell{skip: reason} }

// acmeClient makes a client's cells; it has one for each operation.
type acmeClient struct {
	name  string
	cells func(t *testing.T, w *acmeWorld, ip string) map[string]cell
}

// TestACMEMatrix runs every operation of every client against one server, and
// reads the ledger afterwards.
func TestACMEMatrix(t *testing.T) {
	w := newACMEWorld(t)
	w.startACME()
	results := &table{cells: map[string]string{}}
	clients := []acmeClient{
		{"certbot", certbotCells}, {"dehydrated", dehydratedCells}, {"uacme", uacmeCells}, {"acmetiny", acmeTinyCells},
		{"legocli", legoCommandCells}, {"caddy", caddyCells}, {"pythonacme", pythonCells},
		{"lego", legoCells}, {"acmez", acmezCells}, {"certmagic", certmagicCells}, {"xcrypto", xcryptoCells}, {"autocert", autocertCells},
	}
	t.Run("clients", func(t *testing.T) {
		for _, client := range clients {
			t.Run(client.name, func(t *testing.T) {
				t.Parallel()
				cells := client.cells(t, w, w.address(client.name))
				for _, operation := range operations() {
					t.Run(operation, func(t *testing.T) { results.do(t, client.name, operation, cells[operation]) })
				}
			})
		}
	})
	results.print(t, clients)
	w.compareACME(t)
	w.must(t.TempDir(), "ledger", "verify", "--signatures")
}

// table is what became of each cell.
type table struct {
	mu    sync.Mutex
	cells map[string]string
	notes []string
}

func (r *table) do(t *testing.T, client, operation string, c cell) {
	outcome := "FAIL"
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.cells[client+" "+operation] = outcome
		if c.skip != "" {
			r.notes = append(r.notes, fmt.Sprintf("%s, %s: %s", client, operation, c.skip))
		}
	}()
	switch {
	case c.run == nil && c.skip == "":
		t.Error("this cell is skipped without a reason")
	case c.run == nil:
		outcome = "-"
	default:
		c.run(t)
		if !t.Failed() {
			outcome = "ok"
		}
	}
}

func (r *table) print(t *testing.T, clients []acmeClient) {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "\n%-12s", "")
	for _, operation := range operations() {
		fmt.Fprintf(&b, " %-11s", operation)
	}
	for _, client := range clients {
		fmt.Fprintf(&b, "\n%-12s", client.name)
		for _, operation := range operations() {
			outcome := r.cells[client.name+" "+operation]
			if outcome == "" {
				t.Errorf("%s, %s: the cell was not run", client.name, operation)
			}
			fmt.Fprintf(&b, " %-11s", outcome)
		}
	}
	t.Logf("%s\n\nSkipped, because:\n%s", b.String(), strings.Join(r.notes, "\n"))
}

// keyOfEAB makes an EAB key for the policy's grant "bound".
func (w *acmeWorld) keyOfEAB(t *testing.T) (id, key string) {
	t.Helper()
	return w.createEAB(t, "--grant", "bound", "--owner", boundOwner)
}

const (
	boundOwner = "team-bound"
	openOwner  = "unassigned"
)
