package api

import (
	"context"
	"time"

	"google.golang.org/grpc"

	"github.com/certwright/certwright/identity"
	"github.com/certwright/certwright/problem"
	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
	"github.com/certwright/certwright/storage"
)

// Maintenance is what the keeper of a server asks it.
type Maintenance interface {
	// Backup copies the database and the files beside it, as they are at one moment.
	Backup(ctx context.Context, withKeys bool, to BackupSink) error
	// Space is what takes how much space.
	Space(ctx context.Context) (storage.Space, error)
	// Clock is how the clock stands.
	Clock(ctx context.Context) (Clock, error)
	// AcceptClock lets signing go on, in the name of actor.
	AcceptClock(ctx context.Context, actor string) (Clock, error)
}

// BackupSink takes up a backup: the header, then each file and its octets.
type BackupSink interface {
	Header(BackupHeader) error
	File(name string, size uint64, database bool) error
	Write(data []byte) (int, error)
}

// BackupHeader is what a backup begins with.
type BackupHeader struct {
	Checkpoint  string // the newest published one; the copy holds all its entries
	VerifierKey string // of its signer
	Time        time.Time
	Version     string // of the server's program
}

// Clock is how a server's clock stands.
type Clock struct {
	Now   time.Time
	Entry time.Time // of the ledger's newest entry
	Held  string    // why signing is held; empty: it is not
}

// maintenanceService implements certwright.v1.MaintenanceService.
type maintenanceService struct {
	certwrightv1.UnimplementedMaintenanceServiceServer
	*Server
}

func (s *maintenanceService) keeper() (Maintenance, error) {
	if s.config.Maintenance == nil {
		return nil, problem.New(problem.FailedPrecondition, "this server has no maintenance")
	}
	return s.config.Maintenance, nil
}

// Backup implements certwright.v1.MaintenanceService.
func (s *maintenanceService) Backup(in *certwrightv1.BackupRequest, stream grpc.ServerStreamingServer[certwrightv1.BackupResponse]) error {
	m, err := s.keeper()
	if err != nil {
		return err
	}
	if callOf(stream.Context()).principal.Method != identity.LocalSocket {
		return problem.New(problem.PermissionDenied, "a backup is made on the admin socket only: run the command on the server's machine")
	}
	if err := m.Backup(stream.Context(), in.GetWithKeys(), backupStream{stream}); err != nil {
		return err
	}
	return stream.Send(&certwrightv1.BackupResponse{Part: &certwrightv1.BackupResponse_Done{Done: true}})
}

// backupChunk is how many octets one message brings.
const backupChunk = 256 << 10

// backupStream is the stream as a sink.
type backupStream struct {
	stream grpc.ServerStreamingServer[certwrightv1.BackupResponse]
}

func (b backupStream) Header(h BackupHeader) error {
	return b.stream.Send(&certwrightv1.BackupResponse{Part: &certwrightv1.BackupResponse_Header_{Header: &certwrightv1.BackupResponse_Header{
		Checkpoint: h.Checkpoint, VerifierKey: h.VerifierKey, Time: timestamp(h.Time), Version: h.Version,
	}}})
}

func (b backupStream) File(name string, size uint64, database bool) error {
	file := &certwrightv1.BackupResponse_File{Name: name, Size: size, Database: database}
	return b.stream.Send(&certwrightv1.BackupResponse{Part: &certwrightv1.BackupResponse_File_{File: file}})
}

func (b backupStream) Write(data []byte) (int, error) {
	done := 0
	for done < len(data) {
		part := data[done:min(len(data), done+backupChunk)]
		if err := b.stream.Send(&certwrightv1.BackupResponse{Part: &certwrightv1.BackupResponse_Data{Data: part}}); err != nil {
			return done, err
		}
		done += len(part)
	}
	return done, nil
}

// GetStorage implements certwright.v1.MaintenanceService.
func (s *maintenanceService) GetStorage(ctx context.Context, _ *certwrightv1.GetStorageRequest) (*certwrightv1.Storage, error) {
	m, err := s.keeper()
	if err != nil {
		return nil, err
	}
	space, err := m.Space(ctx)
	if err != nil {
		return nil, err
	}
	out := &certwrightv1.Storage{
		Format: space.Format, Size: space.Size, Free: space.Free, DiskFree: space.DiskFree, Reserve: space.Reserve,
	}
	for _, b := range space.Buckets {
		out.Buckets = append(out.Buckets, &certwrightv1.Storage_Bucket{Name: b.Name, Rows: b.Rows, Size: b.Size, Used: b.Used})
	}
	return out, nil
}

// GetClock implements certwright.v1.MaintenanceService.
func (s *maintenanceService) GetClock(ctx context.Context, _ *certwrightv1.GetClockRequest) (*certwrightv1.Clock, error) {
	m, err := s.keeper()
	if err != nil {
		return nil, err
	}
	c, err := m.Clock(ctx)
	return clockMessage(c), err
}

// AcceptClock implements certwright.v1.MaintenanceService.
func (s *maintenanceService) AcceptClock(ctx context.Context, _ *certwrightv1.AcceptClockRequest) (*certwrightv1.Clock, error) {
	m, err := s.keeper()
	if err != nil {
		return nil, err
	}
	c, err := m.AcceptClock(ctx, callOf(ctx).principal.String())
	return clockMessage(c), err
}

func clockMessage(c Clock) *certwrightv1.Clock {
	return &certwrightv1.Clock{Time: timestamp(c.Now), EntryTime: timestamp(c.Entry), Held: clean(c.Held)}
}
