package main

import (
	"context"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	pb "github.com/certwright/certwright/proto/certwright/v1"
)

func ledgerClockCommand(a *app) *cobra.Command {
	accept := false
	cmd := leaf{
		use: "clock [flags]", short: "Show the server's clock, or accept it",
		long: `
Shows the server's clock beside the ledger's newest entry, and why signing is held
for it: because it is more than 5 seconds behind that entry, or has jumped by more
than 5 minutes while the server ran. A laptop's sleep is no jump. While it is held
revocation, OCSP and CRLs go on.

Set the clock first; then --accept lets signing go on. The ledger records it.`,
		example: `
certwright ledger clock
certwright ledger clock --accept`,
		next: "certwright ledger status",
		args: exactly(),
		run: func(cmd *cobra.Command, _ []string) error {
			var clock *pb.Clock
			err := a.ask(cmd.Context(), func(ctx context.Context, conn *grpc.ClientConn) (err error) {
				client := pb.NewMaintenanceServiceClient(conn)
				if accept {
					clock, err = client.AcceptClock(ctx, &pb.AcceptClockRequest{})
				} else {
					clock, err = client.GetClock(ctx, &pb.GetClockRequest{})
				}
				return err
			})
			if err != nil {
				return err
			}
			signing := "goes on"
			if clock.GetHeld() != "" {
				signing = "held: " + clock.GetHeld()
			}
			r := rows{portrait: true, columns: columnsOf("Server's clock", "Newest entry", "Signing")}
			r.add(stamp(clock.GetTime()), stamp(clock.GetTime()), stamp(clock.GetEntryTime()), signing)
			return a.print(clock, r)
		},
	}.command()
	cmd.Flags().BoolVar(&accept, "accept", false, "let signing go on by the clock as it stands")
	a.outputFlag(cmd)
	return cmd
}
