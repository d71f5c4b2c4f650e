package main

import (
	"context"
	"crypto/x509"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/certwright/certwright/client"
)

// trustFlags are the flags of trust install.
type trustFlags struct {
	root                   string
	dryRun, yes, uninstall bool
	named                  bool // it was said which root is meant
}

func trustInstallCommand(a *app) *cobra.Command {
	f := &trustFlags{}
	cmd := leaf{
		use: "install [FILE] [flags]", short: "Have this machine trust the CA",
		long: `
Puts the root into the system's trust store: every program of this machine that uses
it then believes whatever the CA signs. The root comes from FILE, --server or the data
folder, as with "certwright trust print". It must be the certificate of a root CA, in
its time. You are asked before anything is changed, and compare the fingerprint then,
unless --fingerprint has. In a script --yes answers, and --fingerprint compares. --yes
takes no root that just lies in ./certwright-data: name FILE, or --data.

Known are the stores of Debian, Ubuntu, Alpine, Fedora, RHEL, SUSE and Arch Linux; on
macOS the command to run is printed. Java, Firefox and Python's certifi may have stores
of their own, which stay as they are.

--root DIR is for images: the file goes into the system below DIR, nothing is run, and
the command that ends the work there is printed. --uninstall takes the root away.`,
		example: `
certwright trust install root.crt --fingerprint sha256:…
certwright trust install --server ca.internal:8444 --fingerprint sha256:… --yes
certwright trust install root.crt --fingerprint sha256:… --yes --root ./rootfs
certwright trust install root.crt --uninstall --yes`,
		next: "curl https://SERVICE.internal",
		args: atMost("FILE"),
		run: func(cmd *cobra.Command, args []string) error {
			if info, err := os.Stat(f.root); err == nil && !info.IsDir() {
				return usagef("--root is the folder of an image, and %s is none; the certificate is an argument, or --ca", f.root)
			}
			roots, err := a.trustedRoots(cmd.Context(), args)
			if err != nil {
				return err
			}
			if len(roots) > 1 {
				return usagef("there are %d certificates; say by --fingerprint which one is meant", len(roots))
			}
			f.named = len(args) > 0 || a.fingerprint != "" || a.ca != "" || a.dataNamed
			return f.install(cmd.Context(), a, roots[0])
		},
	}.command()
	flags := cmd.Flags()
	flags.StringVar(&f.root, "root", "/", "root folder of the system, for images")
	flags.BoolVar(&f.uninstall, "uninstall", false, "take the root out of the store")
	flags.BoolVar(&f.dryRun, "dry-run", false, "only say what would be done")
	flags.BoolVar(&f.yes, "yes", false, "do not ask")
	_ = cmd.MarkFlagDirname("root")
	cmd.ValidArgsFunction = nil
	return cmd
}

func (f *trustFlags) install(ctx context.Context, a *app, root *x509.Certificate) error {
	if err := f.sound(a, root); err != nil {
		return err
	}
	if runtime.GOOS == "darwin" && f.root == "/" {
		return f.forMac(a, root)
	}
	system, err := os.OpenRoot(f.root)
	if err != nil {
		return missing(err)
	}
	defer system.Close() //nolint:errcheck // a folder
	store, err := findTrustStore(system)
	if err != nil {
		return err
	}
	name := path.Join(store.folder, trustFile(root))
	file := filepath.Join(f.root, name) // as it is told
	present, err := f.present(system, name, root)
	if err != nil {
		return err
	}
	update := f.announce(a, store, root, file, present)
	if f.dryRun {
		a.note("Nothing was changed.")
		return nil
	}
	if err := f.confirmed(ctx, a, root); err != nil {
		return err
	}
	if err := f.change(system, name, root, present); err != nil {
		return missing(err)
	}
	return f.finish(ctx, a, update, file)
}

// sound refuses what is no root; and for --yes what only lies in the folder one is in,
// where somebody else may have put it.
func (f *trustFlags) sound(a *app, root *x509.Certificate) error {
	if err := client.IsRoot(root); err != nil && !f.uninstall {
		return failf(exitDenied, "%s is not to be trusted: %w", title(root), err)
	}
	if f.yes && !f.named && !f.uninstall && !f.dryRun {
		return usagef("--yes does not say which root: name its FILE, --data or --fingerprint; %s has %s", a.rootFile(), client.Fingerprint(root))
	}
	return nil
}

