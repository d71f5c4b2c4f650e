package main

import (
	"context"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	pb "github.com/certwright/certwright/proto/certwright/v1"
	"github.com/certwright/certwright/storage"
	"github.com/certwright/certwright/storage/bolt"
)

func storageStatusCommand(a *app) *cobra.Command {
	file := ""
	cmd := leaf{
		use: "status [flags]", short: "Show what takes how much space",
		long: `
Shows the size of the database, what of it is free and used again, what the disk has
left, the reserve that is kept for revocations, and what each part takes (-o wide).

A running server is asked; else the file in the data folder is read, or the one that
--file names.`,
		example: `
certwright storage status
certwright storage status -o wide
certwright storage status --file certwright-data/ledger.db -o json`,
		next: "certwright storage compact",
		args: exactly(),
		run: func(cmd *cobra.Command, _ []string) error {
			space, err := a.space(cmd.Context(), file)
			if err != nil {
				return err
			}
			return a.printSpace(space)
		},
	}.command()
	cmd.Flags().StringVar(&file, "file", "", "database of a stopped server (default: that of --data, if no server runs there)")
	_ = cmd.MarkFlagFilename("file", "db")
	a.outputFlag(cmd)
	return cmd
}

// besideData is the database in the data folder, if no server runs there and none is
// named.
func (a *app) besideData(ctx context.Context) string {
	if a.server == "" && !listens(ctx, filepath.Join(a.data, "admin.sock")) {
		if beside := filepath.Join(a.data, "ledger.db"); exists(beside) {
			return beside
		}
	}
	return ""
}

func (a *app) space(ctx context.Context, file string) (*pb.Storage, error) {
	if file == "" {
		file = a.besideData(ctx)
	}
	if file != "" {
		return spaceOf(ctx, file)
	}
	var out *pb.Storage
	err := a.ask(ctx, func(ctx context.Context, conn *grpc.ClientConn) (err error) {
		out, err = pb.NewMaintenanceServiceClient(conn).GetStorage(ctx, &pb.GetStorageRequest{})
		return err
	})
	return out, err
}

// spaceOf reads the database of a stopped server.
func spaceOf(ctx context.Context, file string) (*pb.Storage, error) {
	if err := readable(file); err != nil {
		return nil, err
	}
	store, err := bolt.Open(ctx, bolt.Config{Path: file, ReadOnly: true})
	if err != nil {
		return nil, err
	}
	defer store.Close() //nolint:errcheck // only read
	space, err := store.Space(ctx)
	return spaceMessage(space), err
}

func spaceMessage(s storage.Space) *pb.Storage {
	out := &pb.Storage{Format: s.Format, Size: s.Size, Free: s.Free, DiskFree: s.DiskFree, Reserve: s.Reserve}
	for _, b := range s.Buckets {
		out.Buckets = append(out.Buckets, &pb.Storage_Bucket{Name: b.Name, Rows: b.Rows, Size: b.Size, Used: b.Used})
	}
	return out
}

func (a *app) printSpace(s *pb.Storage) error {
	parts := rows{columns: columnsOf("part", "rows", "size", "used")}
	for _, b := range s.GetBuckets() {
		parts.add(b.GetName(), b.GetName(), strconv.FormatUint(b.GetRows(), 10), sizeText(b.GetSize()), sizeText(b.GetUsed()))
	}
	if a.format == "csv" {
		return a.print(s, parts)
	}
	r := rows{portrait: true, columns: columnsOf("Format", "Size", "Free in it", "Left on the disk", "Reserve for revocations")}
	r.add(sizeText(s.GetSize()), strconv.FormatUint(uint64(s.GetFormat()), 10), sizeText(s.GetSize()), sizeText(s.GetFree()), sizeText(s.GetDiskFree()), sizeText(s.GetReserve()))
	if err := a.print(s, r); err != nil || a.format != "wide" {
		return err
	}
	if err := a.write("\n"); err != nil {
		return err
	}
	return a.print(s, parts)
}
