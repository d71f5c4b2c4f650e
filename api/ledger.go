package api

import (
	"context"
	"crypto/x509"
	"sync"

	"google.golang.org/grpc"

	"github.com/certwright/certwright/auth/session"
	"github.com/certwright/certwright/auth/token"
	"github.com/certwright/certwright/ca"
	"github.com/certwright/certwright/ledger"
	"github.com/certwright/certwright/ledger/witness"
	"github.com/certwright/certwright/problem"
	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
	"github.com/certwright/certwright/storage"
)

// ledgerService implements certwright.v1.LedgerService.
type ledgerService struct {
	certwrightv1.UnimplementedLedgerServiceServer
	*Server
}

// GetHead implements certwright.v1.LedgerService.
func (s *ledgerService) GetHead(ctx context.Context, _ *certwrightv1.GetHeadRequest) (*certwrightv1.LedgerHead, error) {
	checkpoint, err := s.config.Ledger.Checkpoint(ctx)
	if err != nil {
		return nil, err
	}
	head, err := s.config.Store.Head(ctx)
	if err != nil {
		return nil, err
	}
	out := &certwrightv1.LedgerHead{
		Origin: checkpoint.Origin, Size: head.Size, RootHash: head.Root[:], Checkpoint: string(checkpoint.Note),
		CheckpointSize: checkpoint.Size, CheckpointTime: timestamp(checkpoint.Time),
		VerifierKey: s.config.Ledger.VerifierKey(), EntryTime: timestamp(head.LastTime),
	}
	if err := s.config.Ledger.Hold(); err != nil {
		out.Held = clean(err.Error())
	}
	if s.config.Witnesses != nil {
		addWitnesses(out, s.config.Witnesses)
	}
	if s.config.Completeness == nil {
		return out, nil
	}
	count, err := s.config.Completeness(ctx)
	if err != nil {
		return nil, err
	}
	out.Completeness = &certwrightv1.Completeness{
		Signatures: count.Signatures, Intents: count.Intents, Abandoned: count.Abandoned, Uncounted: count.Uncounted,
		Difference: count.Difference(), Detail: count.Detail(),
	}
	return out, nil
}

// GetFile implements certwright.v1.LedgerService.
func (s *ledgerService) GetFile(ctx context.Context, in *certwrightv1.GetFileRequest) (*certwrightv1.LedgerFile, error) {
	data, err := s.files.File(ctx, in.GetPath())
	if err != nil {
		return nil, err
	}
	return &certwrightv1.LedgerFile{Data: data}, nil
}

// addWitnesses says how things stand with the witnesses.
func addWitnesses(m *certwrightv1.LedgerHead, all *witness.Witnesses) {
	status, _ := all.Status()
	m.WitnessesNeeded = uint32(status.Need)
	m.WitnessedSize, m.WitnessedCheckpoint = status.Witnessed.Size, string(status.Witnessed.Note)
	for _, state := range status.Witnesses {
		one := &certwrightv1.LedgerWitness{Name: state.Name, Url: state.URL, Size: state.Size, CosignTime: timestamp(state.Time)}
		if state.Err != nil {
			one.Error = clean(state.Err.Error())
		}
		m.Witnesses = append(m.Witnesses, one)
	}
}

// GetEntry implements certwright.v1.LedgerService.
func (s *ledgerService) GetEntry(ctx context.Context, in *certwrightv1.GetEntryRequest) (*certwrightv1.LedgerEntry, error) {
	entries, err := s.config.Store.Entries(ctx, in.GetIndex(), 1)
	if err != nil {
		return nil, err
	}
	if len(entries) == 0 {
		return nil, problem.New(problem.NotFound, "the ledger has no entry %d", in.GetIndex())
	}
	return entryMessage(in.GetIndex(), entries[0])
}

// GetProof implements certwright.v1.LedgerService.
func (s *ledgerService) GetProof(ctx context.Context, in *certwrightv1.GetProofRequest) (*certwrightv1.LedgerProof, error) {
	proof, err := s.config.Ledger.ProofAt(ctx, in.GetIndex(), in.GetTreeSize())
	if err != nil {
		return nil, err
	}
	m := &certwrightv1.LedgerProof{
		Index: proof.Index, TreeSize: proof.Size, LeafHash: proof.Leaf[:], RootHash: proof.Root[:],
		Checkpoint: string(proof.Checkpoint),
	}
	for _, hash := range proof.Path {
		m.Hashes = append(m.Hashes, hash[:])
	}
	if proof.Checkpoint == nil {
		return m, nil
	}
	file, err := proof.File()
	m.File = string(file)
	return m, err
}

// maxFindings is how many findings one message has.
const maxFindings = 100

// VerifyLedger implements certwright.v1.LedgerService.
func (s *ledgerService) VerifyLedger(in *certwrightv1.VerifyLedgerRequest, stream grpc.ServerStreamingServer[certwrightv1.VerifyLedgerResponse]) error {
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	v := &verification{stream: stream, stop: cancel}
	var issuers []*x509.Certificate
	for _, issuer := range s.config.Authority.Issuers() {
		issuers = append(issuers, issuer.Certificate)
	}
	summary, err := ledger.Verify(ctx, ledger.VerifyConfig{
		Store: s.config.Store, Signatures: in.GetSignatures(), Issuers: issuers,
		VerifierKey: s.config.Ledger.VerifierKey(), Lock: s.config.LedgerLock, Progress: v.progress,
		Records: []ledger.RecordCheck{
			ca.CheckPolicies(), ca.CheckBlockedKeys(ctx, s.config.Store), token.CheckRecords(s.config.Now()), session.CheckRecords(),
		},
	}, v.finding)
	if v.err != nil {
		return v.err
	}
	if err != nil {
		return err
	}
	last := v.message()
	last.EntriesChecked, last.EntriesTotal = summary.Entries, summary.Entries
	last.Done, last.RootHash = true, summary.Root[:]
	return stream.Send(last)
}

// verification is the stream of one VerifyLedger. Its methods are called from
// several goroutines of ledger.Verify.
type verification struct {
	stream grpc.ServerStreamingServer[certwrightv1.VerifyLedgerResponse]
	stop   context.CancelFunc

	mu   sync.Mutex
	last *certwrightv1.VerifyLedgerResponse // not sent yet; nil before the first
	err  error
}

func (v *verification) message() *certwrightv1.VerifyLedgerResponse {
	if v.last == nil {
		v.last = &certwrightv1.VerifyLedgerResponse{}
	}
	return v.last
}

func (v *verification) progress(done, total uint64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	m := v.message()
	m.EntriesChecked, m.EntriesTotal = done, total
	v.send()
}

func (v *verification) finding(f storage.Finding) {
	v.mu.Lock()
	defer v.mu.Unlock()
	m := v.message()
	finding := &certwrightv1.VerifyLedgerResponse_Finding{Kind: clean(f.Kind), Subject: clean(f.Subject), Detail: clean(f.Detail)}
	if f.Index != storage.NoIndex {
		index := f.Index
		finding.LedgerIndex = &index
	}
	m.Findings = append(m.Findings, finding)
	if len(m.GetFindings()) >= maxFindings {
		v.send()
	}
}

// send sends what there is. When the reader has gone, the verification ends.
func (v *verification) send() {
	if v.err == nil {
		if v.err = v.stream.Send(v.last); v.err != nil {
			v.stop()
		}
	}
	v.last = &certwrightv1.VerifyLedgerResponse{EntriesChecked: v.last.GetEntriesChecked(), EntriesTotal: v.last.GetEntriesTotal()}
}
