package server

import (
	"io"
	"log/slog"

	"github.com/certwright/certwright/server/config"
)

// Logger is the log that the configuration asks for. Both formats quote line
// breaks: what a caller has sent cannot begin a line of its own.
func Logger(c config.Log, to io.Writer) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		level = slog.LevelInfo
	}
	options := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(to, options))
	}
	return slog.New(slog.NewTextHandler(to, options))
}
