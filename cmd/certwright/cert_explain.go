package main

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	"github.com/certwright/certwright/identity"
	pb "github.com/certwright/certwright/proto/certwright/v1"
)

// explainFlags are the flags of cert explain.
type explainFlags struct {
	failed  bool
	account string
	limit   int
}

func certExplainCommand(a *app) *cobra.Command {
	f := &explainFlags{}
	cmd := leaf{
		use: "explain ID|SERIAL|ORDER [flags]", short: "Explain how a certificate came about over ACME, or why it did not",
		long: `
Tells the story of an ACME order: its account, each name's challenges with the
hosts and addresses that were contacted and what they answered, the grant and
policy that allowed it, and the ledger index. The order is named by its ID or URL,
or by the ID or serial of its certificate.

With --failed it lists the orders that failed and why; they are kept for 7 days.`,
		example: `
certwright cert explain 0199b2c3d4e5f60718293a4b5c6d7e8f
certwright cert explain https://localhost:8443/acme/order/0d1e2f3a4b5c6d7e8f9a0b1c -o json
certwright cert explain --failed --limit 20`,
		next: "certwright ledger show INDEX",
		args: func(cmd *cobra.Command, args []string) error {
			if f.failed {
				return exactly()(cmd, args)
			}
			return exactly("an ID or SERIAL, or an ORDER")(cmd, args)
		},
		run: func(cmd *cobra.Command, args []string) error {
			if f.failed {
				return a.failedOrders(cmd.Context(), f)
			}
			order, err := a.findOrder(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.explainOrder(cmd.Context(), order)
		},
	}.command()
	cmd.Flags().BoolVar(&f.failed, "failed", false, "list the orders that failed instead")
	cmd.Flags().StringVar(&f.account, "account", "", "with --failed: only those of this account")
	limitFlag(cmd, &f.limit)
	a.outputFlag(cmd)
	return cmd
}

// orderForm is what the ID of an order looks like.
const orderForm = `^[0-9a-v]{24}$`

// certificateForm is what the ID of a certificate looks like.
var certificateForm = regexp.MustCompile(`^[0-9a-f]{64}$`)

// findOrder asks for the order that text names: an order's ID or URL, else the
// ID or serial of a certificate. A text that can be both is tried as both.
func (a *app) findOrder(ctx context.Context, text string) (order *pb.Order, err error) {
	if certificateForm.MatchString(text) {
		cert, err := a.findCertificate(ctx, text)
		if err != nil {
			return nil, err
		}
		text = cert.GetSerial()
	}
	id := text[strings.LastIndexByte(text, '/')+1:]
	isOrder := regexp.MustCompile(orderForm).MatchString(id)
	serial, serialErr := identity.ParseSerial(text)
	if !isOrder && serialErr != nil {
		return nil, usagef("%q is no order (its ID of 24 characters, or its URL) and no ID (64 hexadecimal digits) or serial (up to 32) of a certificate", text)
	}
	err = a.ask(ctx, func(ctx context.Context, conn *grpc.ClientConn) (err error) {
		client := pb.NewOrderServiceClient(conn)
		if isOrder {
			order, err = client.GetOrder(ctx, &pb.GetOrderRequest{Id: id})
			if err == nil || serialErr != nil {
				return err
			}
		}
		order, err = client.FindOrder(ctx, &pb.FindOrderRequest{Serial: serial.String()})
		return err
	})
	return order, err
}

// explainOrder prints the order's story: a portrait, and a table of its challenges.
func (a *app) explainOrder(ctx context.Context, order *pb.Order) error {
	if a.format != "table" && a.format != "wide" {
		r := rows{columns: columnsOf("order", "account", "state", "names", "serial", "ledger index", "error")}
		r.add(order.GetId(), order.GetId(), order.GetAccount(), word(order.GetState()), strings.Join(order.GetIdentifiers(), ", "), order.GetSerial(),
			ledgerIndex(order), errorText(order.GetError()))
		return a.print(order, r)
	}
	account, err := a.account(ctx, order.GetAccount())
	if err != nil {
		return err
	}
	r := rows{portrait: true, columns: columnsOf("Account", "EAB key", "Order", "State", "Why", "Names", "Profile", "Replaces", "Certificate replaced", "Made", "Expires",
		"Grant", "Policy version", "Owner", "Serial", "Ledger index")}
	eab := ""
	if account.GetEabKeyId() != "" {
		eab = account.GetEabKeyId() + ", for the grants of " + account.GetEabName()
	}
	r.add(order.GetId(), account.GetId()+", "+word(account.GetState())+", "+a.some(account.GetContacts()), eab, order.GetId(), word(order.GetState()),
		errorText(order.GetError()), strings.Join(order.GetIdentifiers(), ", "), order.GetProfile(), order.GetReplaces(), order.GetReplacesId(), stamp(order.GetCreateTime()),
		a.expiry(order.GetExpireTime()), order.GetGrant(), order.GetPolicyVersion(), order.GetOwner(), order.GetSerial(), ledgerIndex(order))
	if err := a.print(order, r); err != nil {
		return err
	}
	if err := a.write("\n"); err != nil {
		return err
	}
	if err := a.print(order, challengeRows(order)); err != nil {
		return err
	}
	if order.LedgerIndex != nil {
		a.note("Next: certwright ledger show %s", ledgerIndex(order))
	}
	return nil
}

func ledgerIndex(o *pb.Order) string {
	if o.LedgerIndex == nil {
		return ""
	}
	return strconv.FormatUint(o.GetLedgerIndex(), 10)
}

// challengeRows are the challenges of an order: those that were tried, or all of a
// name if none was.
func challengeRows(o *pb.Order) rows {
	r := rows{columns: columnsOf("name", "authorization", "challenge", "state", "tries", "contacted", "why")}
	for _, z := range o.GetAuthorizations() {
		name := z.GetIdentifier()
		if z.GetWildcard() {
			name += " and the wildcard below it"
		}
		if z.GetGrant() != "" {
			r.add(z.GetId(), name, z.GetState(), "none", "by the grant "+z.GetGrant(), "", "", "")
			continue
		}
		tried := false
		for _, c := range z.GetChallenges() {
			tried = tried || c.GetAttempts() > 0 || c.GetState() != "pending"
		}
		for _, c := range z.GetChallenges() {
			if tried && c.GetAttempts() == 0 && c.GetState() == "pending" {
				continue
			}
			r.add(z.GetId(), name, z.GetState(), c.GetType(), c.GetState(), strconv.Itoa(int(c.GetAttempts())), contacted(c), errorText(c.GetError()))
		}
	}
	return r
}

// contacted is where a challenge was looked for.
func contacted(c *pb.OrderChallenge) string {
	var hops []string
	for _, hop := range c.GetHops() {
		hops = append(hops, fmt.Sprintf("%s port %d at %s", hop.GetHost(), hop.GetPort(), strings.Join(hop.GetAddresses(), ", ")))
	}
	if c.GetRecord() != "" {
		hops = append(hops, "TXT "+c.GetRecord())
	}
	return strings.Join(hops, ", then ")
}

// errorText is an ACME error on one line.
func errorText(e *pb.OrderError) string {
	if e == nil {
		return ""
	}
	text := e.GetType() + ": " + e.GetDetail()
	for _, sub := range e.GetSubproblems() {
		text += "; " + sub.GetIdentifier() + ": " + sub.GetDetail()
	}
	return text
}

// failedOrders lists the orders that failed.
func (a *app) failedOrders(ctx context.Context, f *explainFlags) error {
	all := &pb.ListOrdersResponse{}
	err := a.ask(ctx, func(ctx context.Context, conn *grpc.ClientConn) error {
		client := pb.NewOrderServiceClient(conn)
		return a.collect(f.limit, func(size int32, token string) (int, string, error) {
			page, err := client.ListOrders(ctx, &pb.ListOrdersRequest{PageSize: size, PageToken: token, Filter: "state = INVALID", Account: accountID(f.account)})
			all.Orders = append(all.Orders, page.GetOrders()...)
			return len(page.GetOrders()), page.GetNextPageToken(), err
		})
	})
	if err != nil {
		return err
	}
	r := rows{columns: columnsOf("made", "order", "account", "names", "why")}
	for _, o := range all.GetOrders() {
		r.add(o.GetId(), stamp(o.GetCreateTime()), o.GetId(), o.GetAccount(), a.some(o.GetIdentifiers()), errorText(o.GetError()))
	}
	return a.print(all, r)
}
