package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/certwright/certwright/agent/hook"
	"github.com/certwright/certwright/client/steady"
)

const (
	hookLimit    = 16 << 10
	maxHookRetry = time.Hour
	maxPIDFile   = 32
)

func (k *keeper) hasHook() bool {
	return len(k.config.Hook.Command) > 0 || k.config.Reload.Signal != ""
}

// runHook runs the hook if it is due. One that fails is run again after a second,
// two, four, up to an hour; the certificate stays.
func (k *keeper) runHook(ctx context.Context) {
	k.mu.Lock()
	due := k.record.HookDue && k.held != nil && !k.record.HookRetry.After(time.Now())
	k.mu.Unlock()
	if !due {
		return
	}
	k.agent.hooks.Lock()
	defer k.agent.hooks.Unlock()
	// The end of the agent is not that of a hook that runs.
	err := k.hook(context.WithoutCancel(ctx))
	saved := k.change(func(r *record) {
		if err == nil {
			r.HookDue, r.HookFailures, r.HookRetry, r.HookError = false, 0, time.Time{}, ""
			return
		}
		r.HookFailures++
		r.HookError = err.Error()
		r.HookRetry = time.Now().Add(min(time.Second<<min(r.HookFailures-1, 12), maxHookRetry))
	})
	if err != nil {
		k.log.Error("the hook failed and will be run again", slog.String("error", err.Error()))
	}
	if saved != nil {
		k.log.Error("the state cannot be kept", slog.String("error", saved.Error()))
	}
}

func (k *keeper) hook(ctx context.Context) error {
	if argv := k.config.Hook.Command; len(argv) > 0 {
		stdout, stderr, err := hook.Run(ctx, hook.Program{Argv: argv, Env: k.environment(), Timeout: time.Duration(k.config.Hook.Timeout), Limit: hookLimit})
		if err != nil {
			return fmt.Errorf("hook: %w", err)
		}
		k.log.Info("the hook was run", slog.String("stdout", strings.TrimSpace(stdout)), slog.String("stderr", strings.TrimSpace(stderr)))
	}
	if k.config.Reload.Signal != "" {
		if err := k.signal(); err != nil {
			return fmt.Errorf("reload: %w", err)
		}
		k.log.Info("the process was told", slog.String("signal", k.config.Reload.Signal))
	}
	return nil
}

// environment is what the hook is told.
func (k *keeper) environment() []string {
	leaf, files := k.held.Leaf(), k.config.Files
	env := []string{
		"CERTWRIGHT_NAME=" + k.config.Name,
		"CERTWRIGHT_FOLDER=" + k.config.Folder,
		"CERTWRIGHT_SERIAL=" + serialOf(leaf),
		"CERTWRIGHT_NOT_BEFORE=" + leaf.NotBefore.UTC().Format(time.RFC3339),
		"CERTWRIGHT_NOT_AFTER=" + leaf.NotAfter.UTC().Format(time.RFC3339),
		"CERTWRIGHT_DNS_NAMES=" + strings.Join(leaf.DNSNames, ","),
	}
	for _, file := range []struct{ variable, name string }{
		{"KEY", files.Key}, {"CERT", files.Cert}, {"CHAIN", files.Chain}, {"FULLCHAIN", files.Fullchain}, {"COMBINED", files.Combined},
	} {
		env = append(env, "CERTWRIGHT_"+file.variable+"="+k.folder.Path(file.name))
	}
	return env
}

// signals that a process can be told by.
var signals = map[string]syscall.Signal{
	"HUP": syscall.SIGHUP, "USR1": syscall.SIGUSR1, "USR2": syscall.SIGUSR2, "INT": syscall.SIGINT, "TERM": syscall.SIGTERM,
}

// signal tells the process that the PID file names. A link is not followed: where its
// folder is somebody else's, it would lead to another service's file.
func (k *keeper) signal() error {
	file := k.config.Reload.PIDFile
	dir, err := steady.Open(filepath.Dir(file))
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	text, info, err := steady.Read(dir, filepath.Base(file), maxPIDFile)
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid <= 1 { // 0 and below are groups, 1 is the system
		return fmt.Errorf("%s holds no number of a process", file)
	}
	// From here on it is this process, and no later one with its number (on Linux; other
	// systems know a process by its number alone).
	process, err := os.FindProcess(pid)
	if err != nil {
		return fmt.Errorf("process %d: %w", pid, err)
	}
	defer func() { _ = process.Release() }()
	if err := mayName(info, pid); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if err := process.Signal(signals[k.config.Reload.Signal]); errors.Is(err, os.ErrProcessDone) || errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("%s names process %d, which does not run", file, pid)
	} else if err != nil {
		return err
	}
	return nil
}

// mayName refuses a PID file by which another user would have root signal a process that
// he could not signal himself.
func mayName(file fs.FileInfo, pid int) error {
	owner, ok := file.Sys().(*syscall.Stat_t)
	if !ok || os.Geteuid() != 0 {
		return nil
	}
	if bits := file.Mode().Perm(); bits&0o002 != 0 || bits&0o020 != 0 && owner.Gid != 0 {
		return fmt.Errorf("it can be written by others (%04o)", bits)
	}
	if owner.Uid == 0 {
		return nil
	}
	if runtime.GOOS != "linux" {
		return fmt.Errorf("it is of user %d, and whose process %d is, is asked of Linux only: make the file root's", owner.Uid, pid)
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("it names process %d, which does not run", pid)
	}
	if err != nil {
		return err
	}
	_, after, _ := strings.Cut(string(text), "\nUid:")
	line, _, _ := strings.Cut(after, "\n")
	users := strings.Fields(line) // real, effective, saved, of the file system
	if his := strconv.Itoa(int(owner.Uid)); len(users) != 4 || users[0] != his && users[2] != his {
		return fmt.Errorf("it is of user %d, and process %d is not his", owner.Uid, pid)
	}
	return nil
}
