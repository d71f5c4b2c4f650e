package server

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/certwright/certwright/api"
	"github.com/certwright/certwright/plainfile"
	"github.com/certwright/certwright/server/backup"
	"github.com/certwright/certwright/server/datadir"
	"github.com/certwright/certwright/storage"
)

// maintenance implements api.Maintenance.
type maintenance struct {
	*clockGuard
	rooms   *rooms
	options *Options
}

// Space implements api.Maintenance.
func (m maintenance) Space(ctx context.Context) (storage.Space, error) {
	return m.rooms.store.Space(ctx)
}

// Backup implements api.Maintenance. The checkpoint is taken before the copy, which so
// holds all its entries; the files are what the folder has besides the database.
func (m maintenance) Backup(ctx context.Context, withKeys bool, to api.BackupSink) error {
	cp, err := m.rooms.log.Checkpoint(ctx)
	if err != nil {
		return err
	}
	err = to.Header(api.BackupHeader{
		Checkpoint: string(cp.Note), VerifierKey: m.rooms.log.VerifierKey(), Time: m.rooms.now().UTC(), Version: m.options.Version,
	})
	if err != nil {
		return err
	}
	c := &m.options.Config
	for _, name := range slices.Concat(backup.Files(), []string{c.Policy}) {
		if backup.CheckName(name) != nil {
			continue // a policy file elsewhere is the admin's own
		}
		if err := sendFile(c.Data, name, to); err != nil {
			return err
		}
	}
	if err := sendKeys(c.Data, withKeys, to); err != nil {
		return err
	}
	name := strings.TrimPrefix(c.Storage, "bolt:")
	return m.rooms.store.Backup(ctx, func(octets uint64) error { return to.File(name, octets, true) }, to)
}

// sendFile sends one file of the data folder, if it is there.
func sendFile(dir, name string, to api.BackupSink) error {
	data, err := plainfile.Read(filepath.Join(dir, name), maxSmallFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := to.File(filepath.ToSlash(name), uint64(len(data)), false); err != nil {
		return err
	}
	_, err = to.Write(data)
	return err
}

// sendKeys sends the issuers' certificates, and the keys if they are asked for.
func sendKeys(dir string, private bool, to api.BackupSink) error {
	entries, err := os.ReadDir(filepath.Join(dir, datadir.KeyDir))
	if err != nil {
		return err
	}
	for _, each := range entries {
		key, certificate := strings.HasSuffix(each.Name(), ".key"), strings.HasSuffix(each.Name(), ".crt")
		if !each.Type().IsRegular() || !certificate && !(key && private) {
			continue
		}
		if err := sendFile(dir, datadir.KeyDir+"/"+each.Name(), to); err != nil {
			return err
		}
	}
	return nil
}
