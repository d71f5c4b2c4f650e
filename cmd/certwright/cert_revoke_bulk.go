package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"

	pb "github.com/certwright/certwright/proto/certwright/v1"
)

// followEvery is how often the server is asked how far an operation is.
const followEvery = 250 * time.Millisecond

// bulk revokes what a filter selects: it shows it, asks, and follows.
func (f *revokeFlags) bulk(ctx context.Context, a *app, filter string, reason pb.Revocation_Reason) error {
	var shown *pb.Operation
	err := a.ask(ctx, func(ctx context.Context, conn *grpc.ClientConn) (err error) {
		shown, err = pb.NewCertificateServiceClient(conn).BulkRevokeCertificates(ctx, &pb.BulkRevokeCertificatesRequest{Filter: filter, Reason: reason, ValidateOnly: true})
		return err
	})
	if err != nil {
		return err
	}
	b := shown.GetBulkRevocation()
	if f.dryRun {
		a.note("Nothing was revoked.")
		return a.print(shown, a.operationRows(shown))
	}
	// With keyCompromise there may be keys to block of what is revoked already.
	if b.GetTotal() == 0 && reason != pb.Revocation_KEY_COMPROMISE {
		a.note("The filter selects nothing that can be revoked.")
		return a.print(shown, a.operationRows(shown))
	}
	if !f.yes {
		if err := a.confirmCount(ctx, b); err != nil {
			return err
		}
	}
	op, err := a.startBulk(ctx, &pb.BulkRevokeCertificatesRequest{Filter: filter, Reason: reason, BeforeIndex: b.GetBeforeIndex()})
	if err != nil {
		return err
	}
	if op, err = a.await(ctx, op); err != nil {
		return err
	}
	return a.print(op, a.operationRows(op))
}

// confirmCount shows what is hit and wants its number typed.
func (a *app) confirmCount(ctx context.Context, b *pb.BulkRevocation) error {
	a.note("This revokes %d certificates for %s:", b.GetTotal(), reasonName(b.GetReason()))
	for _, o := range b.GetOwners() {
		a.note("  %d of %s", o.GetCertificates(), o.GetOwner())
	}
	a.noteSample(b)
	a.note("%d of %d lines of renewal lose their newest valid certificate.", b.GetLineagesLost(), b.GetLineages())
	if b.GetReason() == pb.Revocation_KEY_COMPROMISE {
		a.note("The keys of all that the filter selects are blocked for ever, revoked and expired certificates' too.")
	}
	return a.confirmTyped(ctx, "They stay revoked for ever.", strconv.FormatUint(b.GetTotal(), 10))
}

func (a *app) startBulk(ctx context.Context, ask *pb.BulkRevokeCertificatesRequest) (op *pb.Operation, err error) {
	err = a.ask(ctx, func(ctx context.Context, conn *grpc.ClientConn) error {
		op, err = pb.NewCertificateServiceClient(conn).BulkRevokeCertificates(ctx, ask)
		return err
	})
	return op, err
}

// follow waits for an operation and prints it.
func (a *app) follow(ctx context.Context, id string) error {
	op, err := a.await(ctx, &pb.Operation{Id: id})
	if err != nil {
		return err
	}
	return a.print(op, a.operationRows(op))
}

// await waits until an operation has ended, and tells how far it is.
func (a *app) await(ctx context.Context, op *pb.Operation) (*pb.Operation, error) {
	conn, err := a.dial(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close() //nolint:errcheck // the answer is there
	client := pb.NewOperationServiceClient(conn)
	bar := a.progress("revoked")
	defer bar.end()
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	told, id := "", op.GetId()
	for {
		call, cancel := context.WithTimeout(ctx, time.Duration(a.timeout))
		op, err = client.GetOperation(call, &pb.GetOperationRequest{Id: id})
		cancel()
		if err == nil && op.GetDone() {
			break
		}
		if err == nil {
			bar.show(op.GetBulkRevocation().GetRevoked(), op.GetBulkRevocation().GetTotal())
			if op.GetError() != told {
				if told = op.GetError(); told != "" {
					bar.end()
					a.note("It is tried again: %s", told)
				}
			}
			select {
			case <-tick.C:
				continue
			case <-ctx.Done():
				err = ctx.Err()
			}
		}
		bar.end()
		if !errors.Is(err, context.Canceled) {
			err = a.reached(err)
		}
		a.note("The operation goes on in the server; follow it: certwright cert revoke --operation %s", id)
		return nil, err
	}
	if op.GetError() != "" {
		return nil, failf(exitFailure, "the operation %s has ended: %s", id, op.GetError())
	}
	return op, nil
}

// operationRows is an operation, or what one would hit.
func (a *app) operationRows(op *pb.Operation) rows {
	b := op.GetBulkRevocation()
	var owners, sample []string
	for _, o := range b.GetOwners() {
		owners = append(owners, fmt.Sprintf("%s (%d)", o.GetOwner(), o.GetCertificates()))
	}
	for _, c := range b.GetSample() {
		sample = append(sample, fmt.Sprintf("%s  %s  %s", c.GetSerial(), c.GetOwner(), a.some(allNames(c))))
	}
	number := func(n uint64) string { return strconv.FormatUint(n, 10) }
	revoked := number(b.GetRevoked())
	if op.GetId() == "" {
		revoked = ""
	}
	r := rows{portrait: true, columns: columnsOf("Operation", "Filter", "Reason", "Certificates", "Revoked", "Owners", "Lines of renewal",
		"Without a valid one left", "Started", "Ended", "|Some of them")}
	r.add(op.GetId(), op.GetId(), b.GetFilter(), reasonName(b.GetReason()), number(b.GetTotal()), revoked, a.some(owners),
		number(b.GetLineages()), number(b.GetLineagesLost()), stamp(op.GetCreateTime()), stamp(op.GetEndTime()), strings.Join(sample, "\n"))
	return r
}
