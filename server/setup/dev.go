package setup

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"github.com/certwright/certwright/keys"
	"github.com/certwright/certwright/server/config"
	"github.com/certwright/certwright/server/datadir"
)

const (
	day  = 24 * time.Hour
	year = 365 * day
)

// Dev makes the data folder of a development CA, if there is none: keys in clear,
// the root's among them.
func Dev(ctx context.Context, c config.Config, now time.Time) error {
	_, err := datadir.Read(c.Data)
	if !errors.Is(err, datadir.ErrNone) {
		return err
	}
	written := config.Default() // flags of this start do not become its file
	written.ServerNames, written.Ledger, written.Storage = c.ServerNames, c.Ledger, c.Storage
	written.BaseURL, written.Listen, written.Policy = c.BaseURL, config.Default().Listen, c.Policy
	a := &authority{
		config: &written, urls: rootURLs(&c), now: now, actor: "system:server",
		rootURI: "file:" + datadir.RootKey, rootAlg: keys.ECDSAP256, issuingAlg: keys.ECDSAP256,
		commonName: "Certwright Development", rootLife: 10 * year, issuingLife: 5 * year, crlLife: 5 * year,
	}
	err = datadir.Create(ctx, c.Data, datadir.NewFormat(datadir.Dev), a.build)
	if errors.Is(err, fs.ErrExist) {
		return nil // another process was faster
	}
	return err
}