// finish has the system's bundles made anew; those of an image are the caller's to make.
func (f *trustFlags) finish(ctx context.Context, a *app, update []string, file string) error {
	if f.root != "/" {
		a.note("Next: %s", strings.Join(update, " "))
		return nil
	}
	if err := runUpdate(ctx, update); err != nil {
		return err
	}
	if f.uninstall {
		a.note("The root is no longer trusted here.")
	} else {
		a.note("The root is trusted here. To take it away: certwright trust install %s --uninstall", quote(file))
	}
	return nil
}

// announce says what would be done, and answers the command that ends the work: in an
// image, by chroot.
func (f *trustFlags) announce(a *app, store trustStore, root *x509.Certificate, file string, present bool) []string {
	update := store.update
	a.note("Root: %s", title(root))
	a.note("Fingerprint: %s", client.Fingerprint(root))
	a.note("Until: %s", root.NotAfter.UTC().Format(time.RFC3339))
	switch {
	case f.uninstall:
		update = store.remove
		a.note("To be removed: %s (%s)", file, store.system)
	case present:
		a.note("There already: %s (%s)", file, store.system)
	default:
		a.note("To be written: %s (%s)", file, store.system)
	}
	if f.root != "/" {
		update = append([]string{"chroot", quote(f.root)}, update...)
	}
	a.note("To be run: %s", strings.Join(update, " "))
	return update
}

// trustFile is the file's name; the fingerprint makes it that root's own.
func trustFile(root *x509.Certificate) string {
	return "certwright-" + strings.TrimPrefix(client.Fingerprint(root), "sha256:")[:16] + ".crt"
}

// present tells whether the root is in the store. What stands there under its name and
// is another is nobody's to replace.
func (f *trustFlags) present(system *os.Root, name string, root *x509.Certificate) (bool, error) {
	file := filepath.Join(f.root, name)
	text, err := system.ReadFile(name)
	switch {
	case errors.Is(err, fs.ErrNotExist) && f.uninstall:
		return false, failf(exitNotFound, "the root %s is not there: no file %s", client.Fingerprint(root), file)
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, missing(err)
	case string(text) != rootPEM(root):
		return false, failf(exitConflict, "%s is there and holds something else; look at it, and move it away", file)
	}
	return true, nil
}

// confirmed asks, unless --yes has answered.
func (f *trustFlags) confirmed(ctx context.Context, a *app, root *x509.Certificate) error {
	switch {
	case f.yes:
		return nil
	case f.uninstall:
		return a.confirm(ctx, "Take this root out of the trust store?")
	case isPinned(root, a.fingerprint):
		return a.confirm(ctx, "Trust whatever this CA signs, on the whole machine?")
	}
	return a.confirm(ctx, "Is this the fingerprint that the CA's admin says, and shall this whole machine trust whatever the CA signs?")
}

// change writes the file or takes it away.
func (f *trustFlags) change(system *os.Root, name string, root *x509.Certificate, present bool) error {
	if f.uninstall {
		return system.Remove(name)
	}
	if present {
		return nil
	}
	if err := system.MkdirAll(path.Dir(name), 0o755); err != nil { // everybody reads the trust store
		return err
	}
	temporary := name + ".new" // neither a .crt nor a .pem: the update takes no notice of it
	_ = system.Remove(temporary)
	file, err := system.OpenFile(temporary, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644) // likewise
	if err != nil {
		return err
	}
	if err = errors.Join(fill(file, []byte(rootPEM(root))), system.Chmod(temporary, 0o644)); err == nil { // whatever the umask is
		err = system.Rename(temporary, name)
	}
	if err != nil {
		_ = system.Remove(temporary)
	}
	return err
}

// forMac says what to run there: the keychain asks for itself.
func (f *trustFlags) forMac(a *app, root *x509.Certificate) error {
	const keychain = "/Library/Keychains/System.keychain"
	a.note("Save the root (certwright trust print > root.crt), and run:")
	if f.uninstall {
		return a.write("sudo security delete-certificate -Z " + strings.ToUpper(strings.TrimPrefix(client.Fingerprint(root), "sha256:")) + " " + keychain + "\n")
	}
	return a.write("sudo security add-trusted-cert -d -r trustRoot -k " + keychain + " root.crt\n")
}
