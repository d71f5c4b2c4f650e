package ca

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/certwright/certwright/storage"
)

// ActivePolicy is the document in force, read before the issuers that it names
// are opened and OpenPolicies can compile it. storage.ErrNotFound if there is
// none yet.
func ActivePolicy(ctx context.Context, store storage.RecordReader) ([]byte, error) {
	rec, err := store.Record(ctx, activeCollection, activeID)
	if err != nil {
		return nil, fmt.Errorf("active policy: %w", err)
	}
	var active activeRecord
	if err := json.Unmarshal(rec.Body, &active); err != nil {
		return nil, fmt.Errorf("active policy: %w", err)
	}
	rec, err = store.Record(ctx, versionCollection, versionID(active.Number))
	if err != nil {
		return nil, fmt.Errorf("active policy: version %d: %w", active.Number, err)
	}
	var v versionRecord
	if err := json.Unmarshal(rec.Body, &v); err != nil {
		return nil, fmt.Errorf("active policy: version %d: %w", active.Number, err)
	}
	return v.Document, nil
}
